"""The nightly check of stored bytes: a slice of the store is read again, what was checked longest ago first."""

import errno
from datetime import datetime
from time import monotonic
from typing import Protocol
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import func

from webapp.config import current_settings
from webapp.db import db, read_rows, transactional
from webapp.errors import Unavailable
from webapp.infra.locks import Held, locked
from webapp.infra.storage import store
from webapp.models.files import Blob, any_locked_blob
from webapp.models.record import any_state
from webapp.policies import system_actor
from webapp.services.damages import mark_damaged
from webapp.services.events import Target, queue_jobs, record
from webapp.services.inspections import is_whole, mark_whole

log = structlog.get_logger("webapp.scrubs")
BATCH = 10_000  # blobs chosen at once
LONGEST = 1200.0  # seconds of one night's check: it never outlives its message at the broker
CHECKED = func.coalesce(Blob.damaged_at, Blob.verified_at)


class Work(Protocol):
    """The running job, as the jobs' side hands it over."""

    def progress(self, percent: float) -> None: ...


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What the store is to hold under a key. `size` is bytes."""

    id: int
    sha256: str
    size: int
    storage_key: str
    damaged_at: datetime | None


@transactional
def order_scrub() -> UUID:
    """Have a job check a slice now; returns it. Raises Conflict while one is owed."""
    actor, target = system_actor(), Target("blobs", None, "All stored files")
    record(actor, "storage.scrub_ordered", target)
    return queue_jobs(actor, ["upkeep.scrub_blobs"], target, unique_key="storage.scrub")[0]


def scrub_blobs(job: Work) -> dict[str, int]:
    """Read SCRUB_BYTES of the store again, mark what is not what was uploaded, clear the mark of what is whole again.

    Progress is kept blob by blob, so a check that is stopped goes on where it was. Raises Unavailable when the store
    itself is away: then nothing is marked. One at a time, also after one was taken for dead: raises Locked, Conflict.
    """
    with locked("scrub", ttl=60, wait=0) as held:
        return _scrub(job, held)


def _scrub(job: Work, held: Held) -> dict[str, int]:
    budget, deadline = current_settings().scrub_bytes, monotonic() + LONGEST
    done = {"contents": 0, "bytes": 0, "damaged": 0}
    for blob in _longest_unchecked():
        if done["bytes"] >= budget or monotonic() >= deadline:
            break
        held.keep()
        whole = _is_whole(blob, _Share(job, held, done["bytes"], blob.size, budget))
        for name, more in (("contents", 1), ("bytes", blob.size), ("damaged", not whole)):
            done[name] += more
        _mark(blob, whole, held)
        job.progress(done["bytes"] * 100 / budget)
    log.info("scrubbed", **done)
    return done


class _Share:
    """Turns the percentage of one blob into that of the night's slice, and keeps the lock while a large one is read."""

    def __init__(self, job: Work, held: Held, before: int, size: int, budget: int) -> None:
        self.job, self.held, self.before, self.size, self.budget = job, held, before, size, budget

    def progress(self, percent: float) -> None:
        self.held.keep()
        self.job.progress(min(99, (self.before * 100 + self.size * percent) / self.budget))


def _longest_unchecked() -> list[Stored]:
    columns = (Blob.id, Blob.sha256, Blob.size, Blob.storage_key, Blob.damaged_at)
    oldest = any_state(Blob, *columns).where(Blob.refcount > 0).order_by(CHECKED.is_not(None), CHECKED, Blob.id)
    return [Stored(**row._mapping) for row in read_rows(oldest.limit(BATCH))]


def _is_whole(blob: Stored, job: Work) -> bool:
    store().check()
    try:
        return is_whole(blob, job)
    except (OSError, Unavailable) as error:
        cause = error.__cause__ if isinstance(error, Unavailable) else error
        if isinstance(cause, OSError) and cause.errno in {errno.EIO, errno.ENOENT}:  # the disk gives these bytes up
            return False
        raise Unavailable("The file store does not answer.", retry_after=60) from error


@transactional
def _mark(blob: Stored, whole: bool, held: Held) -> None:
    """Write down what was found, unless another check began meanwhile: its finding is newer."""
    held.guard()
    if whole:
        mark_whole(blob.id)
    else:
        _mark_damaged(blob)


def _mark_damaged(stored: Stored) -> None:
    blob = db.session.scalar(any_locked_blob(stored.id))
    if blob is None or blob.storage_key != stored.storage_key or (blob.damaged_at is None and stored.damaged_at):
        return  # gone, moved, or healed by an upload of the same bytes while it was read
    mark_damaged(blob)
