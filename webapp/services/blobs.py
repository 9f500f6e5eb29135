"""Bytes behind file versions: stored once, counted, swept when nothing names them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import structlog
from sqlalchemy import delete, or_, update
from sqlalchemy.dialects import postgresql, sqlite

from webapp.db import after_rollback, db, read_rows, transactional
from webapp.errors import Unavailable
from webapp.infra.clock import now
from webapp.infra.drafts import DRAFTS
from webapp.infra.ids import next_id
from webapp.infra.locks import Held, locked
from webapp.infra.storage import LocalDraft, store
from webapp.models.files import Blob, Preview
from webapp.models.record import any_state
from webapp.models.stored import StoredObject, lying_forgotten
from webapp.services.stored import drop_draft as drop_draft
from webapp.services.stored import hold_draft as hold_draft
from webapp.services.stored import is_there, keep_draft
from webapp.services.stored import open_blob as open_blob
from webapp.services.stored import read_blob as read_blob
from webapp.services.stored import reopen_draft as reopen_draft

log = structlog.get_logger("webapp.blobs")
YOUNG = 3600.0  # seconds: younger bytes may belong to a transaction that has not committed yet


def adopt_draft(draft: LocalDraft) -> int:
    """Make the draft a blob with one more reference and return the blob's id. Must run inside a transaction.

    The row is locked first and the bytes are moved into place under that lock, so a sweep never takes what is being
    adopted; the row commits only after the bytes are on the disk. A damaged blob is healed by the fresh bytes.
    """
    draft.sync()
    key = draft.key
    row = _insert()(Blob).values(id=next_id(), sha256=draft.sha256(), size=draft.size, storage_key=key, refcount=1,
                                 created_at=now(), facts={})  # fmt: skip
    adopted = row.on_conflict_do_update(index_elements=["sha256"], set_={"refcount": Blob.refcount + 1})
    columns = (Blob.id, Blob.size, Blob.storage_key, Blob.damaged_at)
    blob = db.session.execute(adopted.returning(*columns)).one()
    if blob.storage_key != key and blob.damaged_at is None and is_there(blob.storage_key, blob.size):
        _reuse(blob.storage_key, draft)
    else:
        _bring(key, draft, blob)
    return int(blob.id)


def _reuse(key: str, draft: LocalDraft) -> None:
    """The content is there already, lying otherwise than the draft."""
    store().touch(key)
    draft.discard()
    db.session.execute(lying_forgotten(draft.place))


def _bring(key: str, draft: LocalDraft, blob: Any) -> None:
    """Put the draft where the blob is to lie; what is wrong elsewhere is left to the sweep."""
    if store().size(key) is None:
        after_rollback(lambda: _sweep_unless_busy(key, young=-1))
    keep_draft(draft, replace=blob.damaged_at is not None)
    if blob.damaged_at or blob.storage_key != key:
        db.session.execute(update(Blob).where(Blob.id == blob.id).values(damaged_at=None, storage_key=key))


def name_again(blob_id: int) -> None:
    """Count one more reference to a blob that a version names already. Must run under the lock of that file's tree."""
    db.session.execute(update(Blob).where(Blob.id == blob_id).values(refcount=Blob.refcount + 1))


def release_blobs(named: Mapping[int, int]) -> None:
    """Take references off blobs, {id: how many}, in the transaction that removes the versions which named them.

    Bytes that nothing names any more stay until the sweep, which takes them under the same lock as uploads do.
    """
    for blob_id, count in sorted(named.items()):  # in one order, so that two purges never wait for each other
        db.session.execute(update(Blob).where(Blob.id == blob_id).values(refcount=Blob.refcount - count))


def sweep_blobs(young: float = YOUNG) -> int:
    """Remove bytes that nothing names: drafts of uploads that died, blobs without a version. Returns how many.

    Each is removed under its row's lock and only when older than `young` seconds. One sweep at a time: raises Locked.
    """
    with locked("sweep", ttl=60, wait=0) as held:
        return _sweep(young, held)


def _sweep(young: float, held: Held) -> int:
    count = 0
    for keys in batched(store().keys_older_than(young), 500):
        held.keep()
        named = named_among(keys)
        for key in keys:
            if key.startswith(f"{DRAFTS}/"):
                if key.removesuffix(".rest") not in named:
                    store().delete(key)
                    count += 1
            elif key not in named:
                count += _sweep_unless_busy(key, young)
    log.info("swept", removed=count)
    return count


def batched(keys: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lists of at most `size` keys (itertools.batched comes with Python 3.12)."""
    source = iter(keys)
    while batch := list(islice(source, size)):
        yield batch


def named_among(keys: Sequence[str]) -> set[str]:
    """Keys that a blob, a preview or a waiting draft has."""
    blobs = read_rows(any_state(Blob, Blob.storage_key).where(Blob.storage_key.in_(keys), Blob.refcount > 0))
    previews = read_rows(any_state(Preview, Preview.storage_key).where(Preview.storage_key.in_(keys)))
    drafts = [key.removesuffix(".rest") for key in keys if key.startswith(f"{DRAFTS}/")]
    waiting = read_rows(any_state(StoredObject, StoredObject.key).where(StoredObject.key.in_(drafts)))
    return {row[0] for row in (*blobs, *previews, *waiting)}


def sweep_key(key: str) -> None:
    """Remove what lies under a key that was just given up, unless somebody has it."""
    _sweep_unless_busy(key, young=-1)


def _sweep_unless_busy(key: str, young: float) -> int:
    try:
        return _sweep_key(key, young)
    except Unavailable:  # somebody holds the row, so somebody wants the bytes
        return 0


@transactional
def _sweep_key(key: str, young: float) -> int:
    """Remove one key. Where no row names it, one is made to be locked: an upload of the same bytes then waits."""
    digest = key.rsplit("/", 1)[-1]
    row = _insert()(Blob).values(
        id=next_id(), sha256=digest, size=0, storage_key=key, refcount=0, created_at=now(), facts={}
    )
    db.session.execute(row.on_conflict_do_nothing(index_elements=["sha256"]))
    mine = or_(Blob.sha256 == digest, Blob.storage_key == key)
    blobs = db.session.scalars(any_state(Blob).where(mine).order_by(Blob.id).with_for_update()).all()
    lying = [blob for blob in blobs if blob.storage_key == key]
    if not blobs or any(blob.refcount > 0 for blob in lying):  # another sweep was first, or somebody needs it
        return 0
    for blob in lying:
        db.session.execute(delete(Preview).where(Preview.blob_id == blob.id))
        db.session.execute(delete(Blob).where(Blob.id == blob.id))
    if named_among([key]) or not store().older_than(key, young):  # taken for a preview since we looked
        return 0
    db.session.execute(lying_forgotten(key))
    store().delete(key)
    return 1


def _insert() -> Callable[[type[Blob]], Any]:
    """The dialect's own insert: only it knows ON CONFLICT."""
    return sqlite.insert if db.engine.dialect.name == "sqlite" else postgresql.insert
