"""Folders: list, look into, make, rename, move, trash."""

from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from webapp.errors import Conflict, Invalid, Missing, Stale
from webapp.http import placing
from webapp.http.answers import Created, created, gives
from webapp.http.conditional import expected_version
from webapp.http.formats import isolated
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_form, read_query, takes
from webapp.http.merges import Answer, merge_page
from webapp.http.placing import FOLDER
from webapp.http.rows import crumbs_to, folder_page, folder_url, form_of, place_url
from webapp.http.undo import flash_undo
from webapp.policies import Level
from webapp.services import folders, trash
from webapp.services.cursors import Page
from webapp.services.folders import FolderChange, FolderFilter, FolderView, MoveQuery, NewFolder
from webapp.services.listings import BrowseQuery

pages = Blueprint("folders_pages", __name__)
api = Blueprint("folders_api", __name__)


@api.get("/folders")
@guard("files.read", subtree=True)
@takes(query=FolderFilter)
@gives(Page[FolderView], errors=(404,))
def list_folders(query: FolderFilter) -> Page[FolderView]:
    """The folders inside one folder, or at the top."""
    return folders.list_folders(current_actor(), query)


@api.post("/folders")
@guard("files.write", subtree=True)
@takes(NewFolder)
@gives(FolderView, status=201, errors=(409,))
def create_folder(wish: NewFolder) -> Created:
    """Make a folder."""
    folder = folders.create_folder(current_actor(), wish)
    return created(folder, url_for("folders_api.show_folder", folder_id=folder.id))


@api.get("/folders/<uuid:folder_id>")
@guard("files.read", subtree=True)
@gives(FolderView, errors=(404,))
def show_folder(folder_id: UUID) -> FolderView:
    """One folder."""
    return folders.show_folder(current_actor(), folder_id)


@api.patch("/folders/<uuid:folder_id>")
@guard("files.write", subtree=True)
@takes(FolderChange)
@gives(FolderView, errors=(404, 409, 412, 423))
def change_folder(wish: FolderChange, folder_id: UUID) -> FolderView:
    """Rename or move a folder with all that is in it."""
    return folders.change_folder(current_actor(), folder_id, wish, expected_version())


@api.delete("/folders/<uuid:folder_id>")
@guard("files.write", subtree=True)
@gives(None, status=204, errors=(404, 412))
def trash_folder(folder_id: UUID) -> None:
    """Move a folder to the trash with all that is in it."""
    trash.trash_folder(current_actor(), folder_id, expected_version())


@pages.get("/folders/<uuid:folder_id>", endpoint="show_folder")
@guard("files.read")
def show_folder_page(folder_id: UUID) -> str:
    """What is in the folder."""
    return folder_page(current_actor(), folder_id, read_query(BrowseQuery))


@pages.post("/folders", endpoint="create_folder")
@guard("files.write")
def create_folder_page() -> str | Response:
    """Make a folder where the person is; a refused name comes back in the form."""
    try:
        folder = folders.create_folder(current_actor(), read_form(NewFolder))
    except (Invalid, Conflict) as error:
        parent = _parent_of_form()
        return render_template(
            "folders/create.html",
            parent=parent,
            form=form_of(error, field="name"),
            breadcrumbs=crumbs_to(current_actor(), parent.id if parent else None),
            back_url=folder_url(parent.id if parent else None),
        )
    flash(_("Folder “%(name)s” made.", name=isolated(folder.name)), "success")
    return redirect(folder_url(folder.parent_id))


def _parent_of_form() -> FolderView | None:
    """The folder the refused form named, when it names one that exists; else the top."""
    try:
        return folders.show_folder(current_actor(), UUID(request.form.get("parent_id", "")))
    except (ValueError, Missing):
        return None


@pages.get("/folders/<uuid:folder_id>/name")
@guard("files.write")
def rename_folder_form(folder_id: UUID) -> str:
    """The form that renames a folder."""
    return placing.rename_form(FOLDER, folder_id)


@pages.post("/folders/<uuid:folder_id>/name")
@guard("files.write")
def rename_folder(folder_id: UUID) -> placing.Page:
    """Rename it."""
    return placing.rename(FOLDER, folder_id)


@pages.get("/folders/<uuid:folder_id>/parent")
@guard("files.write")
def move_folder_form(folder_id: UUID) -> str:
    """Walk to the folder that shall hold this one."""
    return placing.move_form(FOLDER, folder_id, read_query(MoveQuery))


@pages.post("/folders/<uuid:folder_id>/parent")
@guard("files.write")
def move_folder(folder_id: UUID) -> placing.Page:
    """Move it with all that is inside."""
    return placing.move(FOLDER, folder_id)


@pages.post("/folders/<uuid:folder_id>/trash", endpoint="trash_folder")
@guard("files.write")
def trash_folder_page(folder_id: UUID) -> Answer:
    """Move to the trash with all that is inside, with an undo in the message."""
    actor = current_actor()
    seen, level = folders.show_folder(actor, folder_id), folders.trail_to(actor, folder_id).level
    place = place_url(actor, seen.parent_id)
    try:
        folder = trash.trash_folder(actor, folder_id, expected_version())
    except Stale:
        here = url_for(".trash_folder", folder_id=folder_id)
        return merge_page(seen.name, here, seen.version, place, deed=_("Move to trash"))
    done = _("“%(name)s” moved to trash.", name=isolated(folder.name))
    if level >= Level.MANAGER:
        flash_undo(done, url_for("trash_pages.restore_folder", folder_id=folder_id), version=folder.version)
    else:
        flash(done, "success")
    return redirect(place)
