"""Folders: a tree per owner. `path` holds the ids from the top, /1/2/3/, so a subtree is a prefix."""

from typing import Any

from sqlalchemy import ColumnElement, ForeignKey, Index, Select, String, Text, func, literal_column, text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base
from webapp.models.record import BIG, SORTED, BigInt, Record, live

MAX_DEPTH = 64


class Folder(Record, Base):
    """A folder. `parent_id` None is the owner's top level. `name_key` is compared, `sort_key` orders lists."""

    __tablename__ = "folders"
    __table_args__ = (
        Index("uq_folders_name", "owner_id", text("coalesce(parent_id, 0)"), "name_key", unique=True,
              sqlite_where=text("deleted_at IS NULL"), postgresql_where=text("deleted_at IS NULL")),
        Index("ix_folders_listing", "owner_id", text("coalesce(parent_id, 0)"), "sort_key", "id",
              sqlite_where=text("deleted_at IS NULL"), postgresql_where=text("deleted_at IS NULL")),
        Index("ix_folders_trash", "owner_id", "deleted_at", "id",
              sqlite_where=text("deleted_at IS NOT NULL"), postgresql_where=text("deleted_at IS NOT NULL")),
        Index("ix_folders_trashed_with", "trashed_with",
              sqlite_where=text("trashed_with IS NOT NULL"), postgresql_where=text("trashed_with IS NOT NULL")),
        Index("ix_folders_path", "path", postgresql_ops={"path": "text_pattern_ops"}),
    )  # fmt: skip

    owner_id: Mapped[int] = mapped_column(BIG, ForeignKey("users.id"))
    parent_id: Mapped[BigInt | None] = mapped_column(ForeignKey("folders.id"))
    path: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(String(255))
    name_key: Mapped[str] = mapped_column(String(255))
    sort_key: Mapped[str] = mapped_column(SORTED)
    trashed_with: Mapped[BigInt | None]  # the folder it went to the trash with; its own id: it is being removed


TOP: ColumnElement[int] = literal_column(
    "0"
)  # written out, not bound: SQLite matches an index on an expression to the letter
folder_place = func.coalesce(Folder.parent_id, TOP)


def live_folders_of(owner_id: int) -> Select[Any]:
    """Columns of all living folders of a person, parents before what is in them."""
    columns = (Folder.id, Folder.uuid, Folder.parent_id, Folder.name, Folder.path)
    return live(Folder, *columns).where(Folder.owner_id == owner_id).order_by(Folder.path)


def live_folder_named(owner_id: int, parent_id: int | None, key: str) -> Select[Folder]:
    """The living folder whose name has this key in another, or at the top."""
    return live(Folder).where(Folder.owner_id == owner_id, folder_place == (parent_id or 0), Folder.name_key == key)


def live_subtree(folder: Folder) -> Select[Folder]:
    """The folder and all living ones below it."""
    return live(Folder).where(Folder.path.startswith(folder.path, autoescape=True))


def live_folders_on(path: str) -> Select[Folder]:
    """The folders of a path from the top: breadcrumbs."""
    ids = [int(part) for part in path.split("/") if part]
    return live(Folder).where(Folder.id.in_(ids)).order_by(Folder.path)
