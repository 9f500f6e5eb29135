"""Reading bytes back: which blob a file's content is, found through the actor in one statement."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Select, bindparam, exists

from webapp.db import read_row
from webapp.errors import DamagedContent
from webapp.infra.drafts import is_sealed
from webapp.infra.storage import store
from webapp.models.files import Blob, File, FileVersion, Preview
from webapp.models.folders import Folder
from webapp.models.record import live
from webapp.policies import Actor, require
from webapp.services.access import prove, reach, refuse_missing
from webapp.services.inputs import Input
from webapp.services.scans import SCAN, refuse_unsafe
from webapp.services.stored import read_blob


class ContentQuery(Input):
    """How content comes: as a file to save, or shown in the browser where its type is harmless."""

    inline: bool = False


_SPOT = (File.id.label("row_id"), File.owner_id, Folder.path)
LARGE = 1024  # pixels: the preview on a file's page
_CONTENT = (
    live(
        File,
        File.name,
        FileVersion.mime,
        FileVersion.created_at,
        Blob.sha256,
        Blob.size,
        Blob.storage_key,
        Blob.damaged_at,
        *SCAN,
        *_SPOT,
    )
    .outerjoin(Folder, Folder.id == File.folder_id)
    .join(FileVersion, (FileVersion.file_id == File.id) & (FileVersion.number == File.number))
    .join(Blob, Blob.id == FileVersion.blob_id)
    .where(File.uuid == bindparam("file_id"))
)


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What a download needs; `key` is the store's, `size` is bytes."""

    name: str
    mime: str
    sha256: str
    size: int
    key: str
    modified: datetime

    @property
    def sealed(self) -> bool:
        """Whether only the vault itself can send it."""
        return is_sealed(self.key)

    def link(self, headers: dict[str, str]) -> str | None:
        """Where the store itself gives the bytes, with these headers, for a short while; None where only we can."""
        return None if self.sealed else store().link(self.key, headers)

    def read(self, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes in chunks. Raises Unavailable when the store does not answer, DamagedContent."""
        return read_blob(self.key, start, length)


def open_content(actor: Actor, file_id: UUID) -> Content:
    """The current content of a file. Raises Missing; DamagedContent when its bytes failed their check;
    Conflict (infected) for a virus; Locked (being_checked) for what others shared before it was scanned."""
    require(actor, "files.read")
    row = _found(actor, _CONTENT, file_id)
    refuse_unsafe(row.scanned_at, row.infected_with, own=row.owner_id == actor.id)
    if row.damaged_at is not None:
        raise DamagedContent("The stored bytes of this file are damaged. Upload it again or ask for a backup.")
    return Content(
        name=row.name, mime=row.mime, sha256=row.sha256, size=row.size, key=row.storage_key, modified=row.created_at
    )


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the jobs found out about a file's content."""

    preview: bool
    scanned: bool
    virus: str | None = None
    unrenderable: str | None = None
    width: int | None = None
    height: int | None = None
    pages: int | None = None


_FACTS = (
    live(
        File,
        Blob.facts,
        *SCAN,
        *_SPOT,
        exists().where(Preview.blob_id == Blob.id, Preview.size == LARGE).label("preview"),
    )
    .join(Blob, Blob.sha256 == File.sha256)
    .outerjoin(Folder, Folder.id == File.folder_id)
    .where(File.uuid == bindparam("file_id"))
)


def show_facts(actor: Actor, file_id: UUID) -> Facts:
    """Size in pixels, pages, whether there is a large preview, what the virus scanner said. Raises Missing."""
    require(actor, "files.read")
    row = _found(actor, _FACTS, file_id)
    known = {"scanned": row.scanned_at is not None, "virus": row.infected_with}
    found = {name: row.facts.get(name) for name in ("width", "height", "pages", "unrenderable")}
    return Facts(preview=row.preview, **known, **found)


def _found(actor: Actor, statement: Select[Any], file_id: UUID) -> Any:
    row = read_row(statement, {"file_id": file_id})
    if row is None:
        refuse_missing("file")
    prove(reach(actor, row.owner_id, row.path, row.row_id), "files.read", "file")
    return row
