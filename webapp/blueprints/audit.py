"""The audit trail, for administrators: look, take away, have it checked."""

from flask import Blueprint, Response, flash, redirect, render_template, stream_with_context, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response as AnyResponse

from webapp.errors import Conflict
from webapp.http.answers import Created, created, gives
from webapp.http.auditrows import entry_rows, trail_row, written
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_filter, takes
from webapp.http.limiting import limited
from webapp.http.slots import sending
from webapp.infra.clock import now
from webapp.services import audit, worklists
from webapp.services.audit import AuditExport, AuditFilter, EntryView, TrailView
from webapp.services.cursors import Page
from webapp.services.worklists import JobView

pages = Blueprint("audit_pages", __name__)
api = Blueprint("audit_api", __name__)
LARGE = 2**30  # bytes, as far as one knows before: it takes a slot as large downloads do
TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}


@api.get("/audit")
@guard("audit.read")
@takes(query=AuditFilter)
@gives(Page[EntryView])
def list_entries(query: AuditFilter) -> Page[EntryView]:
    """The audit trail, newest first."""
    return audit.list_entries(current_actor(), query)


@api.get("/audit/export")
@guard("audit.read")
@limited("downloads")
@takes(query=AuditExport)
@gives(bytes)
def export_entries(query: AuditExport) -> Response:
    """All entries that match as one file, newest first: CSV, or a JSON object a line."""
    return _file(query)


@api.get("/audit/seal")
@guard("audit.read")
@gives(TrailView)
def show_trail() -> TrailView:
    """How the chain of the trail stands, and what the last check of it found."""
    return audit.show_trail(current_actor())


@api.post("/audit/checks")
@guard("audit.write")
@gives(JobView, status=201, errors=(409,))
def check_trail() -> Created:
    """Have the whole chain verified. Location is the job, whose result names the chain's head."""
    actor = current_actor()
    job = worklists.find_job(actor, audit.check_trail(actor))
    return created(job, url_for("jobs_api.show_job", job_id=job.id))


@pages.get("/admin/audit", endpoint="list_entries")
@guard("audit.read")
def list_entries_page() -> str:
    """The trail with its filters, and its seal."""
    actor, query = current_actor(), read_filter(AuditFilter)
    rows = entry_rows(audit.list_entries(actor, query), query)
    return render_template("audit/index.html", trail=trail_row(audit.show_trail(actor)), **rows)


@pages.get("/admin/audit/export", endpoint="export_entries")
@guard("audit.read")
@limited("downloads")
def export_entries_page() -> Response:
    """What the list shows, all of it, as a file."""
    return _file(read_filter(AuditExport))


@pages.post("/admin/audit/checks", endpoint="check_trail")
@guard("audit.write")
def check_trail_page() -> AnyResponse:
    """Have the chain verified and go to the job."""
    try:
        job_id = audit.check_trail(current_actor())
    except Conflict:
        flash(_("The trail is being checked already."), "info")
        return redirect(url_for(".list_entries"))
    return redirect(url_for("jobs_pages.show_job", job_id=job_id))


def _file(query: AuditExport) -> Response:
    entries = audit.export_entries(current_actor(), query)
    lines = stream_with_context(written(entries, query.format))
    name = f"audit-{now():%Y-%m-%d}.{query.format}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(sending(lambda: lines, LARGE), headers=headers, content_type=TYPES[query.format])
