"""Who is there at this moment: locks that are held among processes, and the processes that live."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, select, text

from webapp.config import current_settings
from webapp.db import autocommitting
from webapp.infra.ids import node_leases, wall_ms
from webapp.infra.locks import PREFIX, locks
from webapp.infra.probes import client_of

MOST = 100
ROLES = ("web", "embedded", "streams", "relay", "worker")
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
    """A process that lives, or was killed a moment ago; `threads` work. Roles: web, embedded (web that also runs the
    jobs), streams, worker, relay (which also fires schedules).
    """

    role: str
    host: str
    pid: int
    node: int
    version: str
    threads: int
    started_at: datetime
    seen_at: datetime


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
        processes = _living(connection)[:MOST]
    if redis_url is not None:
        held += islice(_in_redis(client_of(redis_url)), MOST)
    return Holders(sorted(held, key=lambda lock: lock.name), processes)


def read_processes(engine: Engine) -> list[Process]:
    """All processes that live, by role. Raises what the driver raises."""
    with autocommitting(engine) as connection:
        return _living(connection)


def _living(connection: Connection) -> list[Process]:
    row, since = node_leases.c, wall_ms() - current_settings().gone_after * 1000
    alive = select(node_leases).where(row.role != "", row.seen_at_ms > since)
    found = connection.execute(alive.order_by(row.role, row.host, row.pid))
    return [
        Process(one.role, one.host, one.pid, one.node, one.version, one.threads, _instant(one.started_at_ms),
                _instant(one.seen_at_ms)) for one in found
    ]  # fmt: skip


def _instant(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _in_redis(redis: Any) -> Iterator[HeldLock]:
    for key in redis.scan_iter(match=f"{PREFIX}{{*}}", count=1000):
        left = redis.pttl(key)
        if left > 0:  # it has not ended since
            yield HeldLock(key.decode()[len(PREFIX) + 1 : -1], left / 1000)
