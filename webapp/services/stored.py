"""Objects of the store as they were uploaded: read through their keys and marks, put there with them.

Nobody else knows how bytes lie. What turns out bad on the way is noted (file.damaged) and not given out.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from io import BufferedReader
from itertools import chain
from typing import Any, BinaryIO

import structlog
from sqlalchemy.dialects import postgresql, sqlite

from webapp.config import current_settings
from webapp.db import db, read_row, release_connection, transactional
from webapp.errors import DamagedContent, TooLarge, Unavailable
from webapp.infra.ciphers import Damaged, UnknownKey
from webapp.infra.clock import now
from webapp.infra.crypto import in_row
from webapp.infra.drafts import Lying, disk_errors, is_sealed
from webapp.infra.segments import Tampered, checked, sealed_size, unsealed
from webapp.infra.storage import CHUNK, LocalDraft, Reading, store
from webapp.models.stored import StoredObject, any_lying, lying_forgotten
from webapp.services.damages import note_damage

log = structlog.get_logger("webapp.stored")
Part = Callable[[int, int | None], Iterator[bytes]]
MOST_AT_ONCE = 256 * 1024**2  # plain bytes of sealed content that are held in memory for another program


def read_blob(key: str, start: int = 0, length: int | None = None, *, quiet: bool = False) -> Iterator[bytes]:
    """`length` bytes of a blob or a preview from `start` (all by default), as they were uploaded, in pieces.

    The one way to stored content: nobody else knows how the bytes lie in the store. Call it where there is an
    application context; its pieces may be taken later. Raises Unavailable, and DamagedContent instead of a bad piece,
    which is noted for its files unless `quiet`.
    """
    return _part_of(key, quiet=quiet)(start, length)


def open_blob(key: str, size: int) -> BufferedReader:
    """The same as a file to read and seek in, for libraries that want one; a chunk of 256 KiB is read at a time."""
    return BufferedReader(Reading(_part_of(key, quiet=False), size), CHUNK)


@contextmanager
def handed_over(key: str, size: int) -> Iterator[BinaryIO]:
    """The same as a file of the system's, for another program. Sealed content is in memory only, never on a disk.

    Raises TooLarge for what does not fit there.
    """
    path = None if is_sealed(key) else store().path(key)
    if path is not None:
        with disk_errors(), path.open("rb") as file:
            yield file
        return
    if size > MOST_AT_ONCE:
        raise TooLarge("This is too large to be worked on.")
    with os.fdopen(os.memfd_create("content", os.MFD_CLOEXEC), "w+b") as file:
        for piece in read_blob(key):
            file.write(piece)
        file.seek(0)
        yield file


def _part_of(key: str, *, quiet: bool) -> Part:
    lying = _find_lying(key) if is_sealed(key) or current_settings().verify_downloads else None
    if lying is None:
        return lambda start, length: store().read(key, start, length)
    context = copy_context()

    def part(start: int, length: int | None) -> Iterator[bytes]:
        start = min(start, lying.size)
        length = lying.size - start if length is None else min(length, lying.size - start)
        pieces = _noted(_plain(lying, start, length), key, None if quiet else context)
        return chain([next(pieces, b"")], pieces)  # so that a bad first piece is an answer of its own

    return part


def _find_lying(key: str) -> Lying | None:
    try:
        row = read_row(any_lying(key))
    except UnknownKey as error:
        log.error("content_key_lost", key=key, error=str(error))
        raise Unavailable("The key of this content is not among DATA_KEYS. Tell your administrator.") from error
    except Damaged as error:
        raise DamagedContent("The key of this content was changed or moved.") from error
    if row is None and is_sealed(key):
        raise DamagedContent("The key of this content is lost.")
    return None if row is None else Lying(row.key, row.size, row.data_key, row.marks)


def _plain(lying: Lying, start: int, length: int) -> Iterator[bytes]:
    key, size, data_key, marks = lying
    if not length and size:
        return iter(())

    def read(at: int, most: int, piece: int) -> Iterator[bytes]:
        return store().read(key, at, most, piece)

    if is_sealed(key):
        return unsealed(read, data_key, key.rsplit("/", 1)[-1], size, start, length)
    return checked(read, data_key, marks or b"", size, start, length)


def _noted(pieces: Iterator[bytes], key: str, context: Context | None) -> Iterator[bytes]:
    try:
        yield from pieces
    except Tampered as error:
        log.error("content_damaged", key=key, segment=error.args[0])
        if context is not None:
            context.run(_note, key)
        raise DamagedContent(
            "The stored bytes of this file are damaged. Upload it again or ask for a backup."
        ) from error


def _note(key: str) -> None:
    """Whoever takes the pieces may have no session that somebody ends."""
    within = db.session().info.get("writing")
    try:
        note_damage(key)
    finally:
        if not within:
            release_connection()


def is_there(key: str, size: int) -> bool:
    """Whether as many bytes lie there as so many plain ones take."""
    return store().size(key) == (sealed_size(size) if is_sealed(key) else size)


def keep_draft(draft: LocalDraft, *, replace: bool = False) -> str:
    """Put it into its place and note how it lies; returns its key. Must run inside a transaction."""
    key = store().keep(draft, replace=replace)
    _note_lying(draft.lying)
    if draft.resumed:
        db.session.execute(lying_forgotten(draft.place))
    return key


def _note_lying(lying: Lying) -> None:
    kind: Any = sqlite.insert if db.engine.dialect.name == "sqlite" else postgresql.insert
    row = kind(StoredObject).values(key=lying.key, size=lying.size, data_key=in_row(lying.data_key, lying.key),
                                    marks=lying.marks, created_at=now())  # fmt: skip
    fresh = {name: row.excluded[name] for name in ("size", "data_key", "marks", "created_at")}
    db.session.execute(row.on_conflict_do_update(index_elements=["key"], set_=fresh))


@transactional
def hold_draft(draft: LocalDraft) -> str:
    """Let a draft wait to be written on, and return the place under which reopen_draft finds it."""
    draft.suspend()
    _note_lying(Lying(draft.place, draft.size, draft.data_key, None))
    return draft.place


def reopen_draft(place: str) -> LocalDraft:
    """A draft that waits. Suspend it again, or adopt it, or drop it. Its `size` is what arrived so far.

    Raises Unavailable when it is gone, DamagedContent when what it holds cannot be read.
    """
    lying = _find_lying(place)
    if lying is None:
        raise Unavailable("What was uploaded so far is gone.")
    return store().reopen(place, lying.data_key)


@transactional
def drop_draft(place: str) -> None:
    """Remove a draft that waits, if it is there."""
    db.session.execute(lying_forgotten(place))
    for name in (place, f"{place}.rest"):
        store().delete(name)
