"""The queues, for those who run the vault: everybody's jobs, what went wrong, orders about all that match."""

from collections.abc import Callable

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import ngettext
from werkzeug.wrappers import Response

from webapp.errors import Invalid
from webapp.http.answers import gives
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_filter, read_form, takes
from webapp.http.queuerows import all_job_rows, queue_rows
from webapp.services import orders, queues, worklists
from webapp.services.cursors import Page
from webapp.services.orders import JobsOrder, Ordered
from webapp.services.queues import QueueView
from webapp.services.worklists import JobFilter, JobSelection

pages = Blueprint("queues_pages", __name__)
api = Blueprint("queues_api", __name__)


@api.get("/queues")
@guard("queues.read")
@gives(Page[QueueView])
def list_queues() -> Page[QueueView]:
    """Every queue: what waits, runs and went wrong in it."""
    return queues.list_queues(current_actor())


@api.post("/jobs/replays")
@guard("queues.write")
@takes(JobsOrder)
@gives(Ordered, errors=(400, 409), keyed=True)
def replay_jobs(wish: JobsOrder) -> Ordered:
    """Run all jobs again that match and failed, gave up or were cancelled: up to 5,000, then `more` is true."""
    return orders.replay_jobs(current_actor(), wish)


@api.post("/jobs/cancellations")
@guard("queues.write")
@takes(JobsOrder)
@gives(Ordered, errors=(400, 409), keyed=True)
def cancel_jobs(wish: JobsOrder) -> Ordered:
    """Cancel all jobs that match and wait or run: up to 5,000, then `more` is true."""
    return orders.cancel_jobs(current_actor(), wish)


@api.post("/jobs/discards")
@guard("queues.write")
@takes(JobsOrder)
@gives(Ordered, errors=(400, 409), keyed=True)
def discard_jobs(wish: JobsOrder) -> Ordered:
    """Take all jobs out of the lists that match and failed, gave up or were cancelled: up to 5,000, then `more`."""
    return orders.discard_jobs(current_actor(), wish)


@pages.get("/admin/jobs")
@guard("queues.read")
def list_all_jobs() -> str:
    """The queues and everybody's jobs; as a fragment for the page that follows them live."""
    actor, query = current_actor(), read_filter(JobFilter).model_copy(update={"whose": "all"})
    variables = all_job_rows(worklists.list_jobs(actor, query), query)
    if request.headers.get("HX-Request"):
        return render_template("jobs/_rows.html", **variables)
    variables |= queue_rows(queues.list_queues(actor), query)
    return render_template("queues/index.html", matching=worklists.count_jobs(actor, query), **variables)


@pages.post("/admin/jobs/replays", endpoint="replay_jobs")
@guard("queues.write")
def replay_jobs_page() -> Response:
    """Run all again that the list shows."""
    return _answer(
        orders.replay_jobs(current_actor(), _order()),
        lambda n: ngettext("%(num)d job will run again.", "%(num)d jobs will run again.", n),
    )


@pages.post("/admin/jobs/cancellations", endpoint="cancel_jobs")
@guard("queues.write")
def cancel_jobs_page() -> Response:
    """Cancel all that the list shows."""
    return _answer(
        orders.cancel_jobs(current_actor(), _order()),
        lambda n: ngettext("%(num)d job was cancelled.", "%(num)d jobs were cancelled.", n),
    )


@pages.post("/admin/jobs/discards", endpoint="discard_jobs")
@guard("queues.write")
def discard_jobs_page() -> Response:
    """Discard all that the list shows."""
    return _answer(
        orders.discard_jobs(current_actor(), _order()),
        lambda n: ngettext("%(num)d job was discarded.", "%(num)d jobs were discarded.", n),
    )


def _order() -> JobsOrder:
    """What the list showed. A form without any filter comes from no list of ours, and would mean everybody's."""
    selection = read_form(JobSelection)
    if not selection.model_dump(exclude_none=True):
        raise Invalid.field("state", "missing", "Choose which jobs first.")
    return JobsOrder(filter=selection)


def _answer(done: Ordered, words: Callable[[int], str]) -> Response:
    more = f" {_('There are more: repeat it for the rest.')}" if done.more else ""
    flash(f"{words(done.changed)}{more}", "success" if done.changed else "info")
    return redirect(url_for(".list_all_jobs"))
