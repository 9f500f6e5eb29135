"""Removing trashed files for good: the versions go, their blobs lose a reference, the owner gets the room back.

One file, one transaction, under the lock of the owner's tree: a file is purged once, whoever else tries.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Protocol
from uuid import UUID

import msgspec
from pydantic import Field
from sqlalchemy import Select, delete, or_

from webapp.db import db, read_rows, transactional
from webapp.errors import Missing, Unavailable
from webapp.infra.clock import now
from webapp.models.files import Blob, File, FileVersion, deleted_file
from webapp.models.record import any_state
from webapp.models.trash import deleted_roots
from webapp.policies import Actor, require, system_actor
from webapp.services.blobs import release_blobs
from webapp.services.events import Target, queue_jobs, record
from webapp.services.folders import check_version
from webapp.services.inputs import Input
from webapp.services.placements import displace
from webapp.services.quotas import give_back, lock_tree
from webapp.services.removals import claim_folder, remove_folder
from webapp.services.settings import read_values

BATCH = 500
AT_ONCE = 100  # files and folders that go while the person waits; a job takes the rest


class Emptied(msgspec.Struct, frozen=True, kw_only=True):
    """What went at once, in files and bytes, those in folders included. `continues`: a job removes the rest."""

    files: int
    bytes: int
    continues: bool


class Removal(Input):
    """A person's word that a file shall go for good: its name, typed."""

    name: Annotated[str, Field(max_length=400)] = ""


class Emptying(Input):
    """A person's word that the trash shall be emptied: how many files and folders are in it, typed."""

    count: Annotated[int | None, Field(ge=0, le=10**9)] = None


class Work(Protocol):
    """The running job, as the jobs' side hands it over."""

    @property
    def args(self) -> Mapping[str, Any]: ...
    @property
    def request_id(self) -> str | None: ...
    def progress(self, percent: float) -> None: ...


@transactional
def purge_file(actor: Actor, file_id: UUID, expected: int | None = None) -> None:
    """Remove one of the actor's trashed files for good. Raises Missing for one that is not in the trash, Stale."""
    require(actor, "files.write")
    lock_tree(actor.id)
    file = _found(actor.id, file_id)
    check_version(file.version, expected)
    _purge(actor, file)


def empty_trash(actor: Actor) -> Emptied:
    """Remove for good all that is in the actor's trash now; beyond a hundred files a job goes on with it."""
    require(actor, "files.write")
    moment = now()
    rows = read_rows(_deleted_before(moment, actor.id).limit(AT_ONCE))
    sizes = [size for row in rows if (size := _purge_one(actor, actor.id, row.uuid, moment)) is not None]
    files, held, left = len(sizes), sum(sizes), len(sizes) < len(rows)
    for root in read_rows(deleted_roots(actor.id, moment, (0, 0), AT_ONCE)):
        gone = remove_folder(actor, actor.id, root.id, moment, AT_ONCE - files)
        files, held, left = files + gone.files, held + gone.bytes, left or not gone.whole
    more = _deleted_before(moment, actor.id).limit(1), deleted_roots(actor.id, moment, (0, 0), 1)
    continues = left or any(read_rows(statement) for statement in more)
    if continues:
        _queue_rest(actor, moment)
    return Emptied(files=files, bytes=held, continues=continues)


def empty_rest(job: Work) -> dict[str, int]:
    """The job that goes on emptying a trash, for the person who ordered it."""
    actor = replace(system_actor(job.request_id), id=job.args["owner_id"])
    return _purge_all(job, actor, datetime.fromisoformat(job.args["before"]), actor.id)


def purge_old(job: Work) -> dict[str, int]:
    """Remove for good what has lain in anybody's trash as long as the settings say; 0 keeps it for ever."""
    days = read_values().trash_retention_days
    if days == 0:
        return {"files": 0, "bytes": 0}
    return _purge_all(job, system_actor(job.request_id), now() - timedelta(days=days))


def purge_owner(job: Work, owner_id: int) -> dict[str, int]:
    """Remove for good all that lies in the trash of an account that is being erased."""
    return _purge_all(job, system_actor(job.request_id), now(), owner_id)


def _purge_all(job: Work, actor: Actor, moment: datetime, owner_id: int | None = None) -> dict[str, int]:
    count, size, after, batches = 0, 0, (0, 0), 0
    while rows := read_rows(_deleted_before(moment, owner_id, after)):
        for row in rows:
            gone = _purge_one(actor, row.owner_id, row.uuid, moment)
            count, size = count + (gone is not None), size + (gone or 0)
        after, batches = (rows[-1].owner_id, rows[-1].id), batches + 1
        job.progress(100 - 100 / (batches + 1))  # nobody counts the trash first: it nears the end ever slower
    count, size = _purge_folders(job, actor, moment, owner_id, count, size)
    return {"files": count, "bytes": size}


def _purge_folders(
    job: Work, actor: Actor, moment: datetime, owner_id: int | None, count: int, size: int
) -> tuple[int, int]:
    after = (0, 0)
    while roots := read_rows(deleted_roots(owner_id, moment, after, BATCH)):
        for root in roots:
            gone = remove_folder(actor, root.owner_id, root.id, moment)
            count, size = count + gone.files, size + gone.bytes
            job.progress(99)
        after = (roots[-1].owner_id, roots[-1].id)
    return count, size


def _purge_one(actor: Actor, owner_id: int, file_id: UUID, moment: datetime) -> int | None:
    """Bytes given back; None when it was restored or purged meanwhile, or when somebody holds the owner's tree."""
    try:
        return _purge_trashed(actor, owner_id, file_id, moment)
    except (Missing, Unavailable):
        return None


@transactional
def _purge_trashed(actor: Actor, owner_id: int, file_id: UUID, moment: datetime) -> int:
    lock_tree(owner_id)
    file = _found(owner_id, file_id)
    if file.deleted_at is None or file.deleted_at > moment:
        raise Missing
    return _purge(actor, file)


def purge_folder(actor: Actor, folder_id: UUID, expected: int | None = None) -> None:
    """Remove one of the actor's trashed folders for good, with what went there with it.

    It is out of the trash at once; beyond a hundred files a job removes what is inside. Raises Missing, Stale.
    """
    require(actor, "files.write")
    number = claim_folder(actor, folder_id, expected)
    if not remove_folder(actor, actor.id, number, now(), AT_ONCE).whole:
        _queue_rest(actor, now())


@transactional
def _queue_rest(actor: Actor, moment: datetime) -> None:
    target = Target("trash", None, "", actor.id, {"owner_id": actor.id, "before": moment.isoformat()})
    queue_jobs(actor, ["upkeep.empty_trash"], target)


def _purge(actor: Actor, file: File) -> int:
    versions = db.session.execute(_any_versions(file.id)).all()
    named: dict[int, int] = {}
    for version in versions:
        named[version.blob_id] = named.get(version.blob_id, 0) + 1
    size: int = sum(version.size for version in versions)
    target = Target("file", file.uuid, file.name, file.owner_id)
    displace(file)
    db.session.execute(delete(FileVersion).where(FileVersion.file_id == file.id))
    release_blobs(named)
    give_back(file.owner_id, size)
    db.session.delete(file)
    db.session.flush()
    record(actor, "file.purged", target, {"name": (file.name, None), "bytes": (size, None)})
    return size


def _found(owner_id: int, file_id: UUID) -> File:
    file = db.session.scalar(deleted_file(owner_id, file_id))
    if file is None:
        raise Missing("There is no such file in the trash.")
    return file


def _any_versions(file_id: int) -> Select[Any]:
    sizes = any_state(FileVersion, FileVersion.blob_id, Blob.size).join(Blob, Blob.id == FileVersion.blob_id)
    return sizes.where(FileVersion.file_id == file_id)


def _deleted_before(moment: datetime, owner_id: int | None, after: tuple[int, int] = (0, 0)) -> Select[Any]:
    old = any_state(File, File.id, File.owner_id, File.uuid).where(File.deleted_at <= moment)
    old = old.where(File.trashed_with.is_(None))
    if owner_id is not None:
        old = old.where(File.owner_id == owner_id)
    mark = or_(File.owner_id > after[0], (File.owner_id == after[0]) & (File.id > after[1]))
    return old.where(mark).order_by(File.owner_id, File.id).limit(BATCH)
