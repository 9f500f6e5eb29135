"""Whose turn it is: which of the due jobs go to the broker next. docs/decisions/0024 has the rules.

Little is sent ahead, so what is more urgent, or is somebody else's first, does not wait behind a backlog.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy.engine import Connection

from webapp.config import current_settings
from webapp.db import autocommitting, db, translated
from webapp.infra.clock import now
from webapp.infra.lines import change
from webapp.models import lanes


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
    """Give each queue's room to its lanes: the lower priority number first, then always to the lane that has least
    under way (max-min fairness), then to whose job is due longest. No queue and no lane gets beyond its limit.

    How many jobs a lane has is not known here: what one does not use, others get at the next call.
    """
    given: Counter[tuple[str, int]] = Counter()
    shares: Counter[tuple[str, int, int]] = Counter()
    levels: dict[tuple[str, int], list[Lane]] = defaultdict(list)
    for each in waiting:
        levels[each.queue, each.priority].append(each)
    free = {queue: min(number, _rest(queue, under_way, queue_limits)) for queue, number in room.items()}
    for (queue, priority), level in sorted(levels.items()):
        most = lane_limits.get(queue)
        line = [
            (under_way.get((queue, each.lane), 0) + given[queue, each.lane], each.head, each.lane) for each in level
        ]
        heapq.heapify(line)
        while line and free.get(queue, 0) > 0 and (most is None or line[0][0] < most):
            number, head, lane = line[0]
            heapq.heapreplace(line, (number + 1, head, lane))
            given[queue, lane] += 1
            shares[queue, priority, lane] += 1
            free[queue] -= 1
    return [Share(*key, number) for key, number in shares.items()]


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
