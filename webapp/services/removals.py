"""Removing trashed folders for good, with what went there with them, in batches that each are one transaction.

A folder whose removal has begun names itself as the one it went with: it is in no list, and nobody restores half of it.
"""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import Select

from webapp.db import db, transactional
from webapp.errors import Missing, Unavailable
from webapp.models.access import deleted_folder_at
from webapp.models.files import File
from webapp.models.folders import Folder
from webapp.models.record import any_state
from webapp.models.trash import (
    any_bytes_of,
    any_left_files,
    any_left_folders,
    any_locked_blobs,
    deleted_with,
    drop_files,
    drop_folders,
    gone_with,
    graft,
    leave_top,
    unname,
)  # fmt: skip
from webapp.policies import Actor
from webapp.services.events import record
from webapp.services.folders import check_version, target_of
from webapp.services.placements import displace_set, place, place_set
from webapp.services.quotas import give_back, lock_tree

BATCH = 500


class Gone(msgspec.Struct, frozen=True):
    """What went: files, their bytes, and whether the folder itself is gone, too."""

    files: int
    bytes: int
    whole: bool


NOT_YET = Gone(0, 0, whole=False)


@transactional
def claim_folder(actor: Actor, folder_id: UUID, expected: int | None = None) -> int:
    """Begin the removal of one of the actor's trashed folders; returns its internal id. Raises Missing, Stale."""
    lock_tree(actor.id)
    folder = db.session.scalar(deleted_folder_at(folder_id))
    if folder is None or folder.owner_id != actor.id:
        raise Missing("There is no such folder in the trash.")
    check_version(folder.version, expected)
    folder.trashed_with = folder.id
    return int(folder.id)


def remove_folder(actor: Actor, owner_id: int, number: int, moment: datetime, most: int | None = None) -> Gone:
    """Remove a folder that lies in the trash since `moment` at the latest, or at first `most` files of it."""
    files = size = 0
    while most is None or files < most:
        try:
            gone = _remove_batch(actor, owner_id, number, moment, min(BATCH, BATCH if most is None else most - files))
        except (Missing, Unavailable):  # restored or removed meanwhile, or somebody holds the owner's tree
            return Gone(files, size, whole=False)
        files, size = files + gone.files, size + gone.bytes
        if gone.whole:
            return Gone(files, size, whole=True)
    return Gone(files, size, whole=False)


@transactional
def _remove_batch(actor: Actor, owner_id: int, number: int, moment: datetime, rows: int) -> Gone:
    lock_tree(owner_id)
    folder = db.session.scalar(_deleted_root(number, moment))
    if folder is None:
        raise Missing
    files = db.session.scalars(deleted_with(number, rows)).all()
    size = _remove_files(owner_id, files) if files else 0
    folder.trashed_with = number
    db.session.flush()
    whole = len(files) < rows or db.session.scalar(deleted_with(number, 1)) is None
    if whole:
        _remove_itself(actor, folder, len(files), size)
    return Gone(len(files), size, whole=whole)


def _deleted_root(number: int, moment: datetime) -> Select[Folder]:
    chosen = any_state(Folder).where(Folder.id == number, Folder.deleted_at <= moment)
    return chosen.where(Folder.trashed_with.is_(None) | (Folder.trashed_with == Folder.id))


def _remove_files(owner_id: int, files: Collection[int]) -> int:
    held = db.session.execute(any_bytes_of(files)).all()
    db.session.execute(any_locked_blobs([row.blob_id for row in held]))
    db.session.execute(unname(files))
    displace_set(File, File.id.in_(files))
    for statement in drop_files(files):
        db.session.execute(statement, execution_options={"synchronize_session": False})
    size = sum(int(row.named * row.size) for row in held)
    give_back(owner_id, size)
    return size


def _remove_itself(actor: Actor, folder: Folder, files: int, size: int) -> None:
    """The rest of it. What was trashed by itself before stays in the trash, and comes back to the top."""
    target, number = target_of(folder), folder.id
    left = db.session.scalars(any_left_files(number)).all()
    if left:
        db.session.execute(leave_top(left), execution_options={"synchronize_session": False})
        place_set(File, File.id.in_(left))
    for each in db.session.scalars(any_left_folders(number)).all():
        top = f"/{each.id}/"
        db.session.execute(graft(each.path, top), execution_options={"synchronize_session": False})
        each.path, each.parent_id = top, None
        db.session.flush()
        place(each)
    displace_set(Folder, gone_with(number))
    db.session.execute(drop_folders(number), execution_options={"synchronize_session": False})
    db.session.expunge(folder)
    record(
        actor, "folder.purged", target, {"name": (target.about, None), "files": (files, None), "bytes": (size, None)}
    )
