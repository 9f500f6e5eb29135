"""Who holds what at this moment: locks among processes, and the id nodes that living processes have leased."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec
from sqlalchemy import Engine, select, text

from webapp.db import autocommitting
from webapp.infra.ids import node_leases, wall_ms
from webapp.infra.locks import PREFIX, locks
from webapp.infra.probes import client_of

MOST = 100
ADVISORY = text(
    "SELECT l.name FROM locks l JOIN pg_locks p ON p.locktype = 'advisory' AND p.granted AND p.objsubid = 1"
    " AND p.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND (p.classid::bigint << 32 | p.objid::bigint) = hashtextextended(l.name, 0) LIMIT 100"
)


class HeldLock(msgspec.Struct, frozen=True):
    """A lock's name, and the seconds until it frees itself if its holder dies; None where its session is its end."""

    name: str
    left: float | None


class Process(msgspec.Struct, frozen=True):
    """A process that makes ids, so web, worker, relay or schedule; one that was killed stays up to ten minutes."""

    host: str
    pid: int
    node: int


class Holders(msgspec.Struct, frozen=True):
    """At most a hundred of each, by name."""

    locks: list[HeldLock]
    processes: list[Process]


def read_holders(engine: Engine, redis_url: str | None) -> Holders:
    """Asks the database, and Redis where locks live there. Raises what their clients raise."""
    sqlite, moment = engine.dialect.name == "sqlite", wall_ms()
    with autocommitting(engine) as connection:
        rows = select(locks.c.name, locks.c.expires_at_ms).where(locks.c.expires_at_ms > moment).limit(MOST)
        held = [HeldLock(name, (ends - moment) / 1000) for name, ends in connection.execute(rows)]
        if not sqlite and redis_url is None:
            held += [HeldLock(name, None) for name in connection.scalars(ADVISORY)]
        alive = select(node_leases.c.host, node_leases.c.pid, node_leases.c.node).limit(MOST)
        alive = alive.where(node_leases.c.leased_until_ms > moment)
        processes = [Process(*row) for row in connection.execute(alive)]
    if redis_url is not None:
        held += islice(_in_redis(client_of(redis_url)), MOST)
    return Holders(sorted(held, key=lambda lock: lock.name), sorted(processes, key=lambda one: (one.host, one.pid)))


def _in_redis(redis: Any) -> Iterator[HeldLock]:
    for key in redis.scan_iter(match=f"{PREFIX}{{*}}", count=1000):
        left = redis.pttl(key)
        if left > 0:  # it has not ended since
            yield HeldLock(key.decode()[len(PREFIX) + 1 : -1], left / 1000)
