"""Counters of the exact rate limits, for when no Redis counts them."""

from datetime import datetime

from sqlalchemy import Integer, String, case, delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.dml import Delete, ReturningInsert

from webapp.db import Base
from webapp.models.record import Moment


class LimitCounter(Base):
    """Hits of one key (a digest: keys hold addresses) until the window ends."""

    __tablename__ = "limit_counters"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    hits: Mapped[int] = mapped_column(Integer)
    ends_at: Mapped[Moment]


def counted_hit(
    dialect: str, key: str, amount: int, known: int, moment: datetime, fresh: datetime, latest: datetime
) -> ReturningInsert[int, datetime]:
    """Count `amount` hits on top of those in the row, or of the `known` ones where these are more.

    A new window ends at `fresh`, a running one at `latest` at the latest. Gives the hits and the end of the window.
    """
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    row = insert(LimitCounter).values(key=key, hits=known + amount, ends_at=fresh)
    over = LimitCounter.ends_at <= moment
    return row.on_conflict_do_update(
        index_elements=["key"],
        set_={
            "hits": case((over | (LimitCounter.hits < known), known + amount), else_=LimitCounter.hits + amount),
            "ends_at": case((over, fresh), (LimitCounter.ends_at > latest, latest), else_=LimitCounter.ends_at),
        },
    ).returning(LimitCounter.hits, LimitCounter.ends_at)


def counters_over(moment: datetime) -> Delete:
    """Remove the counters whose window has ended."""
    return delete(LimitCounter).where(LimitCounter.ends_at <= moment)
