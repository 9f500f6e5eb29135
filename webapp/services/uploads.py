"""Uploads that come in parts: begun, written on after any cut, made a file at the end, swept when nobody comes back.

The bytes on the disk say how far an upload is: they are synced before anybody hears of them.
"""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import msgspec
import structlog
from pydantic import ConfigDict, Field
from sqlalchemy import delete, insert, update
from uuid_utils.compat import uuid7

from webapp.config import current_settings
from webapp.db import db, read_row, read_rows, transactional
from webapp.errors import Conflict, Gone, HoldfastError, Locked, TooLarge
from webapp.infra.asides import Aside
from webapp.infra.clock import now
from webapp.infra.ids import next_id
from webapp.infra.locks import Held, locked
from webapp.infra.storage import LocalDraft, store
from webapp.models.folders import MAX_DEPTH, Folder
from webapp.models.uploads import Upload, upload_of, uploads_open, uploads_over
from webapp.policies import Actor, require
from webapp.services.access import owner_of, refuse_missing
from webapp.services.files import Conflicts, NewFile, create_file, refuse_early
from webapp.services.folders import NAME, find_parent
from webapp.services.inputs import Input
from webapp.services.names import check_name
from webapp.services.paths import follow, make_path, refuse_files_on
from webapp.services.quotas import check_room
from webapp.services.stored import drop_draft, hold_draft, reopen_draft
from webapp.services.subtrees import refuse_outside, refuse_top

log = structlog.get_logger("webapp.uploads")
LIFE = timedelta(days=1)  # without a byte
MOST = 1000  # uploads that a person has open at once
PATIENCE = 1.0  # seconds: the holder may be the other end of a line that broke
BATCH = 500


class NewUpload(Input):
    """What an upload will become: a file of this name in `path` below the folder. Other facts are passed over."""

    model_config = ConfigDict(extra="ignore", str_strip_whitespace=False)
    filename: NAME
    folder_id: UUID | None = None
    path: Annotated[tuple[NAME, ...], Field(max_length=MAX_DEPTH)] = ()
    conflict: Conflicts = "refuse"


class UploadView(msgspec.Struct, frozen=True, kw_only=True):
    """An upload: `offset` of `length` bytes are stored; `file_id` is the file, once it is whole."""

    id: UUID
    name: str
    folder_id: UUID | None
    path: list[str]
    length: int
    offset: int
    file_id: UUID | None
    expires_at: datetime
    metadata: str


class Checksum(NamedTuple):
    """What the bytes of one request have to add up to."""

    algorithm: str
    digest: bytes


class ChecksumMismatch(HoldfastError):
    """The bytes are not those that were sent (tus 1.0.0, checksum)."""

    status, code, title = 460, "checksum_mismatch", "Checksum mismatch"


@transactional
def create_upload(actor: Actor, wish: NewUpload, length: int, told: str) -> UploadView:
    """Begin one. Refuses what would be refused at the end: name, folder, taken name, quota (other open uploads of the
    person count as if they were whole already).
    """
    require(actor, "files.write")
    for name in (*wish.path, wish.filename):
        check_name(name, "filename")
    if length > current_settings().max_upload_size:
        raise TooLarge("This file is larger than the vault takes.")
    waiting = db.session.execute(uploads_open(actor.id, now())).one()
    if waiting.uploads >= MOST:
        raise Conflict("Too many uploads are unfinished. Finish or cancel some first.", code="too_many_uploads")
    _check_goal(actor, wish, length + waiting.length)
    with store().draft() as draft:
        place = hold_draft(draft)
    row: dict[str, Any] = {
        "id": next_id(), "uuid": uuid7(), "user_id": actor.id, "name": wish.filename, "folder_uuid": wish.folder_id,
        "path": list(wish.path), "conflict": wish.conflict, "told": told, "length": length, "offset": 0,
        "place": place, "created_at": now(), "expires_at": now() + LIFE,
    }  # fmt: skip
    db.session.execute(insert(Upload).values(row))
    return _view(db.session.execute(upload_of(actor.id, row["uuid"])).one())


def _check_goal(actor: Actor, wish: NewUpload, size: int) -> None:
    start = find_parent(actor, wish.folder_id, "folder_id")
    owner_id = start.owner_id if start else actor.id
    check_room(owner_id, size)
    folder, done = follow(owner_id, start, wish.path)
    refuse_files_on(owner_id, folder, wish.path[done:])
    if done == len(wish.path):
        refuse_early(owner_id, folder.id if folder else None, wish.filename, wish.conflict)


def show_upload(actor: Actor, upload_id: UUID) -> UploadView:
    """As it was when its last bytes were acknowledged. Raises Missing, Gone."""
    return _view(_find(actor, upload_id))


def measure_upload(actor: Actor, upload_id: UUID) -> UploadView:
    """As it is on the disk, whatever died meanwhile; one that has all its bytes becomes its file. Raises Locked."""
    with _held(actor, upload_id) as held:
        upload = _find(actor, upload_id)
        return _view(upload) if upload.file_uuid else _go_on(actor, upload, held, _measured(_reopen(upload)))


def _measured(draft: LocalDraft) -> int:
    draft.suspend()
    return draft.size


def write_upload(
    actor: Actor,
    upload_id: UUID,
    offset: int,
    size: int | None,
    pieces: Iterator[bytes],
    checksum: Checksum | None = None,
) -> UploadView:
    """Append `pieces`, of `size` bytes together where that is known; whole, it becomes its file. What arrived before a
    cut stays, unless it was to be checked.

    Raises Conflict for another offset than the present one, TooLarge beyond the length or over quota, Locked while
    somebody else writes, ChecksumMismatch, DiskFull, Gone, Missing, and what create_file raises.
    """
    with _held(actor, upload_id) as held:
        upload = _find(actor, upload_id)
        if upload.file_uuid and offset + (size or 0) == upload.length:  # the answer got lost
            return _view(upload)
        if size is not None and offset + size > upload.length:
            raise _too_long(upload.length)
        if upload.file_uuid:
            raise _elsewhere(upload.length)
        draft, whole = _reopen(upload), False
        try:
            if draft.size != offset:
                raise _elsewhere(draft.size)
            check_room(owner_of(Folder, upload.folder_uuid, actor), upload.length)
            with ExitStack() as stack:
                for piece in pieces if checksum is None else _proven(stack, pieces, checksum, held):
                    if draft.size + len(piece) > upload.length:
                        raise _too_long(upload.length)
                    held.keep()
                    draft.write(piece)
            whole = draft.size == upload.length
        finally:
            if not whole:
                draft.suspend()
            _note(upload.id, draft.size)
        return _finish(actor, upload, held, draft) if whole else _waiting(upload, draft.size)


def _proven(stack: ExitStack, pieces: Iterator[bytes], checksum: Checksum, held: Held) -> Iterator[bytes]:
    """The pieces once they are all there and right."""
    digest = hashlib.new(checksum.algorithm, usedforsecurity=False)
    aside = stack.enter_context(Aside(store().drafts))
    for piece in pieces:
        digest.update(piece)
        aside.write(piece)
        held.keep()
    if digest.digest() != checksum.digest:
        raise ChecksumMismatch("These bytes are not those that were sent. Send them again.")
    return aside.read()


def _go_on(actor: Actor, upload: Any, held: Held, size: int) -> UploadView:
    """What it is by now: its file, when all is there."""
    whole = size == upload.length
    return _finish(actor, upload, held, reopen_draft(upload.place)) if whole else _waiting(upload, size)


def _waiting(upload: Any, size: int) -> UploadView:
    return msgspec.structs.replace(_view(upload), offset=size, expires_at=now() + LIFE)


def _finish(actor: Actor, upload: Any, held: Held, draft: LocalDraft) -> UploadView:
    """Its file. One that came in parts is read once more for its digest: here, not under the locks of the tree."""
    draft.sync()
    check_room(owner_of(Folder, upload.folder_uuid, actor), upload.length)
    return _become_file(actor, upload, draft, held)


@transactional
def _become_file(actor: Actor, upload: Any, draft: LocalDraft, held: Held) -> UploadView:
    held.guard()
    folder_id = make_path(actor, upload.folder_uuid, upload.path) if upload.path else upload.folder_uuid
    file = create_file(actor, NewFile(name=upload.name, folder_id=folder_id, conflict=upload.conflict), draft)
    done = {"file_uuid": file.id, "offset": upload.length, "expires_at": now() + LIFE}
    db.session.execute(update(Upload).where(Upload.id == upload.id).values(done))
    return _view(db.session.execute(upload_of(actor.id, upload.uuid)).one())


def delete_upload(actor: Actor, upload_id: UUID) -> None:
    """Cancel one, or forget one that has become a file; the file stays. Raises Missing, Locked."""
    with _held(actor, upload_id):
        upload = _find(actor, upload_id)
        _forget(upload.id)
        drop_draft(upload.place)


def sweep_uploads() -> int:
    """Remove those whose time is over, with their bytes. Somebody who is just writing keeps theirs."""
    count = 0
    while rows := read_rows(uploads_over(now(), BATCH)):
        removed = sum(_sweep_one(row) for row in rows)
        count += removed
        if removed < len(rows):
            break
    return count


def _sweep_one(row: Any) -> bool:
    try:
        with locked(f"upload:{row.uuid}", wait=0):
            _forget(row.id)
            drop_draft(row.place)
    except Locked:
        return False
    return True


@transactional
def _forget(row_id: int) -> None:
    db.session.execute(delete(Upload).where(Upload.id == row_id))


@transactional
def _note(row_id: int, size: int) -> None:
    values = {"offset": size, "expires_at": now() + LIFE}
    db.session.execute(update(Upload).where(Upload.id == row_id).values(values))


def _held(actor: Actor, upload_id: UUID) -> Any:
    """Its lock, for who may have it."""
    _find(actor, upload_id)
    return locked(f"upload:{upload_id}", ttl=60, wait=PATIENCE)


def _find(actor: Actor, upload_id: UUID) -> Any:
    require(actor, "files.write")
    row = read_row(upload_of(actor.id, upload_id))
    if row is None:
        refuse_missing("upload")
    if row.folder_uuid is None:
        refuse_top(actor)
    refuse_outside(actor, folder_id=row.folder_uuid)
    if row.expires_at <= now():
        raise Gone("This upload was left alone for too long. Begin it again.", code="upload_expired")
    return row


def _reopen(upload: Any) -> LocalDraft:
    if store().size(upload.place) is None:  # a commit failed after its bytes had been moved
        _forget(upload.id)
        raise Gone("What was uploaded so far is gone. Begin it again.", code="upload_lost")
    return reopen_draft(upload.place)


def _elsewhere(size: int) -> Conflict:
    error = Conflict(f"This upload goes on at byte {size}.", code="offset")
    error.headers = {"Upload-Offset": str(size)}  # type: ignore[attr-defined]
    return error


def _too_long(length: int) -> TooLarge:
    return TooLarge(f"This upload was announced with {length} bytes.", code="beyond_length")


def _view(row: Any) -> UploadView:
    return UploadView(id=row.uuid, name=row.name, folder_id=row.folder_uuid, path=list(row.path), length=row.length,
                      offset=row.offset, file_id=row.file_uuid, expires_at=row.expires_at,
                      metadata=row.told)  # fmt: skip
