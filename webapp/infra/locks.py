"""Locks among processes and hosts: an owner's token, a time to live, and a fencing number that writes are checked by.

On Redis where there is one, else (or when it is away) PostgreSQL's advisory locks, on SQLite a row of `locks`.
"""

import random
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, Column, String, Table, literal_column, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from webapp.config import current_settings
from webapp.db import Base, db, translated
from webapp.errors import Conflict, Locked
from webapp.infra.ids import wall_ms
from webapp.infra.redis import Guarded
from webapp.infra.turns import Turns

locks = Table(
    "locks",
    Base.metadata,
    Column("name", String(200), primary_key=True),
    Column("token", String(32), nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
)
PREFIX = "holdfast:lock:"
POLL = (0.01, 0.05)  # seconds, growing, between two tries of the one thread that is first in line
TAKE = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  redis.call('DEL', KEYS[2])
  return 0
end
return redis.call('PTTL', KEYS[1])
"""
EXTEND = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
LEAVE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('LPUSH', KEYS[2], 1)
redis.call('PEXPIRE', KEYS[2], 2000)
return 1
"""


class Held(ABC):
    """A lock that is ours until its time is over. `fence` grows with every holder of the name."""

    def __init__(self, name: str, ttl: float) -> None:
        self.name, self.ttl, self.token = name, ttl, secrets.token_hex(8)
        self.fence = 0
        self._extended_at = time.monotonic()

    @abstractmethod
    def take(self, wait: float) -> bool:
        """Become the holder within `wait` seconds; False when somebody else keeps it."""

    @abstractmethod
    def prolong(self) -> bool:
        """Live another `ttl`; False when the lock is no longer ours."""

    @abstractmethod
    def leave(self) -> None:
        """Give it back at once."""

    def keep(self) -> None:
        """Extend when a third of the time is over; call it as often as you like. Raises Conflict when it is lost."""
        if time.monotonic() - self._extended_at < self.ttl / 3:
            return
        if not self.prolong():
            raise _lost(self.name)
        self._extended_at = time.monotonic()

    def guard(self) -> None:
        """Make the present transaction fail unless we are still the newest holder. Raises Conflict.

        It updates the lock's row, so a successor gets its fencing number only after this transaction has ended
        (M. Kleppmann, How to do distributed locking, 2016).
        """
        mine = (locks.c.name == self.name) & (locks.c.fence == self.fence)
        held = update(locks).where(mine).values(token=self.token).returning(locks.c.fence)
        if db.session.execute(held).first() is None:
            raise _lost(self.name)


@contextmanager
def locked(name: str, *, ttl: float = 30.0, wait: float = 5.0) -> Iterator[Held]:
    """Hold the named lock; call it outside transactions. Raises Locked when it is not free within `wait` seconds.

    A holder that dies frees it within `ttl` seconds, one that only sleeps cannot write any more: see Held.guard.
    """
    if db.session().info.get("writing"):
        raise RuntimeError(f"lock {name} is taken inside a transaction")
    held = _new(name, ttl)
    with translated():
        taken = held.take(wait)
    if not taken:
        raise Locked("Somebody else is working on this right now. Try again in a moment.", retry_after=max(1.0, wait))
    try:
        yield held
    finally:
        with suppress(SQLAlchemyError):  # it ends by itself
            held.leave()


def _new(name: str, ttl: float) -> Held:
    url = current_settings().redis_url
    return _of_database(name, ttl) if url is None else RedisLock(name, ttl, _redis(url.get_secret_value()))


def _of_database(name: str, ttl: float) -> Held:
    return RowLock(name, ttl) if db.engine.dialect.name == "sqlite" else AdvisoryLock(name, ttl)


@lru_cache(maxsize=8)
def _redis(url: str) -> Guarded:
    return Guarded(url)


def _lost(name: str) -> Conflict:
    return Conflict(f"The lock {name} went to somebody else meanwhile; nothing was written.", code="lock_lost")


def _issue(held: Held, *, only_free: bool) -> int | None:
    """The next fencing number of the name; None when `only_free` and the row's holder lives."""
    dialect = sqlite if db.engine.dialect.name == "sqlite" else postgresql
    moment = _moment()
    until = moment + int(held.ttl * 1000) if only_free else 0
    row = dialect.insert(locks).values(name=held.name, token=held.token, fence=1, expires_at_ms=until)
    issued = row.on_conflict_do_update(
        index_elements=["name"],
        set_={"token": held.token, "fence": locks.c.fence + 1, "expires_at_ms": row.excluded.expires_at_ms},
        where=(locks.c.expires_at_ms < moment) if only_free else None,
    ).returning(locks.c.fence)
    with db.engine.connect().execution_options(write=True) as connection, connection.begin():
        fence: int | None = connection.scalar(issued)
        return fence


def _moment() -> Any:
    """Milliseconds by the one clock that all hosts share: the database server's."""
    if db.engine.dialect.name == "sqlite":
        return wall_ms()
    return literal_column("(extract(epoch from clock_timestamp()) * 1000)::bigint", BigInteger)


_turns = Turns()


class RowLock(Held):
    """A row with an end, by the database's clock. Threads of a process stand in line; the first asks the row."""

    def take(self, wait: float) -> bool:
        deadline = time.monotonic() + wait
        if not _turns.come(self.name, wait):
            return False
        try:
            return self._ask(deadline)
        finally:
            _turns.leave(self.name)

    def _ask(self, deadline: float) -> bool:
        pause = POLL[0]
        while (fence := _issue(self, only_free=True)) is None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
            pause = min(pause * 1.5, POLL[1])
        self.fence = fence
        return True

    def prolong(self) -> bool:
        return self._end_in(int(self.ttl * 1000))

    def leave(self) -> None:
        self._end_in(-1)

    def _end_in(self, milliseconds: int) -> bool:
        mine = (locks.c.name == self.name) & (locks.c.fence == self.fence)
        later = update(locks).where(mine).values(expires_at_ms=_moment() + milliseconds).returning(locks.c.fence)
        with db.engine.connect().execution_options(write=True) as connection, connection.begin():
            return connection.scalar(later) is not None


class AdvisoryLock(Held):
    """PostgreSQL's session lock on a connection of its own: first come, first served.

    The server ends a session that is idle for `ttl` seconds, and with it the lock of a holder that sleeps.
    """

    def __init__(self, name: str, ttl: float) -> None:
        super().__init__(name, ttl)
        self._connection: Connection | None = None

    def take(self, wait: float) -> bool:
        connection = db.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        connection.detach()  # it is closed afterwards, not put back into the pool
        try:
            connection.execute(text(f"SET idle_session_timeout = {int(self.ttl * 1000)}"))
            connection.execute(text(f"SET lock_timeout = {max(1, int(wait * 1000))}"))
            connection.execute(text("SELECT pg_advisory_lock(hashtextextended(:name, 0))"), {"name": self.name})
        except SQLAlchemyError as error:
            connection.close()
            if getattr(getattr(error, "orig", None), "pgcode", None) == "55P03":
                return False
            raise
        self._connection = connection
        self.fence = _issue(self, only_free=False) or 0
        return True

    def prolong(self) -> bool:
        try:
            assert self._connection is not None  # noqa: S101
            self._connection.execute(text("SELECT 1"))
        except SQLAlchemyError:
            return False
        return True

    def leave(self) -> None:
        if self._connection is not None:
            with self._connection as connection:  # closed whatever happens: the end of a session ends its locks, too
                connection.execute(text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))"), {"name": self.name})


class RedisLock(Held):
    """A key with an end; who waits longest is woken first. Without Redis the database's lock serves; fences tell the
    holders of the two apart."""

    def __init__(self, name: str, ttl: float, redis: Guarded) -> None:
        super().__init__(name, ttl)
        self._redis = redis
        self._keys = (f"{PREFIX}{{{name}}}", f"{PREFIX}{{{name}}}:wake")
        self._instead: Held | None = None

    def take(self, wait: float) -> bool:
        deadline = time.monotonic() + wait
        while True:
            left = self._redis.try_(lambda redis: redis.eval(TAKE, 2, *self._keys, self.token, int(self.ttl * 1000)))
            if left is None:
                self._instead = _of_database(self.name, self.ttl)
                taken = self._instead.take(max(0.0, deadline - time.monotonic()))
                self.fence, self.token = self._instead.fence, self._instead.token
                return taken
            if left == 0:
                self.fence = _issue(self, only_free=False) or 0
                return True
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            pause = max(0.01, min(remaining, left / 1000, 0.5))
            self._redis.try_(self._nap(pause))

    def _nap(self, seconds: float) -> Callable[[Any], bool]:
        """Sleep until somebody leaves, or so long: Redis wakes who waits longest."""
        return lambda redis: bool(redis.blpop([self._keys[1]], timeout=seconds)) or True

    def prolong(self) -> bool:
        if self._instead:
            return self._instead.prolong()
        answer: Any = self._redis.try_(
            lambda redis: redis.eval(EXTEND, 1, self._keys[0], self.token, int(self.ttl * 1000))
        )
        return answer is None or bool(answer)  # without an answer the fence decides at the write

    def leave(self) -> None:
        if self._instead:
            self._instead.leave()
        else:
            self._redis.try_(lambda redis: redis.eval(LEAVE, 2, *self._keys, self.token))
