"""Snowflake ids: 41 bits of milliseconds since 2024-01-01, 10 bits of node, 12 bits of sequence.

The node number is leased per process in node_leases, so two processes never share one; see lease_node. A long-lived
process also says in its row what it is, and signs it again and again; see appear.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Column, Integer, Row, String, Table, delete, insert, inspect, select, update
from sqlalchemy.exc import IntegrityError

from webapp.config import VERSION, ConfigurationError, current_settings
from webapp.db import Base, before_writing, db, translated
from webapp.errors import Unavailable

EPOCH_MS = 1_704_067_200_000
NODES, SEQUENCES = 1024, 4096
LEASE_MS = 600_000
MAX_WAIT_MS = 2_000

node_leases = Table(
    "node_leases",
    Base.metadata,
    Column("node", Integer, primary_key=True, autoincrement=False),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("leased_until_ms", BigInteger, nullable=False),
    Column("used_until_ms", BigInteger, nullable=False),
    Column("role", String(20), nullable=False, server_default=""),  # empty: a command, which lives for moments
    Column("version", String(20), nullable=False, server_default=""),
    Column("threads", Integer, nullable=False, server_default="0"),
    Column("started_at_ms", BigInteger, nullable=False, server_default="0"),
    Column("seen_at_ms", BigInteger, nullable=False, server_default="0"),
)


def wall_ms() -> int:
    """Milliseconds of the wall clock since the Unix epoch."""
    return time.time_ns() // 1_000_000


class Snowflakes:
    """Ids of one node between `start_ms` and `end_ms`. Thread-safe; never repeats, whatever the clock does.

    A clock that steps back is waited for up to two seconds, then refused with Unavailable.
    """

    def __init__(self, node: int, start_ms: int, end_ms: int, clock: Callable[[], int] = wall_ms) -> None:
        if not 0 <= node < NODES:
            raise ValueError(f"node must be 0 to {NODES - 1}")
        self.node, self.end_ms, self._clock = node, end_ms, clock
        self._last, self._sequence = start_ms, SEQUENCES - 1
        self._lock = threading.Lock()

    @property
    def last_ms(self) -> int:
        """The millisecond of the newest id."""
        return self._last

    def next(self) -> int:
        """A new id, greater than every earlier one of this node."""
        with self._lock:
            moment = self._clock()
            if moment <= self._last and self._sequence < SEQUENCES - 1 and self._last - moment <= MAX_WAIT_MS:
                moment, self._sequence = self._last, self._sequence + 1
            elif moment > self._last:
                self._sequence = 0
            else:
                moment, self._sequence = self._wait_past(self._last), 0
            if moment > self.end_ms:
                raise Unavailable("The lease of this process's id node is over.", retry_after=1)
            self._last = moment
            return (moment - EPOCH_MS) << 22 | self.node << 12 | self._sequence

    def reserve(self, count: int) -> int:
        """The first of `count` new ids that one statement gives out by itself; see nth_id."""
        with self._lock:
            moment = max(self._clock(), self._last) + 1
            last = moment + max(count - 1, 0) // SEQUENCES
            if last > self.end_ms:
                raise Unavailable("The lease of this process's id node is over.", retry_after=1)
            self._last, self._sequence = last, SEQUENCES - 1
            return (moment - EPOCH_MS) << 22 | self.node << 12

    def _wait_past(self, last: int) -> int:
        deadline = time.monotonic() + MAX_WAIT_MS / 1000
        while (moment := self._clock()) <= last:
            if time.monotonic() >= deadline:
                raise Unavailable("The clock stepped back; no new ids until it catches up.", retry_after=2)
            time.sleep(0.0002)
        return moment


class _Role(NamedTuple):
    """What a process is. A command has no name."""

    name: str
    threads: int
    started_ms: int


NOBODY = _Role("", 0, 0)


class _Process:
    """The lease and the role of this process. Forked children start without."""

    flakes: Snowflakes | None = None
    token = 0
    lock = threading.Lock()
    role = NOBODY
    signed = 0.0  # by the monotonic clock
    signing = threading.Lock()


def _forget() -> None:
    _Process.flakes, _Process.lock = None, threading.Lock()
    _Process.role, _Process.signing = NOBODY, threading.Lock()


os.register_at_fork(after_in_child=_forget)


def next_id() -> int:
    """A new id of this process. Raises Unavailable when the clock stepped back or no node could be leased."""
    if _Process.flakes is None:
        ensure_lease()
    assert _Process.flakes is not None  # noqa: S101
    return _Process.flakes.next()


def reserve_ids(count: int) -> int:
    """The first of `count` new ids of this process, for rows that one statement inserts. Raises Unavailable."""
    if _Process.flakes is None:
        ensure_lease()
    assert _Process.flakes is not None  # noqa: S101
    return _Process.flakes.reserve(count)


def nth_id(first: int, number: Any) -> Any:
    """The id of this number, from 0, among reserved ones; `number` may be a column."""
    return first + (number // SEQUENCES) * (1 << 22) + number % SEQUENCES


def first_id_at(moment: datetime) -> int:
    """The lowest id that can be made at this moment: ids begin with their time. Never below 0, never beyond 63 bits."""
    return max(0, min(2**63 - 1, (int(moment.timestamp() * 1000) - EPOCH_MS) << 22))


def ensure_lease() -> None:
    """Lease a node, or extend the lease when half of it is over. Opens a short transaction of its own."""
    flakes = _Process.flakes
    if flakes and wall_ms() < flakes.end_ms - LEASE_MS // 2:
        return
    with _Process.lock:
        flakes = _Process.flakes
        if flakes and wall_ms() < flakes.end_ms - LEASE_MS // 2:
            return
        if flakes is None or not _extend(flakes):
            _Process.flakes = lease_node()


before_writing.append(ensure_lease)


def lease_node() -> Snowflakes:
    """Lease a free node for ten minutes: the first whose lease is over and whose newest possible id lies in the past.

    `used_until_ms` bounds every id a former holder can have made, so a clock behind that holder's never repeats one.
    """
    token = int.from_bytes(os.urandom(7), "big")
    for _ in range(50):
        moment = wall_ms()
        with db.engine.connect().execution_options(write=True) as connection, connection.begin():
            held = {row.node: row for row in connection.execute(select(node_leases))}
            node = next((n for n in range(NODES) if n not in held or _free(held[n], moment)), None)
            if node is None:
                raise Unavailable("All 1,024 id nodes are leased.", retry_after=5)
            row = {"host": socket.gethostname(), "pid": os.getpid(), "token": token,
                   "leased_until_ms": moment + LEASE_MS, "used_until_ms": moment + LEASE_MS, **_sign()}  # fmt: skip
            try:
                if node not in held:
                    connection.execute(insert(node_leases).values(node=node, **row))
                    won = 1
                else:
                    same = (node_leases.c.node == node) & (node_leases.c.token == held[node].token)
                    won = connection.execute(update(node_leases).where(same).values(row)).rowcount
            except IntegrityError:
                won = 0
        if won:
            _Process.token = token
            start = held[node].used_until_ms if node in held else moment - 1
            return Snowflakes(node, start, moment + LEASE_MS)
    raise Unavailable("No id node could be leased.", retry_after=1)


def _free(row: Row[Any], moment: int) -> bool:
    return bool(max(row.leased_until_ms, row.used_until_ms) < moment)


def _extend(flakes: Snowflakes) -> bool:
    until = wall_ms() + LEASE_MS
    if until < flakes.end_ms:  # the clock stepped back: the longer promise stands
        return True
    mine = (node_leases.c.node == flakes.node) & (node_leases.c.token == _Process.token)
    with db.engine.connect().execution_options(write=True) as connection, connection.begin():
        values = {"leased_until_ms": until, "used_until_ms": until}
        if not connection.execute(update(node_leases).where(mine).values(values)).rowcount:
            return False
    flakes.end_ms = until
    return True


def refuse_other_hosts() -> None:
    """In production, raise ConfigurationError when a live process of another host uses this SQLite file.

    SQLite's locks do not hold over network file systems: two hosts on one file would damage it.
    """
    settings = current_settings()
    if not (settings.production and settings.sqlite) or not inspect(db.engine).has_table(node_leases.name):
        return
    alive = (node_leases.c.leased_until_ms > wall_ms()) & (node_leases.c.host != socket.gethostname())
    with db.engine.connect() as connection:
        host = connection.scalar(select(node_leases.c.host).where(alive).limit(1))
    if host:
        raise ConfigurationError([f"DATABASE_URL: {host} is using this SQLite file; use PostgreSQL for several hosts"])


def forget_leases(older: timedelta) -> int:
    """Remove the rows of nodes that nobody has held for so long; returns how many.

    They hold the newest id that a node can have made, so `older` is how far a clock may step back without repeats.
    """
    latest = wall_ms() - int(older.total_seconds() * 1000)
    old = (node_leases.c.leased_until_ms < latest) & (node_leases.c.used_until_ms < latest)
    with db.engine.connect().execution_options(write=True) as connection, connection.begin():
        return int(connection.execute(delete(node_leases).where(old)).rowcount)


def release_node() -> None:
    """Give the node back at a clean exit: the next process can have it at once. Needs an application context."""
    with _Process.signing:
        _Process.role = NOBODY
        flakes, _Process.flakes = _Process.flakes, None
        if flakes is None:
            return
        mine = (node_leases.c.node == flakes.node) & (node_leases.c.token == _Process.token)
        values = {"leased_until_ms": 0, "used_until_ms": flakes.last_ms, **_sign()}
        with db.engine.connect().execution_options(write=True) as connection, connection.begin():
            connection.execute(update(node_leases).where(mine).values(values))


def appear(role: str, threads: int) -> None:
    """From now on sign() tells that this process lives, as what, since now, with so many threads that work."""
    _Process.role, _Process.signed = _Role(role, threads, wall_ms()), 0.0


def sign() -> None:
    """Write that this process lives, when its last sign is old enough; a command does not. Raises Unavailable."""
    with _Process.signing:
        every = current_settings().sign_every
        if not _Process.role.name or (_Process.signed and time.monotonic() - _Process.signed < every):
            return
        with translated():
            if not _written():  # somebody took the lease of a process that slept
                _Process.flakes = None
                ensure_lease()
        _Process.signed = time.monotonic()


def _written() -> bool:
    ensure_lease()
    assert _Process.flakes is not None  # noqa: S101
    mine = (node_leases.c.node == _Process.flakes.node) & (node_leases.c.token == _Process.token)
    with db.engine.connect().execution_options(write=True) as connection, connection.begin():
        return bool(connection.execute(update(node_leases).where(mine).values(_sign())).rowcount)


def _sign() -> dict[str, Any]:
    role = _Process.role
    return {"role": role.name, "threads": role.threads, "version": VERSION, "started_at_ms": role.started_ms,
            "seen_at_ms": wall_ms() if role.name else 0}  # fmt: skip
