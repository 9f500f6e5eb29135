"""Whose turn it is: which of the due jobs go to the broker next. docs/decisions/0024 has the rules.

Little is sent ahead, so what is more urgent, or is somebody else's first, does not wait behind a backlog.
"""

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy.engine import Connection

from webapp.config import current_settings
from webapp.db import autocommitting, db, translated
from webapp.infra.clock import now
from webapp.infra.holders import read_processes
from webapp.infra.lines import change
from webapp.infra.wakeups import wake_relay
from webapp.models import lanes
from webapp.models.jobs import LATER, NORMAL, OPEN, SOON, Job
from webapp.models.record import change_rows, live

WEBHOOKS = "webhooks"  # the queue whose lanes can be shut
# How long a job may stand back behind more urgent ones of accounts that have as little under way
PATIENCE = {SOON: timedelta(0), NORMAL: timedelta(seconds=10), LATER: timedelta(hours=1)}


class DueJob(NamedTuple):
    """What a message to the broker needs."""

    id: int
    name: str
    queue: str


class Turn(NamedTuple):
    """Jobs to send, the most urgent first; `more` when others are due for which there was no room."""

    jobs: list[DueJob]
    more: bool


class Lane(NamedTuple):
    """A line with something due since `head`."""

    queue: str
    priority: int
    lane: int
    head: datetime


class Share(NamedTuple):
    """How many jobs a lane may send now."""

    queue: str
    priority: int
    lane: int
    number: int


@contextmanager
def due_jobs(room: Mapping[str, int]) -> Iterator[Turn]:
    """The next due jobs of each queue, as many as there is room. Leaving the block without an error marks them as sent;
    leaving it with one leaves them due.

    PostgreSQL: one relay at a time; another gets nothing meanwhile. SQLite: no write lock is held while they are sent,
    so two relays may send a job twice, which costs a message and no second run.
    """
    free = {queue: number for queue, number in room.items() if number > 0}
    if not free:
        yield Turn([], True)
    elif db.engine.dialect.name == "sqlite":
        moment = now()
        with translated(), autocommitting(db.engine) as line:
            shares, more = _shares(line, moment, free)
            wishes = [share._asdict() | {"moment": moment} for share in shares]
            rows = [row for wish in wishes for row in line.execute(lanes.NEXT_OF_LANE, wish)]
        yield _turn(rows, more)
        if rows:
            change(lanes.MARK["sqlite"], {"ids": [row.id for row in rows], "moment": moment})
    else:
        with translated(), db.engine.connect() as line, line.begin():
            if not line.scalar(lanes.MY_TURN):
                yield Turn([], True)
                return
            moment = now()
            shares, more = _shares(line, moment, free)
            yield _turn(line.execute(lanes.SEND, {**_columns(shares), "moment": moment}).all() if shares else [], more)


def forget_sending(queues: Collection[str], sent_before: datetime) -> int:
    """Make jobs of these queues due again that were sent before then and never started: their message is lost."""
    parameters = {"queues": list(queues), "sent_before": sent_before, "moment": now()}
    return len(change(lanes.UNSEND[db.engine.dialect.name], parameters))


def renew_lane(queue: str, lane: int) -> None:
    """What waits in it is due now, with all its attempts. Must run inside a transaction."""
    db.session.execute(change_rows(Job, *_queued(queue, lane), run_at=now(), attempts=0))
    wake_relay()


def bring_one_forward(queue: str, lane: int) -> bool:
    """The job of it that is due next is due now; False where none waits or runs. Must run inside a transaction."""
    waiting = live(Job, Job.id, Job.run_at).where(*_queued(queue, lane)).order_by(Job.run_at, Job.id).limit(1)
    first = db.session.execute(waiting).first()
    if first is None:
        under_way = live(Job, Job.id).where(Job.queue == queue, Job.lane == lane, Job.state.in_(OPEN)).limit(1)
        return db.session.execute(under_way).first() is not None
    moment = now()
    if first.run_at > moment:
        db.session.execute(change_rows(Job, Job.id == first.id, *_queued(queue, lane), run_at=moment))
    return True


def cancel_lane(queue: str, lane: int, reason: str) -> None:
    """Nothing of what waits in it will run. Must run inside a transaction."""
    ended = {"state": "cancelled", "finished_at": now(), "error": reason}
    db.session.execute(change_rows(Job, *_queued(queue, lane), **ended))


def _queued(queue: str, lane: int) -> tuple[Any, ...]:
    return (Job.queue == queue, Job.lane == lane, Job.state == "queued", Job.sent_at.is_(None))


def workers_are_busy() -> bool:
    """Whether a worker may have no free thread: then it may hold messages that it has not begun.

    A worker takes three messages of a queue for each of its threads, and begins one as soon as a thread is free.
    """
    with translated(), autocommitting(db.engine) as line:
        running = line.scalar(lanes.RUNNING) or 0
    threads = [process.threads for process in read_processes(db.engine) if process.role == "worker"]
    return running >= min(threads, default=current_settings().job_threads)


def _shares(line: Connection, moment: datetime, room: Mapping[str, int]) -> tuple[list[Share], bool]:
    settings = current_settings()
    waiting = [Lane(*row) for row in line.execute(lanes.LANES, {"queues": list(room), "moment": moment})]
    if not waiting:
        return [], False
    under_way: Counter[tuple[str, int]] = Counter()
    for queue, lane, number in line.execute(lanes.UNDER_WAY):
        under_way[queue, lane] += number
    shut = _shut(line, waiting, under_way, moment)
    admitted = [each for each in waiting if shut.get((each.queue, each.lane), 1)]
    shares = allot(admitted, under_way, room, settings.queue_ceilings, settings.lane_ceilings)
    probes = [each._replace(number=1) if (each.queue, each.lane) in shut else each for each in shares]
    return probes, len(admitted) > len(shares)


def _shut(
    line: Connection, waiting: Sequence[Lane], under_way: Mapping[tuple[str, int], int], moment: datetime
) -> dict[tuple[str, int], int]:
    """Lanes of webhooks that are paused or whose receiver fails: nothing of them goes, or one job, when a try is due
    and none is under way."""
    if not any(each.queue == WEBHOOKS for each in waiting):
        return {}
    return {
        (WEBHOOKS, row.id): int(
            row.paused_at is None and row.next_try_at <= moment and not under_way.get((WEBHOOKS, row.id))
        )
        for row in line.execute(lanes.SHUT)
    }


def allot(
    waiting: Sequence[Lane],
    under_way: Mapping[tuple[str, int], int],
    room: Mapping[str, int],
    queue_limits: Mapping[str, int],
    lane_limits: Mapping[str, int],
) -> list[Share]:
    """Give each queue's room to its lanes: always to the lane that has least under way (max-min fairness), then to the
    one whose job should have gone first (it is due and PATIENCE is over). A lane sends its most urgent work first.
    No queue and no lane gets beyond its limit.

    How many jobs a lane has is not known here: what one does not use, others get at the next call.
    """
    lines: dict[str, dict[int, list[Lane]]] = defaultdict(lambda: defaultdict(list))
    for each in waiting:
        lines[each.queue][each.lane].append(each)
    shares: list[Share] = []
    for queue, of_lanes in lines.items():
        free = min(room.get(queue, 0), _rest(queue, under_way, queue_limits))
        most = lane_limits.get(queue, math.inf)
        line = [(under_way.get((queue, lane), 0), min(map(_go_by, each)), lane) for lane, each in of_lanes.items()]
        heapq.heapify(line)
        given: Counter[int] = Counter()
        while free > 0 and line[0][0] < most:
            number, go_by, lane = line[0]
            heapq.heapreplace(line, (number + 1, go_by, lane))
            given[lane] += 1
            free -= 1
        shares += [Share(queue, min(each.priority for each in of_lanes[lane]), lane, n) for lane, n in given.items()]
    return shares


def _go_by(each: Lane) -> datetime:
    return each.head + PATIENCE[each.priority]


def _rest(queue: str, under_way: Mapping[tuple[str, int], int], limits: Mapping[str, int]) -> float:
    """What a queue's limit leaves."""
    if queue not in limits:
        return float("inf")
    return limits[queue] - sum(number for (each, _), number in under_way.items() if each == queue)


def _columns(shares: Sequence[Share]) -> dict[str, list[Any]]:
    return {
        "queues": [share.queue for share in shares],
        "priorities": [share.priority for share in shares],
        "lanes": [share.lane for share in shares],
        "numbers": [share.number for share in shares],
    }


def _turn(rows: Sequence[Any], more: bool) -> Turn:
    """In the order in which they are to run: an update returns them in none."""
    ordered = sorted(rows, key=lambda row: (row.priority, row.run_at, row.id))
    return Turn([DueJob(row.id, row.name, row.queue) for row in ordered], more)
