"""Small pictures of content: made once for each content whatever files hold it, found through the file."""

from contextlib import ExitStack
from enum import IntEnum
from threading import BoundedSemaphore
from uuid import UUID

import msgspec
from sqlalchemy import bindparam, insert

from webapp.db import db, read_row, read_rows, transactional
from webapp.errors import Conflict, Missing, TooLarge, Unavailable
from webapp.infra.clock import now
from webapp.infra.drawing import PDF
from webapp.infra.rendering import DRAWABLE, SIZES, Picture, Unrenderable, render
from webapp.infra.sniffing import sniff
from webapp.infra.storage import LocalDraft, store
from webapp.models.files import Blob, File, FileVersion, Preview, any_locked_blob, any_previews_of
from webapp.models.record import live
from webapp.policies import Actor, require
from webapp.services import downloads
from webapp.services.caches import PREVIEWS, Address, cached, forget_now
from webapp.services.files import look_at
from webapp.services.inputs import Input
from webapp.services.inspections import Content, Found, Work, add_facts, find_content, read_bytes
from webapp.services.jobs import Hopeless
from webapp.services.scans import SCAN, refuse_unsafe
from webapp.services.stored import handed_over, keep_draft

_PREVIEW = (
    live(File, Preview.storage_key, Preview.mime, Preview.byte_size, *SCAN)
    .join(FileVersion, (FileVersion.file_id == File.id) & (FileVersion.number == File.number))
    .join(Blob, Blob.id == FileVersion.blob_id)
    .join(Preview, Preview.blob_id == FileVersion.blob_id)
    .where(File.owner_id == bindparam("owner_id"), File.uuid == bindparam("file_id"), Preview.size == bindparam("size"))
)


PAGE = 1400  # pixels of the longer side of a page
LARGEST_PDF = 256 * 1024**2  # bytes; a page is drawn while somebody waits
PATIENCE = 5.0  # seconds
_turns = BoundedSemaphore(2)  # pages drawn at once in this process: the cores are for everybody


class ThumbnailSize(IntEnum):
    """Pixels of the longer side."""

    SMALL, MEDIUM, LARGE = SIZES


class ThumbnailQuery(Input):
    """Which of the sizes."""

    size: ThumbnailSize = ThumbnailSize.MEDIUM


class PreviewView(msgspec.Struct, frozen=True, kw_only=True):
    """Where a preview lies in the store and what it is; `etag` is the sha-256 of its bytes, `size` their number."""

    key: str
    mime: str
    etag: str
    size: int

    def read(self) -> bytes:
        """The picture, some hundred kB at most. Raises Unavailable when the store does not answer."""
        return read_bytes(self.key, 0, self.size)


def find_preview(actor: Actor, file_id: UUID, size: int) -> PreviewView:
    """The preview of a file's current content. Raises Missing for a file that is not theirs, or that has none (yet);
    Conflict for an infected one, Locked for what others shared before it was scanned."""
    require(actor, "files.read")
    owner_id = actor.id
    found = _cached(owner_id, file_id, size) if actor.root is None else None
    if found is None:  # not their own, or none drawn yet
        owner_id = look_at(actor, file_id)[2]
        found = _cached(owner_id, file_id, size)
    if found is None:
        raise Missing("There is no preview of this file.")
    key, mime, length, scanned_at, infected_with = found
    refuse_unsafe(scanned_at, infected_with, own=owner_id == actor.id)
    return PreviewView(key=key, mime=mime, etag=key.rsplit("/", 1)[-1], size=length)


class PageView(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a PDF, drawn when it is read; the ETag is known before."""

    content: downloads.Content
    number: int

    @property
    def etag(self) -> str:
        return f"{self.content.sha256}-{self.number}"

    def draw(self) -> Picture:
        """The picture. Raises Missing for a page that is not there or cannot be drawn, Unavailable when others draw."""
        if not _turns.acquire(timeout=PATIENCE):
            raise Unavailable("Too many pages are being drawn. Try again in a moment.", retry_after=2)
        try:
            with handed_over(self.content.key, self.content.size) as file:
                return render(file, PDF, (PAGE,), self.number).pictures[0]
        except Unrenderable as error:
            raise Missing(str(error)) from error
        finally:
            _turns.release()


def find_page(actor: Actor, file_id: UUID, number: int) -> PageView:
    """A page of a PDF, from 1. Raises Missing, Conflict (no_pages) for what is none or too large, and as a download
    does for content that is damaged, infected or yet to be scanned."""
    content = downloads.open_content(actor, file_id)
    if content.mime != PDF or content.size > LARGEST_PDF:
        raise Conflict("There are no pages of this file to look at.", code="no_pages")
    return PageView(content=content, number=number)


def _cached(owner_id: int, file_id: UUID, size: int) -> Address | None:
    return cached(PREVIEWS, owner_id, f"{file_id}:{size}", lambda: _read_address(owner_id, file_id, size), file_id)


def _read_address(owner_id: int, file_id: UUID, size: int) -> Address | None:
    row = read_row(_PREVIEW, {"owner_id": owner_id, "file_id": file_id, "size": size})
    return None if row is None else (row.storage_key, row.mime, row.byte_size, row.scanned_at, row.infected_with)


def make_previews(job: Work) -> Found:
    """Draw the content in every size, unless somebody's same content was drawn before or its type has no picture.

    Raises Hopeless, in words for people, when this content cannot be drawn.
    """
    content = find_content(job)
    if content is None:
        return None
    try:
        return None if _has_all(content.blob_id) else _draw(job, content)
    finally:
        forget_now(content.owner_id, "file.previewed", content.uuid)


def _draw(job: Work, content: Content) -> Found:
    # The name's word does not count and the other job may not be through: look at the bytes.
    mime = sniff(content.name, content.size, lambda start, length: read_bytes(content.storage_key, start, length)).mime
    if mime not in DRAWABLE:
        return None
    job.progress(10)
    try:
        with handed_over(content.storage_key, content.size) as file:
            rendering = render(file, mime)
    except TooLarge as error:
        raise Hopeless("The file is too large for a preview.") from error
    except Unrenderable as error:
        add_facts(content.blob_id, {"unrenderable": error.fault})
        raise Hopeless(str(error)) from error
    job.progress(90)
    keep_pictures(content, rendering.pictures)
    add_facts(content.blob_id, rendering.facts)
    return rendering.facts


def _has_all(blob_id: int) -> bool:
    return {row.size for row in read_rows(any_previews_of(blob_id))} >= set(SIZES)


def keep_pictures(content: Content, pictures: tuple[Picture, ...]) -> None:
    """Store the pictures and their rows; those a twin job has stored meanwhile stay as they are."""
    with ExitStack() as stack:
        drafts = {picture: stack.enter_context(store().draft()) for picture in pictures}
        for picture, draft in drafts.items():
            draft.write(picture.data)
            draft.sync()  # the slow part, before the transaction
        _adopt_pictures(content.blob_id, drafts)


@transactional
def _adopt_pictures(blob_id: int, drafts: dict[Picture, LocalDraft]) -> None:
    if db.session.scalar(any_locked_blob(blob_id)) is None:
        return
    there = set(db.session.scalars(any_previews_of(blob_id)))
    for picture, draft in drafts.items():
        if picture.size not in there:
            row = {"blob_id": blob_id, "size": picture.size, "storage_key": keep_draft(draft), "mime": picture.mime,
                   "byte_size": draft.size, "created_at": now()}  # fmt: skip
            db.session.execute(insert(Preview).values(row))
