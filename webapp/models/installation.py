"""The one row about this installation: the random part of its set-up link."""

from sqlalchemy import Integer, Select, String
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base
from webapp.models.record import Moment, any_state


class Installation(Base):
    """Row 1. Whoever makes the first account locks it, so that two cannot; a new database has a new link."""

    __tablename__ = "installation"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    setup_key: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[Moment]


def any_installation() -> Select[Installation]:
    """The row, locked until the transaction ends where it is read in one that writes."""
    return any_state(Installation).where(Installation.id == 1)
