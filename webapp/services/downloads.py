"""Reading bytes back: which blob a file's content is, found through the actor in one statement."""

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import bindparam

from webapp.db import read_row
from webapp.errors import Conflict, Missing
from webapp.infra.storage import store
from webapp.models.files import Blob, File, FileVersion
from webapp.models.record import live
from webapp.policies import Actor, require

_CONTENT = (
    live(File, File.name, FileVersion.mime, FileVersion.created_at, Blob.sha256, Blob.size, Blob.storage_key, Blob.damaged_at)
    .join(FileVersion, (FileVersion.file_id == File.id) & (FileVersion.number == File.number))
    .join(Blob, Blob.id == FileVersion.blob_id)
    .where(File.owner_id == bindparam("owner_id"), File.uuid == bindparam("file_id"))
)


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What a download needs; `key` is the store's, `size` is bytes."""

    name: str
    mime: str
    sha256: str
    size: int
    key: str
    modified: datetime

    def read(self, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes in chunks. Raises Unavailable when the store does not answer."""
        return store().read(self.key, start, length)


def open_content(actor: Actor, file_id: UUID) -> Content:
    """The current content of a file. Raises Missing; Conflict (code damaged) when its bytes failed their check."""
    require(actor, "files.read")
    row = read_row(_CONTENT, {"owner_id": actor.id, "file_id": file_id})
    if row is None:
        raise Missing("There is no such file.")
    if row.damaged_at is not None:
        raise Conflict("The stored bytes of this file are damaged. Upload it again or ask for a backup.", code="damaged")
    return Content(name=row.name, mime=row.mime, sha256=row.sha256, size=row.size, key=row.storage_key, modified=row.created_at)
