"""Renaming and moving by pages, the same for files and folders."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flask import redirect, render_template, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from webapp.errors import Conflict, Invalid, Stale
from webapp.http.conditional import expected_version
from webapp.http.formats import isolated
from webapp.http.guard import current_actor
from webapp.http.inputs import read_form
from webapp.http.merges import choice, merge_page
from webapp.http.rows import crumbs_to, folder_path, form_of, mover, place_url
from webapp.http.undo import flash_undo
from webapp.policies import Actor
from webapp.services import files, folders
from webapp.services.files import FileChange, FileMove
from webapp.services.folders import FolderChange, FolderMove, MoveQuery, Rename

Page = Response | str | tuple[str, int]


@dataclass(frozen=True, slots=True)
class Kind:
    """How things of one kind are read and changed; `place` is the field that names the folder they lie in."""

    noun: str
    place: str
    find: Callable[..., Any]
    show: Callable[..., Any]
    change: Callable[..., Any]
    wish: type[FileChange | FolderChange]
    move: type[FileMove | FolderMove]

    def address(self, deed: str, thing_id: UUID) -> str:
        """The page of the deed."""
        value: dict[str, Any] = {f"{self.noun}_id": thing_id}
        return url_for(f"{self.noun}s_pages.{deed}_{self.noun}", **value)

    def see(self, actor: Actor, thing_id: UUID) -> Any:
        """It, for somebody who may change it. Raises Missing, Refused."""
        self.find(actor, thing_id, "files.write")
        return self.show(actor, thing_id)

    def place_of(self, thing: Any) -> UUID | None:
        """The folder it lies in; None is the top."""
        place: UUID | None = getattr(thing, self.place)
        return place


FILE = Kind("file", "folder_id", files.find_file, files.show_file, files.change_file, FileChange, FileMove)
FOLDER = Kind("folder", "parent_id", folders.find_folder, folders.show_folder, folders.change_folder, FolderChange,
              FolderMove)  # fmt: skip


def rename_form(kind: Kind, thing_id: UUID, error: Invalid | Conflict | None = None) -> str:
    """The form that renames it."""
    thing = kind.see(current_actor(), thing_id)
    return _form("files/rename.html", kind, thing, "rename", form_of(error, field="name"))


def rename(kind: Kind, thing_id: UUID) -> Page:
    """Rename it; a stale form meets the merge page, a refused name the form again."""
    actor, here = current_actor(), kind.address("rename", thing_id)
    before = kind.see(actor, thing_id)
    try:
        wish = kind.wish(name=read_form(Rename).name)
        thing = kind.change(actor, thing_id, wish, expected_version())
    except Stale:
        saved = kind.show(actor, thing_id)
        return merge_page(saved.name, here, saved.version, place_url(actor, kind.place_of(saved)),
                          [choice("name", _("Name"), saved.name)])  # fmt: skip
    except (Invalid, Conflict) as error:
        return rename_form(kind, thing_id, error), error.status
    flash_undo(_("Renamed to “%(name)s”.", name=isolated(thing.name)), here, name=before.name, version=thing.version)
    return redirect(place_url(actor, kind.place_of(thing)))


def move_form(kind: Kind, thing_id: UUID, query: MoveQuery, error: Invalid | Conflict | None = None) -> str:
    """Walk to the folder that shall hold it."""
    actor = current_actor()
    thing = kind.see(actor, thing_id)
    walk = mover(actor, kind.address("move", thing_id), query, kind.place_of(thing), moving=thing_id)
    form = form_of(error, field=kind.place)
    return _form("files/move.html", kind, thing, "move", form, field=kind.place, place=kind.place_of(thing), **walk)


def move(kind: Kind, thing_id: UUID) -> Page:
    """Move it; a stale form meets the merge page; a cycle or a taken name come back with their reason."""
    actor, here = current_actor(), kind.address("move", thing_id)
    before = kind.see(actor, thing_id)
    goal = getattr(read_form(kind.move), kind.place)
    try:
        thing = kind.change(actor, thing_id, kind.wish.model_validate({kind.place: goal}), expected_version())
    except Stale:
        saved = kind.show(actor, thing_id)
        field = choice(kind.place, _("Folder"), kind.place_of(saved), lambda place: folder_path(actor, place))
        return merge_page(saved.name, here, saved.version, place_url(actor, kind.place_of(saved)), [field])
    except (Invalid, Conflict) as error:
        looked_at = (
            goal or "top" if isinstance(error, Conflict) else None
        )  # a folder that is not there is not looked into
        return move_form(kind, thing_id, MoveQuery.model_validate({"in": looked_at}), error), error.status
    former = {kind.place: kind.place_of(before)}
    flash_undo(_("“%(name)s” moved.", name=isolated(thing.name)), here, **former, version=thing.version)
    return redirect(place_url(actor, kind.place_of(thing)))


def _form(template: str, kind: Kind, thing: Any, deed: str, form: dict[str, Any], **more: Any) -> str:
    place = kind.place_of(thing)
    return render_template(
        template, thing=thing, noun=kind.noun, action=kind.address(deed, thing.id), form=form,
        back_url=place_url(current_actor(), place), breadcrumbs=crumbs_to(current_actor(), place, thing.name), **more,
    )  # fmt: skip
