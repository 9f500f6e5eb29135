"""Jobs: one's own list, live; one job; running it again, cancelling it."""

from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from webapp.errors import Conflict
from webapp.http.answers import gives
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_query, takes
from webapp.http.jobrows import job_card, job_rows
from webapp.services import histories, orders, worklists
from webapp.services.cursors import Page
from webapp.services.histories import HistoryView
from webapp.services.worklists import JobFilter, JobView

pages = Blueprint("jobs_pages", __name__)
api = Blueprint("jobs_api", __name__)


@api.get("/jobs")
@guard("jobs.read")
@takes(query=JobFilter)
@gives(Page[JobView])
def list_jobs(query: JobFilter) -> Page[JobView]:
    """Your jobs, or all, newest first."""
    return worklists.list_jobs(current_actor(), query)


@api.get("/jobs/<uuid:job_id>")
@guard("jobs.read")
@gives(JobView, errors=(404,))
def show_job(job_id: UUID) -> JobView:
    """One of your jobs."""
    return worklists.find_job(current_actor(), job_id)


@api.get("/jobs/<uuid:job_id>/history")
@guard("jobs.read")
@gives(Page[HistoryView], errors=(404,))
def list_history(job_id: UUID) -> Page[HistoryView]:
    """Attempts of a job that did not end well, and what was ordered of it: the newest hundred of each."""
    return histories.history_of(current_actor(), job_id)


@api.get("/files/<uuid:file_id>/jobs")
@guard("jobs.read")
@gives(Page[JobView], errors=(404,))
def list_file_jobs(file_id: UUID) -> Page[JobView]:
    """What was and is done to a file: its newest hundred jobs."""
    return worklists.jobs_of_file(current_actor(), file_id)


@api.post("/jobs/<uuid:job_id>/replay")
@guard("jobs.write")
@gives(JobView, errors=(404, 409))
def replay_job(job_id: UUID) -> JobView:
    """Run a failed, dead or cancelled job again, with all its attempts."""
    orders.replay_job(current_actor(), job_id)
    return worklists.find_job(current_actor(), job_id)


@api.post("/jobs/<uuid:job_id>/cancellation")
@guard("jobs.write")
@gives(JobView, errors=(404, 409))
def cancel_job(job_id: UUID) -> JobView:
    """Cancel a job that has not ended; a running one stops at its next report of progress."""
    orders.cancel_job(current_actor(), job_id)
    return worklists.find_job(current_actor(), job_id)


@pages.get("/jobs", endpoint="list_jobs")
@guard("jobs.read")
def list_jobs_page() -> str:
    """The list; as a fragment for the page that follows it live."""
    query = read_query(JobFilter)
    variables = job_rows(worklists.list_jobs(current_actor(), query), query.state)
    template = "jobs/_rows.html" if request.headers.get("HX-Request") else "jobs/index.html"
    return render_template(template, **variables)


@pages.get("/jobs/<uuid:job_id>", endpoint="show_job")
@guard("jobs.read")
def show_job_page(job_id: UUID) -> str:
    """One job and its course."""
    actor = current_actor()
    return render_template(
        "jobs/show.html", **job_card(worklists.find_job(actor, job_id), histories.history_of(actor, job_id))
    )


@pages.post("/jobs/<uuid:job_id>/replay", endpoint="replay_job")
@guard("jobs.write")
def replay_job_page(job_id: UUID) -> Response:
    """Run it again; one that moved on in the meantime says so."""
    try:
        orders.replay_job(current_actor(), job_id)
        flash(_("The job will run again."), "success")
    except Conflict:
        flash(_("This job needs no other run: it is waiting, running or done."), "error")
    job = worklists.find_job(current_actor(), job_id)
    if request.form.get("from") == "file" and job.target_id and job.name.startswith("files."):
        return redirect(url_for("files_pages.show_file", file_id=job.target_id))
    return redirect(url_for(".show_job", job_id=job_id))


@pages.post("/jobs/<uuid:job_id>/cancellation", endpoint="cancel_job")
@guard("jobs.write")
def cancel_job_page(job_id: UUID) -> Response:
    """Cancel it, unless it has ended."""
    try:
        orders.cancel_job(current_actor(), job_id)
        flash(_("Job cancelled."), "success")
    except Conflict:
        flash(_("This job has already ended."), "error")
    return redirect(url_for(".show_job", job_id=job_id))
