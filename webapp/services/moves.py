"""Everything stored, brought to where and how the settings say: into the store of STORAGE_URL, sealed or plain.

Both jobs work in pieces, remember nothing and may be killed anywhere: what still lies otherwise is what is left to do.
"""

import hashlib
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Any, Protocol
from uuid import UUID

import structlog
from sqlalchemy import update

from webapp.config import current_settings
from webapp.db import after_commit, db, read_rows, transactional
from webapp.errors import Conflict, DamagedContent, Unavailable
from webapp.infra.drafts import DRAFTS, LocalDraft, is_sealed
from webapp.infra.locks import Held, locked
from webapp.infra.storage import store
from webapp.infra.twostores import TwoStores
from webapp.models.files import Preview, any_locked_blob, any_lying_otherwise, any_previews_lying_otherwise
from webapp.policies import system_actor
from webapp.services.blobs import batched, named_among, sweep_key
from webapp.services.caches import PREVIEWS, empty_later
from webapp.services.events import Target, queue_jobs, record
from webapp.services.stored import keep_draft, read_blob

log = structlog.get_logger("webapp.moves")
MOVE, CONVERT = "storage.move", "storage.convert"
BATCH = 100
LONGEST = 1200.0  # seconds of one job: it never outlives its message at the broker; the next goes on


class Work(Protocol):
    """The running job, as the jobs' side hands it over."""

    def progress(self, percent: float) -> None: ...


@transactional
def order_move() -> UUID:
    """Have a job move everything from FORMER_STORAGE_URL to STORAGE_URL. Raises Conflict without one, or if owed."""
    if not isinstance(store(), TwoStores):
        raise Conflict("There is nothing to move from: set FORMER_STORAGE_URL.", code="no_former_store")
    return _order(MOVE)


@transactional
def order_conversion() -> UUID:
    """Have a job seal what is plain, or open what is sealed, as ENCRYPT_FILES says. Raises Conflict if owed."""
    return _order(CONVERT)


def _order(job: str) -> UUID:
    actor, target = system_actor(), Target("blobs", None, "All stored files")
    if job == MOVE:
        record(actor, "storage.move_ordered", target)
    else:
        record(actor, "storage.convert_ordered", target)
    return queue_jobs(actor, [job], target, unique_key=job)[0]


@transactional
def _go_on(job: str) -> None:
    queue_jobs(system_actor(), [job], Target("blobs", None, "All stored files"))


def move_stored(job: Work) -> dict[str, int]:
    """Move what lies in the former store, named by somebody, to the first. One at a time: raises Locked.

    An object is there whole before it goes here, so it can be read at any moment. `damaged` stay where they are.
    """
    stores, done = store(), {"moved": 0, "bytes": 0, "damaged": 0, "continues": 0}
    if not isinstance(stores, TwoStores):
        return done
    with locked("storage", ttl=60, wait=0) as held:
        deadline, seen = monotonic() + LONGEST, 0
        total = sum(1 for _ in stores.former.keys_older_than(-60))
        for keys in batched(stores.former.keys_older_than(-60), BATCH):
            for key in sorted(named_among([key for key in keys if not key.startswith(f"{DRAFTS}/")])):
                held.keep()
                size = _move(stores, key)
                done["damaged" if size is None else "moved"] += 1
                done["bytes"] += size or 0
            seen += len(keys)
            job.progress(min(99, seen * 100 / max(1, total)))
            if monotonic() >= deadline:
                done["continues"] = 1
                _go_on(MOVE)
                break
    log.info("moved", **done)
    return done


def _move(stores: TwoStores, key: str) -> int | None:
    """Bytes moved; None where they are not those of the key."""
    size = stores.former.size(key)
    if size is None:
        return 0
    if stores.first.size(key) != size:
        digest = hashlib.sha256()
        stores.first.receive(key, _hashed(stores.former.read(key), digest))
        if not is_sealed(key) and digest.hexdigest() != key.rsplit("/", 1)[-1]:
            stores.first.delete(key)
            return None
        if stores.first.size(key) != size:
            raise Unavailable("What was moved did not arrive whole.", retry_after=60)
    stores.former.delete(key)
    return size


def _hashed(pieces: Iterator[bytes], digest: Any) -> Iterator[bytes]:
    for piece in pieces:
        digest.update(piece)
        yield piece


def convert_stored(job: Work) -> dict[str, int]:
    """Store anew what does not lie as ENCRYPT_FILES says. One at a time: raises Locked. What cannot be read stays."""
    with locked("storage", ttl=60, wait=0) as held:
        done = _Conversion(job, held).run()
    log.info("converted", **done)
    return done


class _Conversion:
    """One run: what it has done so far."""

    def __init__(self, job: Work, held: Held) -> None:
        self.job, self.held, self.sealed = job, held, current_settings().encrypt_files
        self.deadline, self.done = monotonic() + LONGEST, {"converted": 0, "unreadable": 0, "continues": 0}

    def run(self) -> dict[str, int]:
        for row in self._rows():
            self.held.keep()
            self._convert(row)
            if monotonic() >= self.deadline:
                self.done["continues"] = 1
                _go_on(CONVERT)
                break
        return self.done

    def _rows(self) -> Iterator[Any]:
        """Blobs, then previews; those that failed are behind the place where the next batch begins."""
        after: int = 0
        while rows := read_rows(any_lying_otherwise(sealed=self.sealed, after=after).limit(BATCH)):
            yield from rows
            after = rows[-1].id
        at: Sequence[int] = (0, 0)
        while rows := read_rows(any_previews_lying_otherwise(sealed=self.sealed, after=at).limit(BATCH)):
            yield from rows
            at = (rows[-1].id, rows[-1].pixels)

    def _convert(self, row: Any) -> None:
        try:
            with store().draft() as draft:
                for piece in read_blob(row.storage_key, quiet=True):
                    draft.write(piece)
                draft.sync()
                if row.pixels is None and draft.sha256() != row.sha256:
                    raise DamagedContent
                self._put(row, draft)
        except (DamagedContent, Unavailable) as error:
            self.done["unreadable"] += 1
            log.warning("not_converted", key=row.storage_key, error=str(error))
            return
        self.done["converted"] += 1

    @transactional
    def _put(self, row: Any, draft: LocalDraft) -> None:
        """Under the blob's lock, unless it lies elsewhere by now; what is old goes once that is committed."""
        self.held.guard()
        blob = db.session.scalar(any_locked_blob(row.id))
        if blob is None or (row.pixels is None and blob.storage_key != row.storage_key):
            return
        key = keep_draft(draft, replace=True)
        if row.pixels is None:
            blob.storage_key = key
        else:
            mine = (Preview.blob_id == row.id, Preview.size == row.pixels, Preview.storage_key == row.storage_key)
            db.session.execute(update(Preview).where(*mine).values(storage_key=key))
            empty_later(PREVIEWS)
        after_commit(lambda: sweep_key(row.storage_key))
