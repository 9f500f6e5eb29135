"""How the queues of jobs stand: what waits, runs and went wrong in each, and for how long."""

from collections import defaultdict
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import and_, case, func, not_, or_

from webapp.config import current_settings
from webapp.db import read_rows
from webapp.infra.clock import now
from webapp.models.jobs import QUEUES, Job
from webapp.models.record import live
from webapp.models.webhooks import shut_lanes
from webapp.policies import Actor, require
from webapp.services.backlogs import behind, waits
from webapp.services.cursors import Page

# Webhooks that are paused or whose receiver fails: nobody but they keeps their deliveries waiting.
_SHUT = and_(Job.queue == "webhooks", Job.lane.in_(shut_lanes()))


class QueueView(msgspec.Struct, frozen=True, kw_only=True):
    """One queue. `waiting` is due now, `delayed` later or when its webhook is resumed or its receiver is back;
    `oldest_at` is since when the longest waiting job is due; it is `behind` when one waits for too long that nothing
    holds back on purpose. `limit` and `lane_limit` are how many run at once, of the queue and of one account or
    webhook, null for any number.
    """

    name: str
    waiting: int
    delayed: int
    running: int
    failed: int
    dead: int
    oldest_at: datetime | None
    behind: bool
    limit: int | None
    lane_limit: int | None


def list_queues(actor: Actor) -> Page[QueueView]:
    """All queues. Raises Refused."""
    require(actor, "queues.read")
    settings, counts, oldest, late = current_settings(), _counts(), _oldest(), behind(waits())
    return Page(
        items=[
            QueueView(
                name=name, oldest_at=oldest.get(name), behind=name in late, limit=settings.queue_ceilings.get(name),
                lane_limit=settings.lane_ceilings.get(name),
                **{state: counts[name, state] for state in ("waiting", "delayed", "running", "failed", "dead")},
            )
            for name in QUEUES
        ]
    )  # fmt: skip


def _counts() -> dict[tuple[str, str], int]:
    state = case(
        (Job.state != "queued", Job.state), (or_(Job.run_at > now(), _SHUT), "delayed"), else_="waiting"
    ).label("condition")
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for states in (("queued",), ("running",), ("failed", "dead")):  # each along an index of its own
        rows: Any = read_rows(
            live(Job, Job.queue, state, func.count().label("number"))
            .where(Job.state.in_(states))
            .group_by(Job.queue, state)
        )
        counts |= {(row.queue, row.condition): row.number for row in rows}
    return counts


def _oldest() -> dict[str, datetime]:
    due = live(Job, Job.queue, func.min(Job.run_at).label("since")).where(
        Job.state == "queued", Job.run_at <= now(), not_(_SHUT)
    )
    return {row.queue: row.since for row in read_rows(due.group_by(Job.queue))}
