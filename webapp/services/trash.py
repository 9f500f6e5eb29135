"""Trash: a file is put there with its name and place, and comes back to them, or to the top if they are gone."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field
from sqlalchemy import Select, bindparam, tuple_

from webapp.db import db, read_rows, transactional
from webapp.errors import Missing
from webapp.infra.clock import now
from webapp.models.access import deleted_file_at
from webapp.models.files import File
from webapp.models.folders import Folder
from webapp.models.record import any_state, live
from webapp.policies import Actor, Level, require
from webapp.services.access import owner_of, reach
from webapp.services.cursors import Page, decode_cursor, page_of
from webapp.services.events import record
from webapp.services.files import FILE_COLUMNS, FileView, find_file, target_of, view_of, view_row
from webapp.services.folders import check_version, taken_keys
from webapp.services.inputs import Input
from webapp.services.names import name_key, next_free, sibling_prefix, sort_key
from webapp.services.placements import place
from webapp.services.quotas import lock_tree


class TrashQuery(Input):
    """A page of the trash."""

    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Annotated[str | None, Field(max_length=2000)] = None


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
def restore_file(actor: Actor, file_id: UUID, expected: int | None = None) -> FileView:
    """Take a file out of the trash, back to its folder, or to the top when that is gone.

    For its owner and managers. A name taken meanwhile makes it “name (1)”. Raises Missing for a file that is not in
    the trash, Stale.
    """
    require(actor, "files.write")
    lock_tree(owner_of(File, file_id, actor))
    row = db.session.execute(deleted_file_at(file_id)).first()
    if row is None or reach(actor, row[0].owner_id, row.path, row[0].id).level < Level.MANAGER:
        raise Missing("There is no such file in the trash.")
    file: File = row[0]
    check_version(file.version, expected)
    if file.folder_id and not db.session.scalar(live(Folder, Folder.id).where(Folder.id == file.folder_id)):
        file.folder_id = None
    before = file.name
    taken = taken_keys(file.owner_id, file.folder_id, sibling_prefix(file.name), exact=False)
    if file.name_key in taken:
        file.name = next_free(file.name, taken)
        file.name_key, file.sort_key = name_key(file.name), sort_key(file.name)
    file.deleted_at = None
    db.session.flush()
    place(file)
    record(actor, "file.restored", target_of(file), {"name": (before, file.name)} if before != file.name else None)
    return view_of(file)


def _deleted_listing(after: bool) -> Select[Any]:
    chosen = (
        any_state(File, *FILE_COLUMNS, File.id.label("row_id"))
        .outerjoin(Folder, (Folder.id == File.folder_id) & Folder.deleted_at.is_(None))
        .where(File.owner_id == bindparam("owner_id"), File.deleted_at.is_not(None))
        .order_by(File.deleted_at.desc(), File.id.desc())
        .limit(bindparam("rows"))
    )
    if after:
        mark = tuple_(bindparam("moment", type_=File.deleted_at.type), bindparam("row_id"))
        chosen = chosen.where(tuple_(File.deleted_at, File.id) < mark)
    return chosen


_DELETED = {after: _deleted_listing(after) for after in (False, True)}


def list_trash(actor: Actor, limit: int = 25, cursor: str | None = None) -> Page[FileView]:
    """The actor's trashed files, last trashed first."""
    require(actor, "files.read")
    parameters: dict[str, Any] = {"owner_id": actor.id, "rows": limit + 1}
    if cursor:
        parameters["moment"], parameters["row_id"] = decode_cursor(cursor, (datetime, int), of="trash")
    rows = read_rows(_DELETED[bool(cursor)], parameters)
    return page_of(rows, limit, view_row, lambda row: (row.deleted_at, row.row_id), of="trash")
