"""One's own data: an archive of it to take away, and deleting the account."""

from uuid import UUID

from flask import Blueprint, Response, flash, redirect, render_template, session, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response as AnyResponse

from webapp.errors import Conflict, HoldfastError
from webapp.http.answers import Created, created, gives
from webapp.http.formats import ago, exact, size
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_form, takes
from webapp.http.limiting import limited
from webapp.http.rows import form_of
from webapp.services import departures, exports
from webapp.services.credentials import has_password
from webapp.services.cursors import Page
from webapp.services.departures import Farewell
from webapp.services.exports import ExportFilter, ExportView

pages = Blueprint("exports_pages", __name__)
api = Blueprint("exports_api", __name__)


@api.get("/exports")
@guard("account.read")
@takes(query=ExportFilter)
@gives(Page[ExportView])
def list_exports(query: ExportFilter) -> Page[ExportView]:
    """Your archives, newest first."""
    return exports.list_exports(current_actor(), query)


@api.post("/exports")
@guard("account.secure", fresh=True)
@limited("sendings")
@gives(ExportView, status=201, errors=(400, 409))
def create_export() -> Created:
    """Have an archive made of what the vault knows of you; those before it go."""
    made = exports.create_export(current_actor())
    return created(made, url_for("exports_api.show_export", export_id=made.id))


@api.get("/exports/<uuid:export_id>")
@guard("account.read")
@gives(ExportView, errors=(404,))
def show_export(export_id: UUID) -> ExportView:
    """One archive: whether it is ready."""
    return exports.show_export(current_actor(), export_id)


@api.get("/exports/<uuid:export_id>/content")
@guard("account.secure", fresh=True)
@limited("downloads")
@gives(errors=(404,), extra={"responses": {"200": {"description": "The archive", "content": {"application/zip": {}}}}})
def show_export_content(export_id: UUID) -> Response:
    """The archive itself, a ZIP of JSON documents."""
    return _archive(export_id)


@api.post("/auth/delete-account")
@guard("account.secure", fresh=True)
@limited("sign_in")
@takes(Farewell)
@gives(None, status=204, errors=(409, 429, 503))
def delete_account(wish: Farewell) -> None:
    """Delete your own account. An administrator can restore it until it is erased."""
    departures.delete_account(current_actor(), wish)


@pages.get("/account/data")
@guard("account.read")
def show_data() -> str:
    """The archives, and the way out."""
    return _page()


@pages.post("/account/data", endpoint="create_export")
@guard("account.secure", fresh=True)
@limited("sendings")
def create_export_page() -> AnyResponse:
    """Have one made."""
    try:
        exports.create_export(current_actor())
        flash(_("The archive is being made. You are mailed when it is ready."), "success")
    except Conflict:
        flash(_("An archive is being made already."), "error")
    return redirect(url_for(".show_data"))


@pages.get("/account/data/<uuid:export_id>")
@guard("account.secure", fresh=True)
@limited("downloads")
def download_export(export_id: UUID) -> Response:
    """Take it away."""
    return _archive(export_id)


@pages.post("/account/removal", endpoint="delete_account")
@guard("account.secure", fresh=True)
@limited("sign_in")
def delete_account_page() -> AnyResponse | tuple[str, int]:
    """Delete the account; the browser is nobody's from then on."""
    try:
        departures.delete_account(current_actor(), read_form(Farewell))
    except HoldfastError as error:
        return _page(error), error.status
    session.clear()
    flash(_("Your account is deleted."), "success")
    return redirect(url_for("auth_pages.sign_in_form"))


def _archive(export_id: UUID) -> Response:
    data = exports.open_export(current_actor(), export_id)
    headers = {"Content-Disposition": 'attachment; filename="holdfast-data.zip"', "Cache-Control": "no-store"}
    return Response(data, headers=headers, content_type="application/zip")


def _page(error: HoldfastError | None = None) -> str:
    page = exports.list_exports(current_actor(), ExportFilter())
    rows = [
        {"id": each.id, "ready": each.ready, "size_text": size(each.size), "created": each.created_at,
         "created_text": ago(each.created_at), "created_exact": exact(each.created_at),
         "until_text": ago(each.expires_at), "url": url_for(".download_export", export_id=each.id)}
        for each in page.items
    ]  # fmt: skip
    return render_template(
        "users/data.html",
        rows=rows,
        form=form_of(error),
        has_password=has_password(current_actor()),
        live=any(not row["ready"] for row in rows),
    )
