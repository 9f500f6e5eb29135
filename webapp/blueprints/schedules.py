"""Schedules, for administrators: when upkeep runs, changing, pausing and running it now."""

from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from webapp.config import time_zones
from webapp.errors import Conflict, Invalid, Stale
from webapp.http.answers import Created, created, gives
from webapp.http.conditional import expected_version
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_form, read_query, takes
from webapp.http.rows import form_of, zone_words
from webapp.http.schedulerows import CATCH_UPS, firing_rows, merge_schedule, schedule_row, schedule_rows
from webapp.services import schedules
from webapp.services.cursors import Page
from webapp.services.schedules import FiringQuery, Firings, ScheduleChange, ScheduleFilter, ScheduleView
from webapp.services.worklists import JobView

pages = Blueprint("schedules_pages", __name__)
api = Blueprint("schedules_api", __name__)


@api.get("/schedules")
@guard("schedules.read")
@takes(query=ScheduleFilter)
@gives(Page[ScheduleView])
def list_schedules(query: ScheduleFilter) -> Page[ScheduleView]:
    """All schedules, by name."""
    return schedules.list_schedules(current_actor(), query)


@api.get("/schedules/<uuid:schedule_id>")
@guard("schedules.read")
@gives(ScheduleView, errors=(404,))
def show_schedule(schedule_id: UUID) -> ScheduleView:
    """One schedule."""
    return schedules.show_schedule(current_actor(), schedule_id)


@api.patch("/schedules/<uuid:schedule_id>")
@guard("schedules.write")
@takes(ScheduleChange)
@gives(ScheduleView, errors=(404, 412))
def change_schedule(wish: ScheduleChange, schedule_id: UUID) -> ScheduleView:
    """Change when it runs, pause or resume it; what is absent stays."""
    return schedules.change_schedule(current_actor(), schedule_id, wish, expected_version())


@api.get("/schedules/<uuid:schedule_id>/firings")
@guard("schedules.read")
@takes(query=FiringQuery)
@gives(Firings, errors=(404,))
def list_firings(schedule_id: UUID, query: FiringQuery) -> Firings:
    """The next five firings, also of a cron expression and a zone that are only tried."""
    return schedules.next_firings(current_actor(), schedule_id, query)


@api.post("/schedules/<uuid:schedule_id>/runs")
@guard("schedules.write")
@gives(JobView, status=201, errors=(404, 409))
def run_schedule(schedule_id: UUID) -> Created:
    """Run its job now, paused or not; the job is yours."""
    job = schedules.run_schedule(current_actor(), schedule_id)
    return created(job, url_for("jobs_api.show_job", job_id=job.id))


@pages.get("/admin/schedules", endpoint="list_schedules")
@guard("schedules.read")
def list_schedules_page() -> str:
    """The list."""
    actor = current_actor()
    page = schedules.list_schedules(actor, read_query(ScheduleFilter))
    return render_template("schedules/index.html", **schedule_rows(actor, page))


@pages.get("/admin/schedules/<uuid:schedule_id>", endpoint="show_schedule")
@guard("schedules.read")
def show_schedule_page(schedule_id: UUID) -> str:
    """One schedule, the form that changes it, and when it runs next."""
    return _page(schedules.show_schedule(current_actor(), schedule_id))


@pages.post("/admin/schedules/<uuid:schedule_id>", endpoint="change_schedule")
@guard("schedules.write")
def change_schedule_page(schedule_id: UUID) -> str | Response | tuple[str, int]:
    """Save the form, or pause and resume by its buttons; a stale form meets the merge page."""
    actor, here = current_actor(), url_for(".show_schedule", schedule_id=schedule_id)
    try:
        wish = read_form(ScheduleChange)
        schedules.change_schedule(actor, schedule_id, wish, expected_version())
    except Invalid as error:
        return _page(schedules.show_schedule(actor, schedule_id), error), error.status
    except Stale:
        return merge_schedule(actor, schedules.show_schedule(actor, schedule_id))
    if wish.model_fields_set == {"enabled"}:
        flash(_("The schedule runs again.") if wish.enabled else _("The schedule is paused."), "success")
        return redirect(url_for(".list_schedules"))
    flash(_("Saved."), "success")
    return redirect(here)


@pages.get("/admin/schedules/<uuid:schedule_id>/firings", endpoint="list_firings")
@guard("schedules.read")
def list_firings_page(schedule_id: UUID) -> str:
    """The preview beside the form, for what is typed in it at the moment."""
    return render_template("schedules/_firings.html", **_preview(schedule_id, read_query(FiringQuery)))


@pages.post("/admin/schedules/<uuid:schedule_id>/runs", endpoint="run_schedule")
@guard("schedules.write")
def run_schedule_page(schedule_id: UUID) -> Response:
    """Run it now and go to the job."""
    try:
        job = schedules.run_schedule(current_actor(), schedule_id)
    except Conflict as error:
        flash(_(error.detail), "error")
        return redirect(url_for(".list_schedules"))
    flash(_("The job is on its way."), "success")
    return redirect(url_for("jobs_pages.show_job", job_id=job.id))


def _page(schedule: ScheduleView, error: Invalid | None = None) -> str:
    form = form_of(error)
    typed = {name: form["values"][name] for name in ("cron", "zone") if form["values"].get(name)}
    return render_template(
        "schedules/show.html",
        schedule=schedule_row(current_actor(), schedule),
        form=form,
        zones=[(name, zone_words(name)) for name in sorted(time_zones())],
        catch_ups=list(CATCH_UPS.items()),
        **_preview(schedule.id, FiringQuery.model_construct(cron=typed.get("cron"), zone=typed.get("zone"))),
    )


def _preview(schedule_id: UUID, query: FiringQuery) -> dict[str, object]:
    try:
        firings = schedules.next_firings(current_actor(), schedule_id, query)
    except Invalid as error:
        return {
            "firings": [],
            "fault": _(error.detail),
            "zone": query.zone,
        }
    return {"firings": firing_rows(firings), "fault": None, "zone": firings.zone}
