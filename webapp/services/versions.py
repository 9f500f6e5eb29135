"""Former contents of a file: listed, read, restored as a new version, named, deleted.

Who sees the file sees its versions; who changes it restores and names them; its owner and managers delete them.
"""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from pydantic import Field

from webapp.db import db, read_row, read_rows, transactional
from webapp.errors import Conflict, Missing, Refused
from webapp.models.access import live_file_at, live_spots
from webapp.models.files import File, FileVersion
from webapp.models.versions import any_content_of, any_one_version, any_versions_of
from webapp.policies import Actor, Level, require
from webapp.services.access import owner_of, prove, reach, refuse_missing
from webapp.services.blobs import name_again
from webapp.services.cursors import Page, decode_cursor, page_of
from webapp.services.downloads import Content
from webapp.services.events import record
from webapp.services.files import FileView, add_version, newest_number, target_of, view_of
from webapp.services.folders import check_version
from webapp.services.inputs import Input, Line
from webapp.services.quotas import charge, lock_tree
from webapp.services.retentions import remove_versions
from webapp.services.scans import refuse_unsafe


class VersionsQuery(Input):
    """A page of a file's versions."""

    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class VersionChange(Input):
    """The name of a version; null takes it away, absent it stays."""

    label: Annotated[Annotated[str, Line(100)] | None, Field(description="a named version is never pruned")] = None


class VersionView(msgspec.Struct, frozen=True, kw_only=True):
    """One content of a file. `author` is who brought it; `version` counts changes of the label, for If-Match."""

    number: int
    size: int
    sha256: str
    mime: str
    author: str | None
    created_at: datetime
    label: str | None
    current: bool
    damaged: bool
    infected: bool
    version: int


def list_versions(actor: Actor, file_id: UUID, query: VersionsQuery) -> Page[VersionView]:
    """A file's contents, the newest first. Raises Missing."""
    chosen = any_versions_of(_row_id(actor, file_id)).limit(query.limit + 1)
    if query.cursor:
        chosen = chosen.where(FileVersion.number < decode_cursor(query.cursor, (int,), of="versions")[0])
    return page_of(read_rows(chosen), query.limit, _view, lambda row: (row.number,), of="versions")


def show_version(actor: Actor, file_id: UUID, number: int) -> VersionView:
    """One of them. Raises Missing."""
    row = read_row(any_versions_of(_row_id(actor, file_id)).where(FileVersion.number == number))
    if row is None:
        raise _unknown()
    return _view(row)


def open_version(actor: Actor, file_id: UUID, number: int) -> Content:
    """The content of a version. Raises Missing; Conflict (damaged, infected), Locked (being_checked)."""
    row = read_row(any_content_of(_row_id(actor, file_id), number))
    if row is None:
        raise _unknown()
    _refuse_bad(row, actor)
    return Content(
        name=row.name, mime=row.mime, sha256=row.sha256, size=row.size, key=row.storage_key, modified=row.created_at
    )


@transactional
def restore_version(actor: Actor, file_id: UUID, number: int, expected: int | None = None) -> FileView:
    """Make an old content the present one, as a new version. The present one stays as it is.

    `expected` is the file's version. Raises Missing, Refused, Stale, Conflict (damaged), TooLarge over quota.
    """
    file = _held(actor, file_id, expected)
    row = db.session.execute(any_content_of(file.id, number)).first()
    if row is None:
        raise _unknown()
    if number == file.number:
        return view_of(file)
    _refuse_bad(row, actor)
    charge(file.owner_id, row.size)
    name_again(row.blob_id)
    before = file.sha256
    file.number = newest_number(file.id) + 1
    file.size, file.sha256, file.mime = row.size, row.sha256, row.mime
    add_version(actor, file, row.blob_id)
    record(actor, "file.replaced", target_of(file), {"sha256": (before, file.sha256), "version": (None, number)})
    return view_of(file)


@transactional
def change_version(
    actor: Actor, file_id: UUID, number: int, wish: VersionChange, expected: int | None = None
) -> VersionView:
    """Name a version, so that no retention takes it; or take its name away. Raises Missing, Refused, Stale."""
    file = _held(actor, file_id)
    version = _version_of(file, number, expected)
    if "label" in wish.model_fields_set and wish.label != version.label:
        before, version.label = version.label, wish.label
        version.version += 1
        db.session.flush()
        record(actor, "file.version_named", target_of(file), {"label": (before, wish.label), "version": (None, number)})
    return _view(db.session.execute(any_versions_of(file.id).where(FileVersion.number == number)).one())


@transactional
def delete_version(actor: Actor, file_id: UUID, number: int, expected: int | None = None) -> None:
    """Remove a former content for good, for the file's owner and managers; its owner gets the room back.

    Raises Conflict for the present content and for the newest, whose number would be given again.
    """
    file = _held(actor, file_id, least=Level.MANAGER)
    version = _version_of(file, number, expected)
    if number == file.number:
        raise Conflict("This is the present content of the file. Move the file to the trash instead.", code="current")
    if number == newest_number(file.id):
        raise Conflict("The newest version stays until there is a newer one.", code="newest")
    remove_versions(file.owner_id, [version.id])
    record(actor, "file.version_deleted", target_of(file), {"version": (number, None), "label": (version.label, None)})


def see_version(actor: Actor, file_id: UUID, number: int, least: Level) -> VersionView:
    """One version, for somebody who has this level on the file. Raises Missing, Refused."""
    _row_id(actor, file_id, least)
    return show_version(actor, file_id, number)


def _row_id(actor: Actor, file_id: UUID, least: Level = Level.VIEWER) -> int:
    permission = "files.read" if least == Level.VIEWER else "files.write"
    require(actor, permission)
    row: Any = read_row(live_spots([file_id]))
    if row is None:
        refuse_missing("file")
    _prove(actor, row.owner_id, row.path, row.id, permission, least)
    return int(row.id)


def _held(actor: Actor, file_id: UUID, expected: int | None = None, least: Level = Level.EDITOR) -> File:
    """The living file under the lock of its owner's tree, for who may change it."""
    require(actor, "files.write")
    lock_tree(owner_of(File, file_id, actor))
    row = db.session.execute(live_file_at(file_id)).first()
    if row is None:
        refuse_missing("file")
    file: File = row[0]
    _prove(actor, file.owner_id, row.path, file.id, "files.write", least)
    check_version(file.version, expected)
    return file


def _prove(actor: Actor, owner_id: int, path: str | None, row_id: int, permission: str, least: Level) -> None:
    found = reach(actor, owner_id, path, row_id)
    prove(found, permission, "file")
    if found.level < least:
        raise Refused("Only its owner and managers delete versions.", code="level")


def _version_of(file: File, number: int, expected: int | None) -> FileVersion:
    version: FileVersion | None = db.session.scalar(any_one_version(file.id, number).with_for_update())
    if version is None:
        raise _unknown()
    check_version(version.version, expected)
    return version


def _refuse_bad(row: Any, actor: Actor) -> None:
    refuse_unsafe(row.scanned_at, row.infected_with, own=row.owner_id == actor.id)
    if row.damaged_at is not None:
        raise Conflict("The stored bytes of this version are damaged.", code="damaged")


def _unknown() -> Missing:
    return Missing("There is no such version of this file.")


def _view(row: Any) -> VersionView:
    return VersionView(number=row.number, size=row.size, sha256=row.sha256, mime=row.mime, author=row.author,
                       created_at=row.created_at, label=row.label, current=row.current,
                       damaged=row.damaged_at is not None, infected=row.infected_with is not None,
                       version=row.version)  # fmt: skip
