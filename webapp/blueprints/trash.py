"""Trash: list, restore, remove for good."""

from collections.abc import Callable
from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import ngettext

from webapp.errors import Invalid, Missing, Stale
from webapp.http.answers import gives
from webapp.http.conditional import expected_version
from webapp.http.formats import isolated, size
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_form, read_query, takes
from webapp.http.merges import Answer, merge_page
from webapp.http.rows import form_of, place_url, trash_rows
from webapp.policies import Actor, Level
from webapp.services import purges, trash, trashed
from webapp.services.cursors import Page
from webapp.services.files import FileView
from webapp.services.folders import FolderView
from webapp.services.purges import Emptied, Emptying, Removal
from webapp.services.trashed import TrashQuery, TrashView

pages = Blueprint("trash_pages", __name__)
api = Blueprint("trash_api", __name__)


@api.get("/trash")
@guard("files.read")
@takes(query=TrashQuery)
@gives(Page[TrashView])
def list_trash(query: TrashQuery) -> Page[TrashView]:
    """Trashed files and folders, last trashed first; not what went along with a folder."""
    return trashed.list_trash(current_actor(), query.limit, query.cursor)


@api.post("/files/<uuid:file_id>/restoration")
@guard("files.write")
@gives(FileView, errors=(404, 412))
def restore_file(file_id: UUID) -> FileView:
    """Take a file out of the trash: back to its folder, or to the top when that is gone."""
    return trash.restore_file(current_actor(), file_id, expected_version())


@api.post("/folders/<uuid:folder_id>/restoration")
@guard("files.write")
@gives(FolderView, errors=(404, 412))
def restore_folder(folder_id: UUID) -> FolderView:
    """Take a folder out of the trash with all that went there with it."""
    return trash.restore_folder(current_actor(), folder_id, expected_version())


@api.delete("/trash/folders/<uuid:folder_id>")
@guard("files.write")
@gives(None, status=204, errors=(404, 412))
def purge_folder(folder_id: UUID) -> None:
    """Remove a trashed folder for good with all that went there with it; a job removes what is in a large one."""
    purges.purge_folder(current_actor(), folder_id, expected_version())


@api.delete("/trash/<uuid:file_id>")
@guard("files.write")
@gives(None, status=204, errors=(404, 412))
def purge_file(file_id: UUID) -> None:
    """Remove a trashed file for good, with all its versions; or a folder, by its id."""
    try:
        purges.purge_file(current_actor(), file_id, expected_version())
    except Missing:
        purges.purge_folder(current_actor(), file_id, expected_version())


@api.delete("/trash")
@guard("files.write")
@gives(Emptied)
def empty_trash() -> Emptied:
    """Remove all that is in the trash now for good. A large trash is emptied on by a job."""
    return purges.empty_trash(current_actor())


@pages.get("/trash", endpoint="list_trash")
@guard("files.read")
def list_trash_page() -> str:
    """The trash, with buttons for each file and folder."""
    query = read_query(TrashQuery)
    page = trashed.list_trash(current_actor(), query.limit, query.cursor)
    return render_template("trash/index.html", **trash_rows(page))


@pages.post("/trash/<uuid:file_id>/restoration", endpoint="restore_file")
@guard("files.write")
def restore_file_page(file_id: UUID) -> Answer:
    """Restore and go to where the file is now."""
    try:
        file = trash.restore_file(current_actor(), file_id, expected_version())
    except Stale:
        seen = trashed.show_trashed(current_actor(), file_id, "file", Level.MANAGER)
        return _ask_again(seen, url_for(".restore_file", file_id=file_id), _("Restore"))
    flash(_("“%(name)s” restored.", name=isolated(file.name)), "success")
    return redirect(place_url(current_actor(), file.folder_id))


@pages.post("/trash/folders/<uuid:folder_id>/restoration", endpoint="restore_folder")
@guard("files.write")
def restore_folder_page(folder_id: UUID) -> Answer:
    """Restore and go to where the folder is now."""
    try:
        folder = trash.restore_folder(current_actor(), folder_id, expected_version())
    except Stale:
        seen = trashed.show_trashed(current_actor(), folder_id, "folder", Level.MANAGER)
        return _ask_again(seen, url_for(".restore_folder", folder_id=folder_id), _("Restore"))
    flash(_("“%(name)s” restored.", name=isolated(folder.name)), "success")
    return redirect(place_url(current_actor(), folder.parent_id))


@pages.get("/trash/<uuid:file_id>/removal")
@guard("files.write")
def purge_file_form(file_id: UUID) -> str:
    """Ask before a file goes for good."""
    return _removal_form("file", file_id)


@pages.post("/trash/<uuid:file_id>/removal", endpoint="purge_file")
@guard("files.write")
def purge_file_page(file_id: UUID) -> Answer:
    """Remove it once its name was typed."""
    return _remove("file", file_id, purges.purge_file)


@pages.get("/trash/folders/<uuid:folder_id>/removal")
@guard("files.write")
def purge_folder_form(folder_id: UUID) -> str:
    """Ask before a folder goes for good."""
    return _removal_form("folder", folder_id)


@pages.post("/trash/folders/<uuid:folder_id>/removal", endpoint="purge_folder")
@guard("files.write")
def purge_folder_page(folder_id: UUID) -> Answer:
    """Remove it with what went there with it, once its name was typed."""
    return _remove("folder", folder_id, purges.purge_folder)


@pages.get("/trash/removal")
@guard("files.write")
def empty_trash_form() -> str:
    """Ask before all goes for good."""
    return _emptying_form()


@pages.post("/trash/removal", endpoint="empty_trash")
@guard("files.write")
def empty_trash_page() -> Answer:
    """Empty it once the number of things in it was typed; when more came meanwhile, it is asked again."""
    actor = current_actor()
    try:
        if read_form(Emptying).count != trashed.count_trash(actor)[0]:
            raise Invalid.field("count", "confirmation", "Type how many files and folders are in the trash now.")
    except Invalid as error:
        return _emptying_form(error), error.status
    done = purges.empty_trash(actor)
    gone = ngettext("%(num)d file was removed for good.", "%(num)d files were removed for good.", done.files)
    flash(f"{gone} {_('The rest follows.')}" if done.continues else gone, "success")
    return redirect(url_for(".list_trash"))


def _ask_again(seen: TrashView, action: str, deed: str, *, danger: bool = False) -> Answer:
    return merge_page(seen.name, action, seen.version, url_for(".list_trash"), deed=deed, danger=danger)


def _removal_form(kind: str, thing_id: UUID, error: Invalid | None = None) -> str:
    thing = trashed.show_trashed(current_actor(), thing_id, kind)
    action = url_for(f".purge_{kind}", **{f"{kind}_id": thing_id})  # type: ignore[arg-type]
    return render_template("trash/purge.html", thing=thing, action=action, form=form_of(error))


def _remove(kind: str, thing_id: UUID, purge: Callable[[Actor, UUID, int | None], None]) -> Answer:
    actor = current_actor()
    thing = trashed.show_trashed(actor, thing_id, kind)
    try:
        if read_form(Removal).name.strip() != thing.name.strip():
            raise Invalid.field("name", "confirmation", "Type the name as it stands above.")
    except Invalid as error:
        return _removal_form(kind, thing_id, error), error.status
    try:
        purge(actor, thing_id, expected_version())
    except Stale:
        seen = trashed.show_trashed(actor, thing_id, kind)
        return _ask_again(seen, request.path, _("Remove for good"), danger=True)
    flash(_("“%(name)s” was removed for good.", name=isolated(thing.name)), "success")
    return redirect(url_for(".list_trash"))


def _emptying_form(error: Invalid | None = None) -> str:
    count, held = trashed.count_trash(current_actor())
    return render_template("trash/empty.html", count=count, size_text=size(held), form=form_of(error))
