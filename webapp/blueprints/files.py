"""Files: list, upload, look at, download, rename, move, trash."""

from uuid import UUID

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response as AnyResponse

from webapp.errors import Stale
from webapp.http import descriptions, placing
from webapp.http.accessrows import people_rows
from webapp.http.answers import answer, created, gives
from webapp.http.conditional import expected_content, expected_version
from webapp.http.downloads import send_content
from webapp.http.formats import isolated
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_query, takes
from webapp.http.jobrows import job_steps
from webapp.http.limiting import limited
from webapp.http.merges import Answer, merge_page
from webapp.http.placing import FILE
from webapp.http.previewrows import LookQuery
from webapp.http.repetitions import once
from webapp.http.rows import file_card, folder_page, folder_url, place_url
from webapp.http.undo import flash_undo
from webapp.http.uploads import announced_size, received, refusals_heard
from webapp.http.versionrows import version_lines
from webapp.infra.storage import LocalDraft
from webapp.policies import Level
from webapp.services import audiences, downloads, files, listings, trash, worklists
from webapp.services.audiences import AccessFilter
from webapp.services.cursors import Page
from webapp.services.downloads import ContentQuery
from webapp.services.files import FileChange, FileView, NewFile, UploadQuery
from webapp.services.folders import MoveQuery
from webapp.services.listings import BrowseQuery, FileFilter

pages = Blueprint("files_pages", __name__)
api = Blueprint("files_api", __name__)


@api.get("/files")
@guard("files.read", subtree=True)
@takes(query=FileFilter)
@gives(Page[FileView], errors=(404,))
def list_files(query: FileFilter) -> Page[FileView]:
    """List files: one folder's, the top level's, or all; by name, time or size."""
    return listings.list_files(current_actor(), query)


@api.post("/files")
@guard("files.write", upload=True, subtree=True)
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
@guard("files.read", subtree=True)
@gives(FileView, errors=(404,))
def show_file(file_id: UUID) -> FileView:
    """One file."""
    return files.show_file(current_actor(), file_id)


@api.patch("/files/<uuid:file_id>")
@guard("files.write", subtree=True)
@takes(FileChange)
@gives(FileView, errors=(404, 409, 412))
def change_file(wish: FileChange, file_id: UUID) -> FileView:
    """Rename, move, describe or tag a file."""
    return files.change_file(current_actor(), file_id, wish, expected_version())


@api.delete("/files/<uuid:file_id>")
@guard("files.write", subtree=True)
@gives(None, status=204, errors=(400, 404, 412))
def trash_file(file_id: UUID) -> None:
    """Move a file to the trash."""
    trash.trash_file(current_actor(), file_id, expected_version())


@api.get("/files/<uuid:file_id>/content")
@guard("files.read", subtree=True)
@limited("downloads")
@takes(query=ContentQuery)
@gives(bytes, errors=(404, 409, 416, 423))
def download_content(file_id: UUID, query: ContentQuery) -> Response:
    """Download; takes Range and conditions. `?inline=1` shows harmless types in the browser."""
    content = downloads.open_content(current_actor(), file_id)
    return send_content(content, inline=query.inline)


@api.put("/files/<uuid:file_id>/content")
@guard("files.write", upload=True, subtree=True)
@takes(upload=True)
@gives(FileView, errors=(404, 411, 412, 413, 423, 507))
def replace_content(file_id: UUID) -> FileView:
    """Replace the content by the body; the former content stays as a version.

    If-Match takes the file's version, and the ETag of the download as well.
    """
    actor = current_actor()
    expected = expected_content(lambda: files.show_file(actor, file_id))
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
        else _("“%(name)s” uploaded.", name=isolated(views[0].name)),
        "success",
    )
    return redirect(folder_url(views[0].folder_id))


@pages.get("/files/<uuid:file_id>", endpoint="show_file")
@guard("files.read")
def show_file_page(file_id: UUID) -> str:
    """Preview, details, who has access and what the server did with the file."""
    actor = current_actor()
    people = people_rows(actor, audiences.show_access(actor, "file", file_id, AccessFilter(limit=10)))
    steps = job_steps(worklists.jobs_of_file(actor, file_id), replays=actor.can("jobs.write"))
    card = file_card(actor, file_id, read_query(LookQuery))
    versions = version_lines(actor, file_id)
    return render_template("files/show.html", **card, people=people, steps=steps, versions=versions)


@pages.get("/files/<uuid:file_id>/name")
@guard("files.write")
def rename_file_form(file_id: UUID) -> str:
    """The form that renames a file."""
    return placing.rename_form(FILE, file_id)


@pages.post("/files/<uuid:file_id>/name")
@guard("files.write")
def rename_file(file_id: UUID) -> placing.Page:
    """Rename it."""
    return placing.rename(FILE, file_id)


@pages.get("/files/<uuid:file_id>/folder")
@guard("files.write")
def move_file_form(file_id: UUID) -> str:
    """Walk to the folder that shall hold the file."""
    return placing.move_form(FILE, file_id, read_query(MoveQuery))


@pages.post("/files/<uuid:file_id>/folder")
@guard("files.write")
def move_file(file_id: UUID) -> placing.Page:
    """Move it."""
    return placing.move(FILE, file_id)


@pages.get("/files/<uuid:file_id>/description")
@guard("files.write")
def describe_file_form(file_id: UUID) -> str:
    """The form that describes and tags a file."""
    return descriptions.describe_form(file_id)


@pages.post("/files/<uuid:file_id>/description")
@guard("files.write")
def describe_file(file_id: UUID) -> placing.Page:
    """Describe and tag it."""
    return descriptions.describe(file_id)


@pages.post("/files/<uuid:file_id>/trash", endpoint="trash_file")
@guard("files.write")
def trash_file_page(file_id: UUID) -> Answer:
    """Move to the trash, with an undo in the message; what was changed meanwhile is asked about once more."""
    actor = current_actor()
    seen, found, _owner = files.look_at(actor, file_id)
    place = place_url(actor, seen.folder_id)
    try:
        file = trash.trash_file(actor, file_id, expected_version())
    except Stale:
        here = url_for(".trash_file", file_id=file_id)
        return merge_page(seen.name, here, seen.version, place, deed=_("Move to trash"))
    undo = url_for("trash_pages.restore_file", file_id=file_id)
    done = _("“%(name)s” moved to trash.", name=isolated(file.name))
    if found.level >= Level.MANAGER:
        flash_undo(done, undo, version=file.version)
    else:
        flash(done, "success")
    return redirect(place)
