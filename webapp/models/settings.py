"""What administrators chose: one row for all settings, so that one version stands for all of them."""

from typing import Any

from sqlalchemy import Select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.dml import Insert

from webapp.db import Base
from webapp.models.record import DOCUMENT, Record, live

ROW = 1


class SettingsRow(Record, Base):
    """Row 1. `chosen` holds the settings that somebody chose, by name; the others have their defaults."""

    __tablename__ = "settings"

    chosen: Mapped[dict[str, Any]] = mapped_column(DOCUMENT, default=dict)


def live_settings() -> Select[SettingsRow]:
    """The row, held still until the transaction ends."""
    return live(SettingsRow).where(SettingsRow.id == ROW).with_for_update()


def first_settings(dialect: str) -> Insert:
    """Insert the row with nothing chosen, unless it is there."""
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    return insert(SettingsRow).values(id=ROW, chosen={}).on_conflict_do_nothing()
