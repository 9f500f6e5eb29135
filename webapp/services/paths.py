"""Folders named by a path below another: found as far as they are there, made as far as they are not."""

from collections.abc import Sequence
from uuid import UUID

from webapp.db import db, transactional
from webapp.errors import Conflict
from webapp.models.folders import Folder, live_folder_named
from webapp.policies import Actor
from webapp.services.access import owner_of
from webapp.services.folders import NewFolder, create_folder, find_parent, taken_keys
from webapp.services.names import name_key
from webapp.services.quotas import lock_tree


def follow(owner_id: int, start: Folder | None, path: Sequence[str]) -> tuple[Folder | None, int]:
    """The last folder of the path that is there, and how many of its names lead to it."""
    for done, name in enumerate(path):
        below = live_folder_named(owner_id, start.id if start else None, name_key(name))
        folder = db.session.scalar(below)
        if folder is None:
            return start, done
        start = folder
    return start, len(path)


def refuse_files_on(owner_id: int, start: Folder | None, path: Sequence[str]) -> None:
    """Raise Conflict where a file has the name of the first folder of `path`."""
    if path and name_key(path[0]) in taken_keys(owner_id, start.id if start else None, name_key(path[0])):
        raise Conflict(f"“{path[0]}” is a file here, not a folder.", code="name_taken")


@transactional
def make_path(actor: Actor, start_id: UUID | None, path: Sequence[str]) -> UUID | None:
    """The folder at the end of the path, made with those before it where it is not there.

    Raises Conflict where a file has one of the names, Invalid for an unknown start or more than 64 levels.
    """
    owner_id = owner_of(Folder, start_id, actor)
    lock_tree(owner_id)
    start = find_parent(actor, start_id, "folder_id")
    folder, done = follow(owner_id, start, path)
    refuse_files_on(owner_id, folder, path[done:])
    found = folder.uuid if folder else None
    for name in path[done:]:
        found = create_folder(actor, NewFolder(name=name, parent_id=found)).id
    return found
