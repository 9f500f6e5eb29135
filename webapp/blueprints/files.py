"""Files: list, upload, look at, download, rename, move, trash."""

from uuid import UUID

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response as AnyResponse

from webapp.errors import Conflict, Invalid, Stale
from webapp.http.answers import answer, created, gives
from webapp.http.conditional import expected_version
from webapp.http.downloads import send_content
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_form, read_query, takes
from webapp.http.jobrows import job_steps
from webapp.http.repetitions import once
from webapp.http.rows import crumbs_to, file_card, folder_page, form_of, merge_page, mover
from webapp.http.undo import flash_undo
from webapp.http.uploads import announced_size, received, refusals_heard
from webapp.infra.storage import LocalDraft
from webapp.services import downloads, files, listings, trash, worklists
from webapp.services.cursors import Page
from webapp.services.downloads import ContentQuery
from webapp.services.files import FileChange, FileMove, FileRename, FileView, NewFile, UploadQuery
from webapp.services.folders import MoveQuery
from webapp.services.listings import BrowseQuery, FileFilter

pages = Blueprint("files_pages", __name__)
api = Blueprint("files_api", __name__)


@api.get("/files")
@guard("files.read")
@takes(query=FileFilter)
@gives(Page[FileView], errors=(404,))
def list_files(query: FileFilter) -> Page[FileView]:
    """List files: one folder's, the top level's, or all; by name, time or size."""
    return listings.list_files(current_actor(), query)


@api.post("/files")
@guard("files.write", upload=True)
@takes(query=UploadQuery, upload=True)
@gives(FileView, or_view=Page[FileView], status=201, errors=(409, 411, 413, 507), repeats=True)
def create_files(query: UploadQuery) -> Response:
    """Upload files: a form with `file` parts, or one raw body with its `name` in the query.

    Several parts are stored together or not at all and answered as `{"items": […]}`.
    """
    with refusals_heard():
        if "Idempotency-Key" not in request.headers:  # a repetition finds its own file there, and is welcome
            files.check_upload(current_actor(), query, announced_size())
        with received() as incoming:
            return once(incoming.fingerprint(), lambda: _create(incoming.wishes(query)))


def _create(uploads: list[tuple[NewFile, LocalDraft]]) -> Response:
    views = files.create_files(current_actor(), uploads)
    if len(views) > 1:
        return answer(Page(items=views), 201)
    return answer(created(views[0], url_for("files_api.show_file", file_id=views[0].id)))


@api.get("/files/<uuid:file_id>")
@guard("files.read")
@gives(FileView, errors=(404,))
def show_file(file_id: UUID) -> FileView:
    """One file."""
    return files.show_file(current_actor(), file_id)


@api.patch("/files/<uuid:file_id>")
@guard("files.write")
@takes(FileChange)
@gives(FileView, errors=(404, 409, 412))
def change_file(wish: FileChange, file_id: UUID) -> FileView:
    """Rename, move, describe or tag a file."""
    return files.change_file(current_actor(), file_id, wish, expected_version())


@api.delete("/files/<uuid:file_id>")
@guard("files.write")
@gives(None, status=204, errors=(400, 404, 412))
def trash_file(file_id: UUID) -> None:
    """Move a file to the trash."""
    trash.trash_file(current_actor(), file_id, expected_version())


@api.get("/files/<uuid:file_id>/content")
@guard("files.read")
@takes(query=ContentQuery)
@gives(bytes, errors=(404, 409, 416))
def download_content(file_id: UUID, query: ContentQuery) -> Response:
    """Download; takes Range and conditions. `?inline=1` shows harmless types in the browser."""
    content = downloads.open_content(current_actor(), file_id)
    return send_content(content, inline=query.inline)


@api.put("/files/<uuid:file_id>/content")
@guard("files.write", upload=True)
@takes(upload=True)
@gives(FileView, errors=(404, 411, 412, 413, 423, 507))
def replace_content(file_id: UUID) -> FileView:
    """Replace the content by the body; the former content stays as a version."""
    actor, expected = current_actor(), expected_version()
    with refusals_heard():
        files.check_replacement(actor, file_id, expected, announced_size())
        with files.hold_content(file_id) as held, received(held.keep) as incoming:
            return files.replace_content(actor, file_id, incoming.only(), expected, held)


@pages.get("/files", endpoint="list_files")
@guard("files.read")
def list_files_page() -> str:
    """The top level."""
    return folder_page(current_actor(), None, read_query(BrowseQuery))


@pages.post("/files")
@guard("files.write", upload=True)
def upload_files() -> AnyResponse:
    """The upload form without scripts: a taken name is kept both ways."""
    with received() as incoming:
        query = UploadQuery(conflict="rename")
        views = files.create_files(current_actor(), incoming.wishes(query))
    flash(
        _("%(num)s files uploaded.", num=len(views))
        if len(views) > 1
        else _("“%(name)s” uploaded.", name=views[0].name),
        "success",
    )
    return redirect(_place_of(views[0]))


@pages.get("/files/<uuid:file_id>", endpoint="show_file")
@guard("files.read")
def show_file_page(file_id: UUID) -> str:
    """Preview, details and what the server did with the file."""
    actor = current_actor()
    card = file_card(actor, files.show_file(actor, file_id))
    return render_template("files/show.html", **card, steps=job_steps(worklists.jobs_of_file(actor, file_id)))


@pages.get("/files/<uuid:file_id>/name")
@guard("files.write")
def rename_file_form(file_id: UUID) -> str:
    """The form that renames a file."""
    return _rename_form(files.show_file(current_actor(), file_id))


@pages.post("/files/<uuid:file_id>/name")
@guard("files.write")
def rename_file(file_id: UUID) -> str | AnyResponse:
    """Rename; a stale form meets the merge page, a taken name the form again."""
    actor = current_actor()
    before = files.show_file(actor, file_id)
    try:
        wish = FileChange(name=read_form(FileRename).name)
        file = files.change_file(actor, file_id, wish, expected_version())
    except Stale:
        theirs = files.show_file(actor, file_id)
        return merge_page(
            theirs.name, url_for(".rename_file", file_id=file_id), theirs.version, {"name": _("Name")}, theirs
        )
    except (Invalid, Conflict) as error:
        return _rename_form(files.show_file(actor, file_id), error)
    undo = url_for(".rename_file", file_id=file_id)
    flash_undo(_("Renamed to “%(name)s”.", name=file.name), undo, name=before.name, version=file.version)
    return redirect(_place_of(file))


def _rename_form(file: FileView, error: Invalid | Conflict | None = None) -> str:
    return render_template(
        "files/rename.html",
        file=file,
        form=form_of(error, field="name"),
        back_url=_place_of(file),
        breadcrumbs=crumbs_to(current_actor(), file.folder_id, file.name),
    )


@pages.get("/files/<uuid:file_id>/folder")
@guard("files.write")
def move_file_form(file_id: UUID) -> str:
    """Walk to the folder that shall hold the file."""
    return _move_form(files.show_file(current_actor(), file_id), read_query(MoveQuery))


@pages.post("/files/<uuid:file_id>/folder")
@guard("files.write")
def move_file(file_id: UUID) -> str | AnyResponse:
    """Move; a taken name or a stale form comes back with its reason."""
    actor = current_actor()
    before = files.show_file(actor, file_id)
    wish = FileChange(folder_id=read_form(FileMove).folder_id)
    try:
        file = files.change_file(actor, file_id, wish, expected_version())
    except (Invalid, Conflict) as error:
        return _move_form(
            files.show_file(actor, file_id), MoveQuery.model_validate({"in": wish.folder_id or "top"}), error
        )
    undo = url_for(".move_file", file_id=file_id)
    flash_undo(_("“%(name)s” moved.", name=file.name), undo, folder_id=before.folder_id, version=file.version)
    return redirect(_place_of(file))


def _move_form(file: FileView, query: MoveQuery, error: Invalid | Conflict | None = None) -> str:
    walk = mover(current_actor(), url_for(".move_file_form", file_id=file.id), query, file.folder_id)
    return render_template(
        "files/move.html",
        file=file,
        form=form_of(error, field="folder_id"),
        back_url=_place_of(file),
        breadcrumbs=crumbs_to(current_actor(), file.folder_id, file.name),
        **walk,
    )


@pages.post("/files/<uuid:file_id>/trash", endpoint="trash_file")
@guard("files.write")
def trash_file_page(file_id: UUID) -> AnyResponse:
    """Move to the trash, with an undo in the message."""
    actor = current_actor()
    place = _place_of(files.show_file(actor, file_id))
    file = trash.trash_file(actor, file_id, expected_version())
    undo = url_for("trash_pages.restore_file", file_id=file_id)
    flash_undo(_("“%(name)s” moved to trash.", name=file.name), undo)
    return redirect(place)


def _place_of(file: FileView) -> str:
    if file.folder_id is None:
        return url_for("files_pages.list_files")
    return url_for("folders_pages.show_folder", folder_id=file.folder_id)
