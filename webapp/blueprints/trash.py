"""Trash: list, restore, remove for good."""

from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, url_for
from flask_babel import gettext as _
from flask_babel import ngettext

from webapp.errors import Invalid, Stale
from webapp.http.answers import gives
from webapp.http.conditional import expected_version
from webapp.http.formats import isolated, size
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_form, read_query, takes
from webapp.http.merges import Answer, merge_page
from webapp.http.rows import form_of, place_url, trash_rows
from webapp.policies import Level
from webapp.services import purges, trash
from webapp.services.cursors import Page
from webapp.services.files import FileView
from webapp.services.purges import Emptied, Emptying, Removal
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
@gives(FileView, errors=(404, 412))
def restore_file(file_id: UUID) -> FileView:
    """Take a file out of the trash: back to its folder, or to the top when that is gone."""
    return trash.restore_file(current_actor(), file_id, expected_version())


@api.delete("/trash/<uuid:file_id>")
@guard("files.write")
@gives(None, status=204, errors=(404, 412))
def purge_file(file_id: UUID) -> None:
    """Remove a trashed file for good, with all its versions."""
    purges.purge_file(current_actor(), file_id, expected_version())


@api.delete("/trash")
@guard("files.write")
@gives(Emptied)
def empty_trash() -> Emptied:
    """Remove all that is in the trash now for good. A large trash is emptied on by a job."""
    return purges.empty_trash(current_actor())


@pages.get("/trash", endpoint="list_trash")
@guard("files.read")
def list_trash_page() -> str:
    """The trash, with a button for each file."""
    query = read_query(TrashQuery)
    page = trash.list_trash(current_actor(), query.limit, query.cursor)
    return render_template("trash/index.html", **trash_rows(current_actor(), page))


@pages.post("/trash/<uuid:file_id>/restoration", endpoint="restore_file")
@guard("files.write")
def restore_file_page(file_id: UUID) -> Answer:
    """Restore and go to where the file is now."""
    try:
        file = trash.restore_file(current_actor(), file_id, expected_version())
    except Stale:
        seen = purges.show_trashed(current_actor(), file_id, Level.MANAGER)
        return _ask_again(seen, url_for(".restore_file", file_id=file_id), _("Restore"))
    flash(_("“%(name)s” restored.", name=isolated(file.name)), "success")
    return redirect(place_url(current_actor(), file.folder_id))


@pages.get("/trash/<uuid:file_id>/removal")
@guard("files.write")
def purge_file_form(file_id: UUID) -> str:
    """Ask before a file goes for good."""
    return _removal_form(file_id)


@pages.post("/trash/<uuid:file_id>/removal", endpoint="purge_file")
@guard("files.write")
def purge_file_page(file_id: UUID) -> Answer:
    """Remove it once its name was typed."""
    actor = current_actor()
    file = purges.show_trashed(actor, file_id)
    try:
        if read_form(Removal).name.strip() != file.name.strip():
            raise Invalid.field("name", "confirmation", "Type the name as it stands above.")
    except Invalid as error:
        return _removal_form(file_id, error), error.status
    try:
        purges.purge_file(actor, file_id, expected_version())
    except Stale:
        seen = purges.show_trashed(actor, file_id)
        return _ask_again(seen, url_for(".purge_file", file_id=file_id), _("Remove for good"), danger=True)
    flash(_("“%(name)s” was removed for good.", name=isolated(file.name)), "success")
    return redirect(url_for(".list_trash"))


@pages.get("/trash/removal")
@guard("files.write")
def empty_trash_form() -> str:
    """Ask before all goes for good."""
    return _emptying_form()


@pages.post("/trash/removal", endpoint="empty_trash")
@guard("files.write")
def empty_trash_page() -> Answer:
    """Empty it once the number of files was typed; when files came meanwhile, it is asked again."""
    actor = current_actor()
    try:
        if read_form(Emptying).count != purges.count_trash(actor)[0]:
            raise Invalid.field("count", "confirmation", "Type how many files are in the trash now.")
    except Invalid as error:
        return _emptying_form(error), error.status
    done = purges.empty_trash(actor)
    gone = ngettext("%(num)d file was removed for good.", "%(num)d files were removed for good.", done.files)
    flash(f"{gone} {_('The rest follows.')}" if done.continues else gone, "success")
    return redirect(url_for(".list_trash"))


def _ask_again(file: FileView, action: str, deed: str, *, danger: bool = False) -> Answer:
    return merge_page(file.name, action, file.version, url_for(".list_trash"), deed=deed, danger=danger)


def _removal_form(file_id: UUID, error: Invalid | None = None) -> str:
    return render_template("trash/purge.html", file=purges.show_trashed(current_actor(), file_id), form=form_of(error))


def _emptying_form(error: Invalid | None = None) -> str:
    count, held = purges.count_trash(current_actor())
    return render_template("trash/empty.html", count=count, size_text=size(held), form=form_of(error))
