"""What runs by the clock: a cron expression in a time zone, the job it queues, and when it does so next."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, Select, String, Update, Uuid, update
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base
from webapp.models.record import DOCUMENT, MaybeMoment, Moment, Record, live


class Schedule(Record, Base):
    """One row, one kind of job. `next_at` None: it never fires, because nothing can be computed from it.

    `planned_at` is when `next_at` was computed: one that lies in the future tells that the clock stepped back.
    """

    __tablename__ = "schedules"

    name: Mapped[str] = mapped_column(String(60), unique=True)
    title: Mapped[str] = mapped_column(String(120))
    job: Mapped[str] = mapped_column(String(60))
    args: Mapped[dict[str, Any]] = mapped_column(DOCUMENT, default=dict)
    cron: Mapped[str] = mapped_column(String(100))
    zone: Mapped[str] = mapped_column(String(64))
    enabled: Mapped[bool] = mapped_column(Boolean, default=True)
    catch_up: Mapped[str] = mapped_column(String(10), default="once")  # once | skip: what was missed while all was down
    next_at: Mapped[MaybeMoment]
    planned_at: Mapped[Moment]
    last_at: Mapped[MaybeMoment]
    last_job: Mapped[UUID | None] = mapped_column(Uuid)


def live_schedule(schedule_uuid: UUID) -> Select[Schedule]:
    """One schedule, held still until the transaction ends."""
    return live(Schedule).where(Schedule.uuid == schedule_uuid).with_for_update()


def live_due_schedule(moment: datetime) -> Select[Schedule]:
    """The schedule that is due longest and that no other scheduler has in its hands."""
    due = live(Schedule).where(Schedule.enabled.is_(True), Schedule.next_at <= moment)
    return due.order_by(Schedule.next_at, Schedule.id).limit(1).with_for_update(skip_locked=True)


def live_schedules_ahead(planned_after: datetime) -> Select[Schedule]:
    """Schedules planned by a clock that was ahead of ours."""
    return live(Schedule).where(Schedule.planned_at > planned_after).with_for_update(skip_locked=True)


def schedule_moved(schedule_id: int, **values: Any) -> Update:
    """Note a firing or the next one. Leaves the version alone: what the clock does must not make a form stale."""
    values["updated_at"] = Schedule.updated_at
    row = update(Schedule).where(Schedule.id == schedule_id)
    return row.values(values).execution_options(synchronize_session=False)
