"""Since when each queue's oldest due job waits that nothing holds back on purpose, and whether that is too long.

Not counted: what is due later, deliveries of webhooks that are paused or whose receiver fails, and what LANE_LIMITS
keeps behind the jobs of its own lane. A queue at its QUEUE_LIMITS counts: when its jobs wait for long, the limit is
too low.
"""

import time
from collections import Counter
from collections.abc import Mapping
from functools import partial

from sqlalchemy import Engine

from webapp.config import current_settings
from webapp.db import autocommitting, db, translated
from webapp.infra.clock import now
from webapp.models import lanes
from webapp.models.jobs import QUEUES
from webapp.services.caches import BACKLOGS, VAULT, cached
from webapp.services.turns import WEBHOOKS

# Seconds until a wait is a fault. Somebody waits for a preview, a mail, a message; upkeep has the night.
PATIENCE = {**dict.fromkeys(QUEUES, 300.0), "upkeep": 3600.0}


def waits(engine: Engine | None = None) -> dict[str, float]:
    """Seconds that the oldest job of each queue waits, 0 where none does; asked anew every five seconds by one of all
    processes. Raises Unavailable.
    """
    since, moment = cached(BACKLOGS, VAULT, "since", partial(_since, engine or db.engine)), time.time()
    return {queue: max(0.0, moment - since[queue]) if queue in since else 0.0 for queue in QUEUES}


def behind(waiting: Mapping[str, float]) -> dict[str, float]:
    """Those that wait for too long, the longest first."""
    late = {queue: seconds for queue, seconds in waiting.items() if seconds > PATIENCE[queue]}
    return dict(sorted(late.items(), key=lambda item: -item[1]))


def _since(engine: Engine) -> dict[str, float]:
    """By queue, in seconds since the epoch. What costs grows with the lanes, not with the jobs."""
    moment, most = now(), current_settings().lane_ceilings
    under_way: Counter[tuple[str, int]] = Counter()
    with translated(), autocommitting(engine) as line:
        shut = {(WEBHOOKS, row.id) for row in line.execute(lanes.SHUT)}
        for queue, lane, number in line.execute(lanes.UNDER_WAY):
            under_way[queue, lane] += number
        found = [
            (row.queue, row.head.timestamp())
            for row in line.execute(lanes.LANES, {"queues": list(QUEUES), "moment": moment})
            if (row.queue, row.lane) not in shut
            and (row.queue not in most or under_way[row.queue, row.lane] < most[row.queue])
        ]
        found += [(row.queue, row.since.timestamp()) for row in line.execute(lanes.SENT_SINCE)]
    return dict(sorted(found, reverse=True))  # the earliest stays
