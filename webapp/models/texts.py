"""The text in stored content: found once for each content, whatever files hold it."""

from typing import Any

from sqlalchemy import Boolean, Delete, ForeignKey, Select, Text, Update, delete, update
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base
from webapp.models.files import File, FileVersion
from webapp.models.record import BIG, Moment, any_state

WORDS = Text().with_variant(TSVECTOR, "postgresql")  # PostgreSQL splits words itself, SQLite's index is a table apart


class BlobText(Base):
    """The beginning of the text of a blob, and its words; `whole` says that no more of it was left out."""

    __tablename__ = "blob_texts"

    blob_id: Mapped[int] = mapped_column(
        BIG, ForeignKey("blobs.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    text: Mapped[str] = mapped_column(Text)
    words: Mapped[str | None] = mapped_column(WORDS)  # by a trigger: see models/search.py
    whole: Mapped[bool] = mapped_column(Boolean)
    created_at: Mapped[Moment]


def any_text_of(blob_id: int) -> Select[Any]:
    """Whether the text of this content is known."""
    return any_state(BlobText, BlobText.whole).where(BlobText.blob_id == blob_id)


def text_forgotten(blob_id: int) -> tuple[Delete, Update]:
    """Take the text of a content away, and have the triggers look at all files that hold it."""
    named = any_state(FileVersion, FileVersion.file_id).where(FileVersion.blob_id == blob_id)
    looked_at = update(File).where(File.id.in_(named)).values(sha256=File.sha256, updated_at=File.updated_at)
    return delete(BlobText).where(BlobText.blob_id == blob_id), looked_at


def noticed_text(file_id: int) -> Update:
    """Have the triggers look at a file again, whose text may have come while it did.

    Not by change_rows: nobody changed the file.
    """
    return update(File).where(File.id == file_id).values(sha256=File.sha256, updated_at=File.updated_at)
