"""How the administrators' pages show queues and everybody's jobs."""

from collections.abc import Mapping
from operator import itemgetter
from typing import Any
from urllib.parse import urlencode

from flask import url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext

from webapp.http.formats import exact
from webapp.http.jobrows import STATES, TITLES, job_rows, span
from webapp.infra.clock import now
from webapp.models.jobs import OPEN, REPLAYABLE
from webapp.services.cursors import Page
from webapp.services.queues import QueueView
from webapp.services.worklists import COUNTED, JobFilter, JobView

NAMES = {
    "default": lazy_gettext("General"),
    "files": lazy_gettext("Files"),
    "mail": lazy_gettext("Mail"),
    "webhooks": lazy_gettext("Webhooks"),
    "upkeep": lazy_gettext("Upkeep"),
}
FILTERS = ("state", "name", "queue", "owner_id", "q", "since", "until")


def all_job_rows(page: Page[JobView], query: JobFilter) -> dict[str, Any]:
    """Variables of the list, with whose each job is."""
    given = _given(query)
    return {
        **job_rows(page, query.state),
        "whose": True,
        "next_url": _address(**given, cursor=page.next_cursor) if page.next_cursor else None,
    }


def queue_rows(queues: Page[QueueView], query: JobFilter) -> dict[str, Any]:
    """Variables of what stands around the list: the queues, the filters, what can be ordered of all that match."""
    given = _given(query)
    rest = {name: value for name, value in given.items() if name != "state"}
    sums = {
        "queued": sum(queue.waiting + queue.delayed for queue in queues.items),
        **{state: sum(getattr(queue, state) for queue in queues.items) for state in ("running", "failed", "dead")},
    }
    return {
        "queues": [_queue(queue) for queue in queues.items],
        "states": [(_("All"), _address(**rest), "plain", "", query.state is None)]
        + [(str(text), _address(**rest, state=name), tone, sums.get(name, 0), query.state == name)
           for name, (text, tone) in STATES.items()],
        "filters": given,
        "names": [("", _("Every kind")), *sorted(_texts(TITLES), key=itemgetter(1))],
        "queue_names": [("", _("Every queue")), *_texts(NAMES)],
        "filtered": bool(rest),
        "replayable": query.state in REPLAYABLE,
        "cancellable": query.state in OPEN,
        "counted": COUNTED,
    }  # fmt: skip


def _texts(words: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, str(text)) for name, text in words.items()]


def _queue(queue: QueueView) -> dict[str, Any]:
    limits = [_("%(num)s at once", num=queue.limit)] if queue.limit else []
    limits += [_("%(num)s of each", num=queue.lane_limit)] if queue.lane_limit else []
    return {
        "name": str(NAMES[queue.name]), "url": _address(queue=queue.name),
        "waiting": queue.waiting, "delayed": queue.delayed, "running": queue.running,
        "trouble": queue.failed + queue.dead,
        "oldest": queue.oldest_at, "oldest_text": span(queue.oldest_at, now()), "behind": queue.behind,
        "oldest_exact": exact(queue.oldest_at) if queue.oldest_at else "", "limits": ", ".join(limits),
    }  # fmt: skip


def _given(query: JobFilter) -> dict[str, str]:
    values = query.model_dump(mode="json", include=set(FILTERS), exclude_none=True)
    return {name: str(values[name]) for name in FILTERS if name in values}


def _address(**given: object) -> str:
    here = url_for("queues_pages.list_all_jobs")
    return f"{here}?{urlencode(given)}" if given else here
