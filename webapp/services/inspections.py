"""What the machine finds out about uploaded content: its type, whether its bytes are whole, what it looks like.

Called by jobs. Each reads and computes outside any transaction, then writes once; a second run changes nothing.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol
from uuid import UUID

import msgspec
from sqlalchemy import update

from webapp.db import db, read_row, transaction, transactional
from webapp.errors import DamagedContent
from webapp.infra.clock import now
from webapp.infra.sniffing import sniff
from webapp.models.files import Blob, any_locked_blob, any_version, found_mime
from webapp.services.damages import mark_damaged
from webapp.services.jobs import Hopeless
from webapp.services.stored import is_there, read_blob

Found = dict[str, Any] | None  # what a job tells its owner
REPORT_EVERY = 16 * 1024**2  # bytes between two reports of progress


class Work(Protocol):
    """The running job, as the jobs' side hands it over."""

    @property
    def args(self) -> Mapping[str, Any]: ...
    def progress(self, percent: float) -> None: ...


class Progress(Protocol):
    """Whom to tell how far the reading is."""

    def progress(self, percent: float) -> None: ...


class Bytes(Protocol):
    """What the store is to hold under a key."""

    @property
    def sha256(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def storage_key(self) -> str: ...


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """One content of one file: the file's names, and the blob that holds the bytes. `size` is bytes."""

    uuid: UUID
    name: str
    owner_id: int
    mime: str
    blob_id: int
    sha256: str
    size: int
    storage_key: str


def find_content(job: Work) -> Content | None:
    """The version that the job is about, also of a trashed file; None when it is gone for good."""
    row = read_row(any_version(job.args["file_id"], job.args["number"]))
    return None if row is None else Content(**row._mapping)


def sniff_file(job: Work) -> Found:
    """Find the media type by the stored bytes and note it without touching the file's version; note facts, too."""
    content = find_content(job)
    if content is None:
        return None
    found = sniff(content.name, content.size, lambda start, length: read_bytes(content.storage_key, start, length))
    add_facts(content.blob_id, found.facts)
    if found.mime != content.mime:
        with transaction():  # apart from the blob's: uploads lock the two tables in the other order
            for statement in found_mime(job.args["file_id"], job.args["number"], found.mime):
                db.session.execute(statement)
    return {"mime": found.mime, **found.facts}


def verify_file(job: Work) -> Found:
    """Read all stored bytes again and compare size and digest with what was uploaded.

    Raises Hopeless, after the blob was marked and the event file.damaged recorded once.
    """
    content = find_content(job)
    if content is None:
        return None
    if is_whole(content, job):
        mark_whole(content.blob_id)
        return {"sha256": content.sha256, "size": content.size}
    _mark_damaged(content)
    raise Hopeless("The stored bytes of this file are not the ones that were uploaded. Upload it again.")


def read_bytes(key: str, start: int, length: int) -> bytes:
    """A few bytes of the store at once."""
    return b"".join(read_blob(key, start, length))


@transactional
def add_facts(blob_id: int, facts: Mapping[str, Any]) -> None:
    """Merge what was found into the blob's facts; a blob that is gone is nobody's loss."""
    blob = db.session.scalar(any_locked_blob(blob_id))
    if blob is not None and {**blob.facts, **facts} != blob.facts:
        blob.facts = {**blob.facts, **facts}


def is_whole(content: Bytes, job: Progress) -> bool:
    """Whether the stored bytes are those that were uploaded, by size and digest. Raises what the store raises."""
    if not is_there(content.storage_key, content.size):
        return False
    digest = hashlib.sha256()
    try:
        for chunk in _reported(read_blob(content.storage_key, quiet=True), content.size, job):
            digest.update(chunk)
    except DamagedContent:
        return False
    return digest.hexdigest() == content.sha256


def _reported(chunks: Iterator[bytes], size: int, job: Progress) -> Iterator[bytes]:
    done, told = 0, 0
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        if done - told >= REPORT_EVERY and done < size:
            told = done
            job.progress(done * 100 // size)


@transactional
def mark_whole(blob_id: int) -> None:
    """Note that the bytes are right as of now."""
    db.session.execute(update(Blob).where(Blob.id == blob_id).values(verified_at=now(), damaged_at=None))


@transactional
def _mark_damaged(content: Content) -> None:
    blob = db.session.scalar(any_locked_blob(content.blob_id))
    if blob is not None and blob.damaged_at is None and blob.storage_key == content.storage_key:
        mark_damaged(blob)
