"""Trash: files and folders go there with name and place, and come back to them, or to the top if those are gone.

A folder takes along all that lives below it: that comes back with it, and only that.
"""

from typing import Any
from uuid import UUID

from webapp.db import db, transactional
from webapp.errors import Missing
from webapp.infra.clock import now
from webapp.models.access import deleted_file_at, deleted_folder_at
from webapp.models.files import File
from webapp.models.folders import MAX_DEPTH, Folder
from webapp.models.record import live
from webapp.models.trash import any_depth_below, graft, lift, sink
from webapp.policies import Actor, Level, require
from webapp.services.access import owner_of, reach
from webapp.services.caches import PREVIEWS, empty_later
from webapp.services.events import record
from webapp.services.files import FileView, find_file, target_of, view_of
from webapp.services.folders import FolderView, check_version, find_folder, path_under, taken_keys
from webapp.services.folders import target_of as target_of_folder
from webapp.services.folders import view_of as view_of_folder
from webapp.services.names import name_key, next_free, sibling_prefix, sort_key
from webapp.services.placements import place, place_set
from webapp.services.quotas import lock_tree

QUIET: dict[str, Any] = {"synchronize_session": False}  # entities at hand are changed beside these statements


@transactional
def trash_file(actor: Actor, file_id: UUID, expected: int | None = None) -> FileView:
    """Put a file into the trash of its owner; its name is free again at once. Raises Missing, Stale."""
    require(actor, "files.write")
    lock_tree(owner_of(File, file_id, actor))
    file = find_file(actor, file_id, "files.write")
    check_version(file.version, expected)
    file.deleted_at = now()
    db.session.flush()
    place(file)
    record(actor, "file.trashed", target_of(file))
    return view_of(file)


@transactional
def trash_folder(actor: Actor, folder_id: UUID, expected: int | None = None) -> FolderView:
    """Put a folder with all that lives below into the trash of its owner. Raises Missing, Stale.

    A number of statements that does not grow with what is inside.
    """
    require(actor, "files.write")
    lock_tree(owner_of(Folder, folder_id, actor))
    folder = find_folder(actor, folder_id, "files.write")
    check_version(folder.version, expected)
    moment = now()
    for statement in sink(folder, moment):
        db.session.execute(statement, execution_options=QUIET)
    folder.deleted_at = moment
    db.session.flush()
    place(folder)
    count = place_set(File, File.trashed_with == folder.id)
    place_set(Folder, Folder.trashed_with == folder.id)
    empty_later(PREVIEWS)  # theirs are remembered by file
    record(actor, "folder.trashed", target_of_folder(folder), {"files": (count, None)})
    return view_of_folder(folder)


@transactional
def restore_file(actor: Actor, file_id: UUID, expected: int | None = None) -> FileView:
    """Take a file out of the trash, back to its folder, or to the top when that is gone.

    For its owner and managers. A name taken meanwhile makes it “name (1)”. Raises Missing for a file that is not in
    the trash or is being removed, Stale.
    """
    require(actor, "files.write")
    lock_tree(owner_of(File, file_id, actor))
    row = db.session.execute(deleted_file_at(file_id)).first()
    if row is None or reach(actor, row[0].owner_id, row.path, row[0].id).level < Level.MANAGER or row.leaving:
        raise Missing("There is no such file in the trash.")
    file: File = row[0]
    check_version(file.version, expected)
    if file.folder_id and not db.session.scalar(live(Folder, Folder.id).where(Folder.id == file.folder_id)):
        file.folder_id = None
    before = file.name
    _name_anew(file, file.folder_id)
    file.deleted_at = file.trashed_with = None
    db.session.flush()
    place(file)
    record(actor, "file.restored", target_of(file), {"name": (before, file.name)} if before != file.name else None)
    return view_of(file)


@transactional
def restore_folder(actor: Actor, folder_id: UUID, expected: int | None = None) -> FolderView:
    """Take a folder out of the trash with what went there with it; where to and who may, as for files.

    What went there with another folder comes back with that one. Raises Missing, Stale.
    """
    require(actor, "files.write")
    lock_tree(owner_of(Folder, folder_id, actor))
    folder = db.session.scalar(deleted_folder_at(folder_id))
    if folder is None or reach(actor, folder.owner_id, folder.path).level < Level.MANAGER:
        raise Missing("There is no such folder in the trash.")
    check_version(folder.version, expected)
    before = folder.name
    _put_back(folder)
    _name_anew(folder, folder.parent_id)
    for statement in lift(folder.id):
        db.session.execute(statement, execution_options=QUIET)
    folder.deleted_at = None
    db.session.flush()
    place(folder)
    within = Folder.path.startswith(folder.path, autoescape=True) & Folder.deleted_at.is_(None)
    place_set(Folder, within & (Folder.id != folder.id))  # nothing lived below it: all that does came back with it
    count = place_set(File, File.folder_id.in_(live(Folder, Folder.id).where(within)) & File.deleted_at.is_(None))
    empty_later(PREVIEWS)
    changes: dict[str, tuple[Any, Any]] = {"files": (None, count)}
    changes |= {"name": (before, folder.name)} if before != folder.name else {}
    record(actor, "folder.restored", target_of_folder(folder), changes)
    return view_of_folder(folder)


def _put_back(folder: Folder) -> None:
    """Find the place: the parent when it lives and what comes back fits below it, else the top."""
    parent = None
    if folder.parent_id is not None:
        parent = db.session.scalar(live(Folder).where(Folder.id == folder.parent_id))
    own = folder.path.count("/")
    levels = (db.session.scalar(any_depth_below(folder.path, folder.id)) or own) - own  # the parent moved deeper since?
    if parent is not None and parent.path.count("/") + levels > MAX_DEPTH:
        parent = None
    old, new = folder.path, path_under(parent, folder.id)
    if old != new:
        db.session.execute(graft(old, new), execution_options=QUIET)
        folder.path, folder.parent_id = new, parent.id if parent else None


def _name_anew(item: File | Folder, parent_id: int | None) -> None:
    taken = taken_keys(item.owner_id, parent_id, sibling_prefix(item.name), exact=False)
    if item.name_key in taken:
        item.name = next_free(item.name, taken)
        item.name_key, item.sort_key = name_key(item.name), sort_key(item.name)
