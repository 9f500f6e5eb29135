"""Versions of files: list, look at, download, restore, name, delete, compare."""

from uuid import UUID

from flask import Blueprint, Response, flash, redirect, render_template, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response as AnyResponse

from webapp.errors import Conflict, Invalid, Locked, Stale, TooLarge
from webapp.http.answers import gives
from webapp.http.conditional import expected_version
from webapp.http.downloads import send_content
from webapp.http.formats import isolated
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_form, read_query, takes
from webapp.http.limiting import limited
from webapp.http.merges import Answer, choice, merge_page
from webapp.http.rows import form_of
from webapp.http.versionrows import difference_page, version_form, versions_page
from webapp.policies import Level
from webapp.services import differences, files, versions
from webapp.services.cursors import Page
from webapp.services.differences import DifferenceQuery, DifferenceView
from webapp.services.downloads import ContentQuery
from webapp.services.files import FileView
from webapp.services.versions import VersionChange, VersionsQuery, VersionView

pages = Blueprint("versions_pages", __name__)
api = Blueprint("versions_api", __name__)


@api.get("/files/<uuid:file_id>/versions")
@guard("files.read", subtree=True)
@takes(query=VersionsQuery)
@gives(Page[VersionView], errors=(404,))
def list_versions(file_id: UUID, query: VersionsQuery) -> Page[VersionView]:
    """Every content that a file has had and that is still there, the newest first."""
    return versions.list_versions(current_actor(), file_id, query)


@api.get("/files/<uuid:file_id>/versions/<int:number>")
@guard("files.read", subtree=True)
@gives(VersionView, errors=(404,))
def show_version(file_id: UUID, number: int) -> VersionView:
    """One of them."""
    return versions.show_version(current_actor(), file_id, number)


@api.get("/files/<uuid:file_id>/versions/<int:number>/content")
@guard("files.read", subtree=True)
@limited("downloads")
@takes(query=ContentQuery)
@gives(bytes, errors=(404, 409, 416, 423))
def download_version(file_id: UUID, number: int, query: ContentQuery) -> Response:
    """Download a version; takes Range and conditions as the download of the file does."""
    return send_content(versions.open_version(current_actor(), file_id, number), inline=query.inline)


@api.post("/files/<uuid:file_id>/versions/<int:number>/restoration")
@guard("files.write", subtree=True)
@gives(FileView, errors=(404, 409, 412, 413, 423), keyed=True)
def restore_version(file_id: UUID, number: int) -> FileView:
    """Make a former content the present one, as a new version. If-Match takes the version of the file."""
    return versions.restore_version(current_actor(), file_id, number, expected_version())


@api.patch("/files/<uuid:file_id>/versions/<int:number>")
@guard("files.write", subtree=True)
@takes(VersionChange)
@gives(VersionView, errors=(404, 412))
def change_version(wish: VersionChange, file_id: UUID, number: int) -> VersionView:
    """Name a version, so that it is never pruned; null takes the name away."""
    return versions.change_version(current_actor(), file_id, number, wish, expected_version())


@api.delete("/files/<uuid:file_id>/versions/<int:number>")
@guard("files.write", subtree=True)
@gives(None, status=204, errors=(404, 409, 412))
def delete_version(file_id: UUID, number: int) -> None:
    """Remove a former content for good, for the file's owner and managers."""
    versions.delete_version(current_actor(), file_id, number, expected_version())


@api.get("/files/<uuid:file_id>/versions/<int:number>/differences")
@guard("files.read", subtree=True)
@takes(query=DifferenceQuery)
@gives(DifferenceView, errors=(404, 409, 423))
def compare_versions(file_id: UUID, number: int, query: DifferenceQuery) -> DifferenceView:
    """What changed between two versions of a text: from the older to the newer, in hunks."""
    return differences.compare_versions(current_actor(), file_id, number, query)


@pages.get("/files/<uuid:file_id>/versions", endpoint="list_versions")
@guard("files.read")
def list_versions_page(file_id: UUID) -> str:
    """All versions, to look at, download, restore, name and compare."""
    return versions_page(current_actor(), file_id, read_query(VersionsQuery))


@pages.get("/files/<uuid:file_id>/versions/<int:number>/differences", endpoint="compare_versions")
@guard("files.read")
def compare_versions_page(file_id: UUID, number: int) -> str:
    """Two versions of a text, side by side in lines."""
    return difference_page(current_actor(), file_id, number, read_query(DifferenceQuery))


@pages.post("/files/<uuid:file_id>/versions/<int:number>/restoration", endpoint="restore_version")
@guard("files.write")
def restore_version_page(file_id: UUID, number: int) -> Answer | AnyResponse:
    """Restore it; a file that changed meanwhile is asked about once more."""
    actor, here = current_actor(), url_for(".restore_version", file_id=file_id, number=number)
    back = url_for(".list_versions", file_id=file_id)
    versions.see_version(actor, file_id, number, Level.EDITOR)
    try:
        file = versions.restore_version(actor, file_id, number, expected_version())
    except Stale:
        seen = files.show_file(actor, file_id)
        return merge_page(seen.name, here, seen.version, back, deed=_("Restore version %(num)d", num=number))
    except (Conflict, Locked, TooLarge) as error:
        flash(_(error.detail), "error")
        return redirect(back)
    flash(_("Version %(num)d of “%(name)s” is the present one again.", num=number, name=isolated(file.name)), "success")
    return redirect(back)


@pages.get("/files/<uuid:file_id>/versions/<int:number>/label")
@guard("files.write")
def label_form(file_id: UUID, number: int) -> str:
    """The form that names a version."""
    return _label_form(file_id, number)


@pages.post("/files/<uuid:file_id>/versions/<int:number>/label", endpoint="change_version")
@guard("files.write")
def change_version_page(file_id: UUID, number: int) -> Answer | AnyResponse:
    """Name it."""
    actor, here = current_actor(), url_for(".change_version", file_id=file_id, number=number)
    back = url_for(".list_versions", file_id=file_id)
    seen = versions.see_version(actor, file_id, number, Level.EDITOR)
    try:
        versions.change_version(actor, file_id, number, read_form(VersionChange), expected_version())
    except Stale:
        return merge_page(_("Version %(num)d", num=number), here, seen.version, back,
                          [choice("label", _("Name"), seen.label)])  # fmt: skip
    except Invalid as error:
        return _label_form(file_id, number, error), error.status
    flash(_("Saved."), "success")
    return redirect(back)


@pages.get("/files/<uuid:file_id>/versions/<int:number>/removal")
@guard("files.write")
def removal_form(file_id: UUID, number: int) -> str:
    """Ask before a version goes for good."""
    return render_template("versions/delete.html", **version_form(current_actor(), file_id, number, Level.MANAGER))


@pages.post("/files/<uuid:file_id>/versions/<int:number>/removal", endpoint="delete_version")
@guard("files.write")
def delete_version_page(file_id: UUID, number: int) -> Answer | AnyResponse:
    """Remove it."""
    actor, here = current_actor(), url_for(".delete_version", file_id=file_id, number=number)
    back = url_for(".list_versions", file_id=file_id)
    seen = versions.see_version(actor, file_id, number, Level.MANAGER)
    try:
        versions.delete_version(actor, file_id, number, expected_version())
    except Stale:
        deed = _("Delete for good")
        return merge_page(_("Version %(num)d", num=number), here, seen.version, back, deed=deed, danger=True)
    except Conflict as error:
        flash(_(error.detail), "error")
        return redirect(back)
    flash(_("Version %(num)d was deleted.", num=number), "success")
    return redirect(back)


def _label_form(file_id: UUID, number: int, error: Invalid | None = None) -> str:
    shown = version_form(current_actor(), file_id, number, Level.EDITOR)
    return render_template("versions/label.html", **shown, form=form_of(error, field="label"))
