"""Files, their versions, the bytes they name, and the previews made of them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Integer, Select, String, Text, Update, func, null, text, tuple_, update
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base
from webapp.models.folders import TOP
from webapp.models.record import BIG, DOCUMENT, SORTED, BigInt, MaybeMoment, Moment, Record, any_state, live
from webapp.models.users import User

LIVING: dict[str, Any] = {"sqlite_where": text("deleted_at IS NULL"), "postgresql_where": text("deleted_at IS NULL")}
AT = text("coalesce(folder_id, 0)")


class Blob(Base):
    """Content, stored once: addressed by its sha-256. `refcount` is the number of file versions that name it."""

    __tablename__ = "blobs"
    __table_args__ = (Index("ix_blobs_infected", "id", sqlite_where=text("infected_with IS NOT NULL"),
                            postgresql_where=text("infected_with IS NOT NULL")),)  # fmt: skip

    id: Mapped[int] = mapped_column(BIG, primary_key=True, autoincrement=False)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    size: Mapped[BigInt]
    storage_key: Mapped[str] = mapped_column(String(200), index=True)
    refcount: Mapped[int] = mapped_column(Integer, default=0)
    created_at: Mapped[Moment]
    verified_at: Mapped[MaybeMoment]
    damaged_at: Mapped[MaybeMoment]
    scanned_at: Mapped[MaybeMoment]  # when the virus scanner last gave an answer
    infected_with: Mapped[str | None] = mapped_column(String(200))  # what it found; None: nothing, or not asked yet
    facts: Mapped[dict[str, Any]] = mapped_column(DOCUMENT, default=dict)  # width, height, pages: found by jobs


class File(Record, Base):
    """A file as it is now. mime, size and sha256 repeat the current version's, so that lists read one table."""

    __tablename__ = "files"
    __table_args__ = (
        Index("uq_files_name", "owner_id", AT, "name_key", unique=True, **LIVING),
        Index("ix_files_by_name", "owner_id", AT, "sort_key", "id", **LIVING),
        Index("ix_files_by_time", "owner_id", AT, "updated_at", "id", **LIVING),
        Index("ix_files_by_size", "owner_id", AT, "size", "id", **LIVING),
        Index("ix_files_all_by_name", "owner_id", "sort_key", "id", **LIVING),
        Index("ix_files_all_by_time", "owner_id", "updated_at", "id", **LIVING),
        Index("ix_files_all_by_size", "owner_id", "size", "id", **LIVING),
        Index("ix_files_trash", "owner_id", "deleted_at", "id",
              sqlite_where=text("deleted_at IS NOT NULL"), postgresql_where=text("deleted_at IS NOT NULL")),
        Index("ix_files_folder_id", "folder_id"),
        Index("ix_files_trashed_with", "trashed_with",
              sqlite_where=text("trashed_with IS NOT NULL"), postgresql_where=text("trashed_with IS NOT NULL")),
    )  # fmt: skip

    owner_id: Mapped[int] = mapped_column(BIG, ForeignKey("users.id"))
    folder_id: Mapped[BigInt | None] = mapped_column(ForeignKey("folders.id"))
    name: Mapped[str] = mapped_column(String(255))
    name_key: Mapped[str] = mapped_column(String(255))
    sort_key: Mapped[str] = mapped_column(SORTED)
    number: Mapped[int] = mapped_column(Integer, default=1)  # of the current version of the content
    mime: Mapped[str] = mapped_column(String(120))
    size: Mapped[BigInt]
    sha256: Mapped[str] = mapped_column(String(64))
    description: Mapped[str] = mapped_column(Text, default="")
    tags: Mapped[list[str]] = mapped_column(DOCUMENT, default=list)
    trashed_with: Mapped[BigInt | None]  # the folder it went to the trash with; None: by itself, or not there


file_place = func.coalesce(File.folder_id, TOP)


class FileVersion(Base):
    """One content of a file; numbers count from 1 and are never reused."""

    __tablename__ = "file_versions"
    __table_args__ = (Index("uq_file_versions_number", "file_id", "number", unique=True),)

    id: Mapped[int] = mapped_column(BIG, primary_key=True, autoincrement=False)
    file_id: Mapped[int] = mapped_column(BIG, ForeignKey("files.id"))
    number: Mapped[int] = mapped_column(Integer)
    blob_id: Mapped[int] = mapped_column(BIG, ForeignKey("blobs.id"), index=True)
    author_id: Mapped[BigInt | None] = mapped_column(ForeignKey("users.id"))
    mime: Mapped[str] = mapped_column(String(120))
    created_at: Mapped[Moment]
    label: Mapped[str | None] = mapped_column(String(100))  # a name that people gave it: such a content stays
    version: Mapped[int] = mapped_column(Integer, default=1, server_default=text("1"))  # counts changes of the label


class Preview(Base):
    """A picture of a blob's content at most `size` pixels wide and high, itself a file in the store."""

    __tablename__ = "previews"

    blob_id: Mapped[int] = mapped_column(BIG, ForeignKey("blobs.id"), primary_key=True)
    size: Mapped[int] = mapped_column(Integer, primary_key=True)
    storage_key: Mapped[str] = mapped_column(String(200), index=True)
    mime: Mapped[str] = mapped_column(String(40))
    byte_size: Mapped[BigInt]
    created_at: Mapped[Moment]


def deleted_file(owner_id: int, file_uuid: UUID) -> Select[File]:
    """One file in the owner's trash."""
    return any_state(File).where(File.owner_id == owner_id, File.uuid == file_uuid, File.deleted_at.is_not(None))


def live_file_named(owner_id: int, folder_id: int | None, key: str) -> Select[File]:
    """The living file whose name has this key in a folder, or at the top."""
    return live(File).where(File.owner_id == owner_id, file_place == (folder_id or 0), File.name_key == key)


def any_blob(sha256: str) -> Select[Blob]:
    """The blob of this digest."""
    return any_state(Blob).where(Blob.sha256 == sha256)


def any_blob_at(key: str) -> Select[int]:
    """The id of the blob that lies under this key."""
    return any_state(Blob, Blob.id).where(Blob.storage_key == key)


def any_lying_otherwise(*, sealed: bool, after: int) -> Select[Any]:
    """Blobs that somebody has and that are not sealed, or are, by id."""
    chosen = any_state(Blob, Blob.id, Blob.sha256, Blob.storage_key, null().label("pixels"))
    chosen = chosen.where(Blob.refcount > 0, Blob.id > after).order_by(Blob.id)
    return chosen.where(Blob.storage_key.startswith("sealed/") != sealed)


def any_previews_lying_otherwise(*, sealed: bool, after: Sequence[int]) -> Select[Any]:
    """The same of previews."""
    chosen = any_state(Preview, Preview.blob_id.label("id"), Preview.storage_key, Preview.size.label("pixels"))
    chosen = chosen.where(tuple_(Preview.blob_id, Preview.size) > tuple_(*after))
    return chosen.where(Preview.storage_key.startswith("sealed/") != sealed).order_by(Preview.blob_id, Preview.size)


def any_current_blob(file_id: int) -> Select[Blob]:
    """The blob behind a file's current version, trashed or not."""
    return (
        any_state(Blob)
        .join(FileVersion, FileVersion.blob_id == Blob.id)
        .join(File, (File.id == FileVersion.file_id) & (File.number == FileVersion.number))
        .where(File.id == file_id)
    )


def any_version(file_id: int, number: int) -> Select[Any]:
    """What the jobs need of one content of a file, trashed or not: its names and its blob's columns."""
    columns = (File.uuid, File.name, File.owner_id, FileVersion.mime, Blob.id.label("blob_id"), Blob.sha256, Blob.size,
               Blob.storage_key)  # fmt: skip
    return (
        any_state(File, *columns)
        .join(FileVersion, FileVersion.file_id == File.id)
        .join(Blob, Blob.id == FileVersion.blob_id)
        .where(File.id == file_id, FileVersion.number == number)
    )


def any_locked_blob(blob_id: int) -> Select[Blob]:
    """The blob, held still until the transaction ends: two jobs may add facts to it at once."""
    return any_state(Blob).where(Blob.id == blob_id).with_for_update()


def any_holders(blob_id: int) -> Select[Any]:
    """Files, trashed or not, of which some version is these bytes: public id, name and owner."""
    named = any_state(FileVersion, FileVersion.file_id).where(FileVersion.blob_id == blob_id)
    return any_state(File, File.uuid, File.name, File.owner_id).where(File.id.in_(named)).order_by(File.id)


def any_holding(blob_id: int) -> Select[Any]:
    """One version that is these bytes, with its file, trashed or not."""
    columns = (File.id, File.uuid, File.name, File.owner_id, FileVersion.number)
    chosen = any_state(File, *columns).join(FileVersion, FileVersion.file_id == File.id)
    return chosen.where(FileVersion.blob_id == blob_id).order_by(FileVersion.id.desc()).limit(1)


def any_infected() -> Select[Any]:
    """Versions in whose content a virus was found, of files trashed or not, newest first."""
    columns = (File.uuid, File.name, File.number.label("newest"), File.deleted_at, FileVersion.number,
               FileVersion.created_at, FileVersion.id.label("row_id"), Blob.infected_with, Blob.scanned_at, Blob.size,
               Blob.sha256, User.uuid.label("owner_uuid"), User.name.label("owner"))  # fmt: skip
    return (
        any_state(File, *columns)
        .join(FileVersion, FileVersion.file_id == File.id)
        .join(Blob, Blob.id == FileVersion.blob_id)
        .join(User, User.id == File.owner_id)
        .where(Blob.infected_with.is_not(None))
        .order_by(FileVersion.id.desc())
    )


def any_previews_of(blob_id: int) -> Select[int]:
    """The sizes in which previews of this content are there."""
    return any_state(Preview, Preview.size).where(Preview.blob_id == blob_id)


def found_mime(file_id: int, number: int, mime: str) -> tuple[Update, Update]:
    """The media type of a version, and of its file where that version is current.

    Not by change_rows: version and updated_at stay, because nobody changed the file. The machine's finding, seconds
    after an upload, must not make the person's If-Match stale or put the file on top of "last changed".
    """
    current = (File.id == file_id) & (File.number == number) & (File.mime != mime)
    return (
        update(FileVersion).where(FileVersion.file_id == file_id, FileVersion.number == number).values(mime=mime),
        update(File).where(current).values(mime=mime, updated_at=File.updated_at),
    )
