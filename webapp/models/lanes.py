"""The statements that choose which due jobs go to the broker next: who waits, what is under way, the next of each lane.

A lane is one owner's (or webhook's) line within a queue and a priority; services/turns.py says how lanes share.
"""

from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Integer,
    SmallInteger,
    String,
    bindparam,
    column,
    func,
    literal,
    literal_column,
    select,
    text,
    true,
    union_all,
)

from webapp.models.jobs import PRIORITIES, QUEUES, Job
from webapp.models.record import Instant, any_state
from webapp.models.runs import by_dialect, change
from webapp.models.webhooks import Webhook, WebhookHealth, shut_lanes

_moment = bindparam("moment", type_=Instant())
_QUEUED: ColumnElement[str] = literal_column("'queued'")  # written out: SQLite then uses the partial indexes
_RUNNING: ColumnElement[str] = literal_column("'running'")
_WAITING = (Job.state == _QUEUED, Job.sent_at.is_(None))

# One relay at a time chooses and sends, so that limits are exact; one that hangs in the middle loses its place soon.
MY_TURN = text(
    "SELECT pg_try_advisory_xact_lock(hashtextextended('holdfast.turns', 0)),"
    " set_config('idle_in_transaction_session_timeout', '10000', true)"
)


def _of(each: Any) -> tuple[Any, ...]:
    return (Job.queue == each.c.queue, Job.priority == each.c.priority)


def _any_lanes() -> Any:
    """Steps from lane to lane along ix_jobs_lanes: what it costs grows with the lanes, not with the jobs in them."""
    pairs = [(queue, priority) for queue in QUEUES for priority in PRIORITIES]
    each = union_all(  # VALUES would be compiled anew at every execution
        *(select(literal(queue).label("queue"), literal(priority).label("priority")) for queue, priority in pairs)
    ).cte("pairs")
    lane = any_state(Job, Job.lane).where(*_WAITING).order_by(Job.lane).limit(1)
    first = select(each.c.queue, each.c.priority, lane.where(*_of(each)).scalar_subquery().label("lane"))
    first = first.where(each.c.queue.in_(bindparam("queues", expanding=True)))
    each = first.cte("lanes", recursive=True)
    after = lane.where(*_of(each), Job.lane > each.c.lane).scalar_subquery()
    each = each.union_all(select(each.c.queue, each.c.priority, after).where(each.c.lane.is_not(None)))
    head = any_state(Job, func.min(Job.run_at)).where(*_WAITING, *_of(each), Job.lane == each.c.lane).scalar_subquery()
    return (
        select(each.c.queue, each.c.priority, each.c.lane, head.label("head"))
        .where(each.c.lane.is_not(None), head <= _moment)
    )  # fmt: skip


def _any_under_way(*criteria: Any) -> Any:
    return any_state(Job, Job.queue, Job.lane, func.count().label("number")).where(*criteria).group_by(
        Job.queue, Job.lane
    )  # fmt: skip


LANES = _any_lanes()
SHUT = shut_lanes(Webhook.paused_at, WebhookHealth.next_try_at)
UNDER_WAY = union_all(
    _any_under_way(Job.state == _QUEUED, Job.sent_at.is_not(None)), _any_under_way(Job.state == _RUNNING)
)
# Of those that no worker has begun. By when they were sent, not due: until then their lane may have held them.
SENT_SINCE = (
    any_state(Job, Job.queue, func.min(Job.sent_at).label("since"))
    .where(Job.state == _QUEUED, Job.sent_at.is_not(None))
    .group_by(Job.queue)
)
RUNNING = any_state(Job, func.count()).where(Job.state == _RUNNING)
_COLUMNS = (Job.id, Job.name, Job.queue, Job.priority, Job.run_at)
_next = any_state(Job, *_COLUMNS).where(*_WAITING, Job.run_at <= _moment).order_by(Job.run_at, Job.id)
NEXT_OF_LANE = _next.where(
    Job.queue == bindparam("queue"), Job.priority == bindparam("priority"), Job.lane == bindparam("lane")
).limit(bindparam("number"))
_shares = (
    func.unnest(
        bindparam("queues", type_=ARRAY(String)), bindparam("priorities", type_=ARRAY(SmallInteger)),
        bindparam("lanes", type_=ARRAY(BigInteger)), bindparam("numbers", type_=ARRAY(Integer)),
    )
    .table_valued(column("queue", String), column("priority", SmallInteger), column("lane", BigInteger),
                  column("number", Integer), name="each")
    .render_derived()
)  # fmt: skip
_each = (
    _next.with_only_columns(Job.id)
    .where(*_of(_shares), Job.lane == _shares.c.lane)
    .limit(_shares.c.number)
    .with_for_update(skip_locked=True)
    .lateral("each")
)
SEND = by_dialect(
    change(Job.id.in_(select(_each.c.id).select_from(_shares.join(_each, true()))), sent_at=_moment), *_COLUMNS
)["postgresql"]
MARK = by_dialect(
    change(Job.id.in_(bindparam("ids", expanding=True)), Job.state == "queued", Job.run_at <= _moment,
           sent_at=_moment), Job.id,
)  # fmt: skip
UNSEND = by_dialect(
    change(Job.state == "queued", Job.sent_at < bindparam("sent_before", type_=Instant()),
           Job.queue.in_(bindparam("queues", expanding=True)), sent_at=None), Job.id,
)  # fmt: skip
