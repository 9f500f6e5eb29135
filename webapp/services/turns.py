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
from webapp.infra.lines import change
from webapp.models import lanes
from webapp.models.jobs import LATER, NORMAL, SOON

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


def _shares(line: Connection, moment: datetime, room: Mapping[str, int]) -> tuple[list[Share], bool]:
    settings = current_settings()
    waiting = [Lane(*row) for row in line.execute(lanes.LANES, {"queues": list(room), "moment": moment})]
    if not waiting:
        return [], False
    under_way: Counter[tuple[str, int]] = Counter()
    for queue, lane, number in line.execute(lanes.UNDER_WAY):
        under_way[queue, lane] += number
    shares = allot(waiting, under_way, room, settings.queue_ceilings, settings.lane_ceilings)
    return shares, len(waiting) > len(shares)


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
