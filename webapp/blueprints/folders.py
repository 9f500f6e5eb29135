"""Folders: list, look into, make, rename, move."""

from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from webapp.errors import Conflict, Invalid, Missing, Stale
from webapp.http.answers import Created, created, gives
from webapp.http.conditional import expected_version
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_form, read_query, takes
from webapp.http.rows import crumbs_to, folder_page, form_of, merge_page, mover
from webapp.http.undo import flash_undo
from webapp.services import folders
from webapp.services.cursors import Page
from webapp.services.folders import (
    FolderChange,
    FolderFilter,
    FolderMove,
    FolderRename,
    FolderView,
    MoveQuery,
    NewFolder,
)
from webapp.services.listings import BrowseQuery

pages = Blueprint("folders_pages", __name__)
api = Blueprint("folders_api", __name__)


@api.get("/folders")
@guard("files.read")
@takes(query=FolderFilter)
@gives(Page[FolderView], errors=(404,))
def list_folders(query: FolderFilter) -> Page[FolderView]:
    """The folders inside one folder, or at the top."""
    return folders.list_folders(current_actor(), query)


@api.post("/folders")
@guard("files.write")
@takes(NewFolder)
@gives(FolderView, status=201, errors=(409,))
def create_folder(wish: NewFolder) -> Created:
    """Make a folder."""
    folder = folders.create_folder(current_actor(), wish)
    return created(folder, url_for("folders_api.show_folder", folder_id=folder.id))


@api.get("/folders/<uuid:folder_id>")
@guard("files.read")
@gives(FolderView, errors=(404,))
def show_folder(folder_id: UUID) -> FolderView:
    """One folder."""
    return folders.show_folder(current_actor(), folder_id)


@api.patch("/folders/<uuid:folder_id>")
@guard("files.write")
@takes(FolderChange)
@gives(FolderView, errors=(404, 409, 412, 423))
def change_folder(wish: FolderChange, folder_id: UUID) -> FolderView:
    """Rename or move a folder with all that is in it."""
    return folders.change_folder(current_actor(), folder_id, wish, expected_version())


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
            back_url=_url(parent.id if parent else None),
        )
    flash(_("Folder “%(name)s” made.", name=folder.name), "success")
    return redirect(_url(folder.parent_id))


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
    return _rename_form(folders.show_folder(current_actor(), folder_id))


@pages.post("/folders/<uuid:folder_id>/name")
@guard("files.write")
def rename_folder(folder_id: UUID) -> str | Response:
    """Rename; a stale form meets the merge page, a taken name the form again."""
    actor = current_actor()
    before = folders.show_folder(actor, folder_id)
    try:
        wish = FolderChange(name=read_form(FolderRename).name)
        folder = folders.change_folder(actor, folder_id, wish, expected_version())
    except Stale:
        theirs = folders.show_folder(actor, folder_id)
        return merge_page(
            theirs.name, url_for(".rename_folder", folder_id=folder_id), theirs.version, {"name": _("Name")}, theirs
        )
    except (Invalid, Conflict) as error:
        return _rename_form(folders.show_folder(actor, folder_id), error)
    undo = url_for(".rename_folder", folder_id=folder_id)
    flash_undo(_("Renamed to “%(name)s”.", name=folder.name), undo, name=before.name, version=folder.version)
    return redirect(_url(folder.parent_id))


def _rename_form(folder: FolderView, error: Invalid | Conflict | None = None) -> str:
    return render_template(
        "folders/rename.html",
        folder=folder,
        form=form_of(error, field="name"),
        breadcrumbs=crumbs_to(current_actor(), folder.id),
        back_url=_url(folder.parent_id),
    )


@pages.get("/folders/<uuid:folder_id>/parent")
@guard("files.write")
def move_folder_form(folder_id: UUID) -> str:
    """Walk to the folder that shall hold this one."""
    return _move_form(folders.show_folder(current_actor(), folder_id), read_query(MoveQuery))


@pages.post("/folders/<uuid:folder_id>/parent")
@guard("files.write")
def move_folder(folder_id: UUID) -> str | Response:
    """Move with all that is inside; a cycle, a taken name or a stale form comes back with its reason."""
    actor = current_actor()
    before = folders.show_folder(actor, folder_id)
    wish = FolderChange(parent_id=read_form(FolderMove).parent_id)
    try:
        folder = folders.change_folder(actor, folder_id, wish, expected_version())
    except (Invalid, Conflict) as error:
        return _move_form(
            folders.show_folder(actor, folder_id), MoveQuery.model_validate({"in": wish.parent_id or "top"}), error
        )
    undo = url_for(".move_folder", folder_id=folder_id)
    flash_undo(_("“%(name)s” moved.", name=folder.name), undo, parent_id=before.parent_id, version=folder.version)
    return redirect(_url(folder.parent_id))


def _move_form(folder: FolderView, query: MoveQuery, error: Invalid | Conflict | None = None) -> str:
    walk = mover(
        current_actor(), url_for(".move_folder_form", folder_id=folder.id), query, folder.parent_id, moving=folder.id
    )
    return render_template(
        "folders/move.html",
        folder=folder,
        form=form_of(error, field="parent_id"),
        back_url=_url(folder.parent_id),
        breadcrumbs=crumbs_to(current_actor(), folder.id),
        **walk,
    )


def _url(folder_id: UUID | None) -> str:
    if folder_id is None:
        return url_for("files_pages.list_files")
    return url_for("folders_pages.show_folder", folder_id=folder_id)
