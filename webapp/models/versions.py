"""Former contents of files: the selects that list, find and prune them. The table stands with the files."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, delete, func
from sqlalchemy.orm import aliased
from sqlalchemy.sql.dml import ReturningDelete

from webapp.models.files import Blob, File, FileVersion
from webapp.models.record import any_state
from webapp.models.users import User

_COLUMNS = (
    FileVersion.number, FileVersion.mime, FileVersion.created_at, FileVersion.label, FileVersion.version,
    Blob.size, Blob.sha256, Blob.damaged_at, Blob.infected_with, User.name.label("author"),
    (FileVersion.number == File.number).label("current"),
)  # fmt: skip
_CONTENT = (
    File.owner_id,
    Blob.scanned_at,
    Blob.infected_with,
    File.name, FileVersion.mime, FileVersion.created_at, Blob.id.label("blob_id"), Blob.sha256, Blob.size,
    Blob.storage_key, Blob.damaged_at,
)  # fmt: skip


def any_versions_of(file_id: int) -> Select[Any]:
    """What clients see of a file's versions, the newest first."""
    chosen = any_state(FileVersion, *_COLUMNS).join(File, File.id == FileVersion.file_id)
    chosen = chosen.join(Blob, Blob.id == FileVersion.blob_id).outerjoin(User, User.id == FileVersion.author_id)
    return chosen.where(FileVersion.file_id == file_id).order_by(FileVersion.number.desc())


def any_content_of(file_id: int, number: int) -> Select[Any]:
    """One content of a file: its name now, and the columns of its blob."""
    chosen = any_state(FileVersion, *_CONTENT).join(File, File.id == FileVersion.file_id)
    chosen = chosen.join(Blob, Blob.id == FileVersion.blob_id)
    return chosen.where(FileVersion.file_id == file_id, FileVersion.number == number)


def any_one_version(file_id: int, number: int) -> Select[FileVersion]:
    """One version's row."""
    return any_state(FileVersion).where(FileVersion.file_id == file_id, FileVersion.number == number)


def any_files_with_versions() -> Select[Any]:
    """(file_id, owner_id) of a batch of files that have more than one content, after the file `after`."""
    chosen = any_state(FileVersion, FileVersion.file_id, File.owner_id).join(File, File.id == FileVersion.file_id)
    chosen = chosen.where(FileVersion.file_id > bindparam("after")).group_by(FileVersion.file_id, File.owner_id)
    return chosen.having(func.count() > 1).order_by(FileVersion.file_id).limit(bindparam("rows"))


def any_prunable(file_ids: Collection[int], kept: int, before: datetime | None) -> Select[int]:
    """Ids of versions of these files that stay no longer: neither current nor newest nor named, and more than `kept`
    such are newer, or the next version came before `before`. `kept` 0 and `before` None set no limit.
    """
    newer = aliased(FileVersion)
    newest = func.max(FileVersion.number).over(partition_by=FileVersion.file_id)
    next_at = func.lead(FileVersion.created_at).over(partition_by=FileVersion.file_id, order_by=FileVersion.number)
    every = any_state(FileVersion, FileVersion.id, newest.label("newest"), next_at.label("next_at"))
    each = every.where(FileVersion.file_id.in_(list(file_ids))).subquery()
    above = any_state(newer, func.count()).where(
        newer.file_id == FileVersion.file_id, newer.number > FileVersion.number, newer.number != File.number,
        newer.label.is_(None),
    ).scalar_subquery()  # fmt: skip
    chosen = any_state(FileVersion, FileVersion.id).join(each, each.c.id == FileVersion.id)
    chosen = chosen.join(File, File.id == FileVersion.file_id).where(
        FileVersion.label.is_(None), FileVersion.number != File.number, FileVersion.number < each.c.newest
    )
    over = [above >= kept] if kept else []
    over += [each.c.next_at < before] if before is not None else []
    return chosen.where(over[0] | over[1] if len(over) > 1 else over[0])


def removed_versions(ids: Collection[int]) -> ReturningDelete[int, int, int]:
    """Remove these; answers with whose they were and which blobs they named."""
    gone = delete(FileVersion).where(FileVersion.id.in_(list(ids)))
    return gone.returning(FileVersion.file_id, FileVersion.blob_id, FileVersion.number)


def any_sizes_of(blob_ids: Collection[int]) -> Select[Any]:
    """(id, size) of these blobs."""
    return any_state(Blob, Blob.id, Blob.size).where(Blob.id.in_(list(blob_ids)))


def any_files_named(file_ids: Collection[int]) -> Select[Any]:
    """(id, uuid, name) of these files, trashed or not."""
    return any_state(File, File.id, File.uuid, File.name).where(File.id.in_(list(file_ids)))
