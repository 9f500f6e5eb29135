"""Where every file and folder was at any instant: written with every change, read by time travel."""

from sqlalchemy import Boolean, Index, Integer, String, text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base
from webapp.models.record import BIG, BigInt, MaybeMoment, Moment


class Placement(Base):
    """Name, parent and version of one item from `valid_from` until `valid_to` (None: still so)."""

    __tablename__ = "placements"
    __table_args__ = (
        Index("uq_placements_open", "item_id", unique=True,
              sqlite_where=text("valid_to IS NULL"), postgresql_where=text("valid_to IS NULL")),
        Index("ix_placements_owner", "owner_id", "valid_from"),
        Index("ix_placements_parent", "parent_id", "valid_from"),
        Index("ix_placements_closed", "owner_id", "valid_to",
              sqlite_where=text("valid_to IS NOT NULL"), postgresql_where=text("valid_to IS NOT NULL")),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(BIG, primary_key=True, autoincrement=False)
    item_id: Mapped[BigInt]
    item_type: Mapped[str] = mapped_column(String(10))  # file | folder
    owner_id: Mapped[BigInt]
    parent_id: Mapped[BigInt | None]
    name: Mapped[str] = mapped_column(String(255))
    deleted: Mapped[bool] = mapped_column(Boolean, default=False)
    number: Mapped[int | None] = mapped_column(Integer)  # version of the content, for files
    valid_from: Mapped[Moment]
    valid_to: Mapped[MaybeMoment]
