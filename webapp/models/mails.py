"""Mails are jobs: how they are listed; and until when each administrator was told by a digest."""

from typing import Any

from sqlalchemy import ForeignKey, Index, Select, text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base
from webapp.infra.crypto import sealed_column
from webapp.models.jobs import Job
from webapp.models.record import BIG, Moment, any_state, live
from webapp.models.users import User, UserRole

_ONLY = text("name = 'mails.send'")
Index("ix_jobs_mails", Job.id, sqlite_where=_ONLY, postgresql_where=_ONLY)


class Digest(Base):
    """One person's. What happened later stands in the next one."""

    __tablename__ = "digests"

    user_id: Mapped[int] = mapped_column(BIG, ForeignKey("users.id"), primary_key=True, autoincrement=False)
    told_until: Mapped[Moment]


def live_mails() -> Select[Any]:
    """What is shown of mails, and what is sealed in them; the index above leads there."""
    columns = (Job.uuid, Job.about, Job.state, Job.attempts, Job.max_attempts, Job.error, Job.result, Job.args,
               sealed_column(Job.sealed).label("sealed"),
               Job.created_at, Job.run_at, Job.finished_at, Job.updated_at, Job.version,
               Job.id.label("row_id"))  # fmt: skip
    return live(Job, *columns).where(Job.name == "mails.send")


def any_sealed(job_id: int) -> Select[Any]:
    """What a mail says, as it is stored."""
    return any_state(Job, sealed_column(Job.sealed).label("sealed")).where(Job.id == job_id)


def live_holders_of(role: str) -> Select[Any]:
    """Those who hold the role and may sign in, with what a mail to them needs."""
    columns = (User.id, User.email, User.name, User.locale, User.time_zone)
    held = any_state(UserRole, UserRole.user_id).where(UserRole.role == role)
    return live(User, *columns).where(User.id.in_(held), User.suspended_at.is_(None)).order_by(User.id)


def any_digest(user_id: int) -> Select[Digest]:
    """Until when this person was told, held until the transaction ends."""
    return any_state(Digest).where(Digest.user_id == user_id).with_for_update()
