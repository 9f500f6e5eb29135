"""Trash: list, restore."""

from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from webapp.http.answers import gives
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_query, takes
from webapp.http.rows import trash_rows
from webapp.services import trash
from webapp.services.cursors import Page
from webapp.services.files import FileView
from webapp.services.trash import TrashQuery

pages = Blueprint("trash_pages", __name__)
api = Blueprint("trash_api", __name__)


@api.get("/trash")
@guard("files.read")
@takes(query=TrashQuery)
@gives(Page[FileView])
def list_trash(query: TrashQuery) -> Page[FileView]:
    """Trashed files, last trashed first."""
    return trash.list_trash(current_actor(), query.limit, query.cursor)


@api.post("/files/<uuid:file_id>/restoration")
@guard("files.write")
@gives(FileView, errors=(404,))
def restore_file(file_id: UUID) -> FileView:
    """Take a file out of the trash: back to its folder, or to the top when that is gone."""
    return trash.restore_file(current_actor(), file_id)


@pages.get("/trash", endpoint="list_trash")
@guard("files.read")
def list_trash_page() -> str:
    """The trash, with a button for each file."""
    query = read_query(TrashQuery)
    page = trash.list_trash(current_actor(), query.limit, query.cursor)
    return render_template("trash/index.html", **trash_rows(current_actor(), page))


@pages.post("/trash/<uuid:file_id>/restoration", endpoint="restore_file")
@guard("files.write")
def restore_file_page(file_id: UUID) -> Response:
    """Restore and go to where the file is now."""
    file = trash.restore_file(current_actor(), file_id)
    flash(_("“%(name)s” restored.", name=file.name), "success")
    if file.folder_id is None:
        return redirect(url_for("files_pages.list_files"))
    return redirect(url_for("folders_pages.show_folder", folder_id=file.folder_id))
