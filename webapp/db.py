"""The database: one engine per process, one session, one way to write (@transactional), one to read fast (read_rows).

The only module that imports flask_sqlalchemy. SQLite runs in WAL and takes its write lock at BEGIN.
"""

import functools
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import structlog
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, MetaData, event
from sqlalchemy.engine import Connection, Row
from sqlalchemy.exc import DBAPIError, DisconnectionError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql import Executable

from webapp.config import Settings
from webapp.errors import Conflict, DiskFull, HoldfastError, Invalid, Stale, Unavailable

P = ParamSpec("P")
R = TypeVar("R")
log = structlog.get_logger("webapp.db")

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
PING_AFTER_IDLE = 5.0  # seconds: a busy pool pays no ping, a quiet one never hands out a dead connection
PRAGMAS = ("journal_mode=WAL", "foreign_keys=ON", "synchronous=FULL", "cache_size=-16000", "mmap_size=268435456")
READ_SQLITE = {"without_begin": True}


class Base(DeclarativeBase):
    """Declarative base of every table; constraints get their names here."""

    metadata = MetaData(naming_convention=NAMES)


db = SQLAlchemy(model_class=Base, disable_autonaming=True)


class Tally(threading.local):
    """Statements of the present thread since the last reset; the request log and Server-Timing read it."""

    count = 0
    seconds = 0.0

    def reset(self) -> None:
        self.count, self.seconds = 0, 0.0


tally = Tally()
before_writing: list[Callable[[], None]] = []  # run outside any transaction, before one begins (node leases)


def engine_options(settings: Settings) -> dict[str, Any]:
    """Pool, time-outs and TLS for `create_engine`. TLS and host options stand in the URL itself."""
    if settings.sqlite:
        return {"connect_args": {"timeout": settings.database_lock_timeout, "check_same_thread": False},
                "pool_size": settings.database_pool_size, "max_overflow": 8}  # fmt: skip
    options = {
        "statement_timeout": int(settings.database_statement_timeout * 1000),
        "lock_timeout": int(settings.database_lock_timeout * 1000),
        "idle_in_transaction_session_timeout": 60_000,
        "timezone": "UTC",
    }
    return {
        "pool_size": settings.database_pool_size,
        # A request may hold two connections, a session's and a hot read's: more than there are threads, or all wait.
        "max_overflow": max(settings.database_pool_size, settings.threads + settings.job_threads),
        "pool_timeout": 5,
        "pool_recycle": 1800,
        "skip_autocommit_rollback": True,
        "connect_args": {
            "connect_timeout": 3,
            "application_name": "holdfast",
            "keepalives_idle": 30,
            "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
        },
    }


def watch_engine(engine: Engine, slow_query: float) -> None:
    """Attach SQLite's pragmas and BEGIN, the ping of idle connections, the tally and the slow-query log."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "checkin", _note_checkin)
        event.listen(engine, "checkout", _ping_idle)

    @event.listens_for(engine, "before_cursor_execute")
    def start(conn: Connection, *_: Any) -> None:
        conn.info["started"] = time.perf_counter()

    @event.listens_for(engine, "after_cursor_execute")
    def finish(conn: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        spent = time.perf_counter() - conn.info["started"]
        tally.count += 1
        tally.seconds += spent
        if spent >= slow_query:
            log.warning("slow_query", seconds=round(spent, 3), statement=statement[:2000])

    os.register_at_fork(after_in_child=functools.partial(engine.dispose, close=False))


def _prepare_sqlite(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # the driver's own BEGIN is deferred and loses updates silently
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if not options.get("without_begin"):
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("write") else "BEGIN")


def _note_checkin(_connection: Any, entry: ConnectionPoolEntry) -> None:
    entry.info["idle_since"] = time.monotonic()


def _ping_idle(connection: Any, entry: ConnectionPoolEntry, _proxy: Any) -> None:
    if time.monotonic() - entry.info.get("idle_since", time.monotonic()) < PING_AFTER_IDLE:
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("select 1")
        connection.rollback()
    except Exception as error:
        raise DisconnectionError from error


def transactional(function: Callable[P, R]) -> Callable[P, R]:
    """Run the function in one transaction of `db.session`; one that is already open is joined, not nested.

    Commits at the outermost return, then runs what `after_commit` collected; rolls back on any error. Raises Stale
    for a lost race on a version, Conflict for a taken key, Unavailable when the database does not answer in time.
    """

    @functools.wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with transaction():
            return function(*args, **kwargs)

    return inside


@contextmanager
def transaction() -> Iterator[None]:
    """The block form of @transactional."""
    session = db.session()
    if session.info.get("writing"):
        yield
        return
    session.rollback()  # a read that is still open would hold an old snapshot, and on SQLite refuse the write lock
    callbacks: list[Callable[[], object]] = []
    undos: list[Callable[[], object]] = []
    try:
        with translated():
            for prepare in before_writing:
                prepare()
            session.info.update(writing=True, callbacks=callbacks, undos=undos)
            try:
                session.connection(execution_options={"write": True})
                yield
                session.commit()
            except BaseException:
                session.rollback()
                raise
            finally:
                for name in ("writing", "callbacks", "undos"):
                    session.info.pop(name)
    except Exception:
        for undo in undos:
            _try(undo)
        raise
    for callback in callbacks:
        callback()


def _try(undo: Callable[[], object]) -> None:
    try:
        undo()
    except (HoldfastError, SQLAlchemyError, OSError):  # the first error is the one to tell
        log.warning("undo_failed", exc_info=True)


def after_commit(callback: Callable[[], None]) -> None:
    """Run the callback once the present transaction has committed; never when it rolls back."""
    db.session().info["callbacks"].append(callback)


def after_rollback(undo: Callable[[], object]) -> None:
    """Run `undo` when the present transaction has rolled back: it takes back what was done outside the database."""
    db.session().info["undos"].append(undo)


def release_connection() -> None:
    """Give the session's connection back before something slow, such as a client's body. Ends an open read."""
    db.session.remove()


def read_rows(statement: Executable, parameters: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
    """All rows of a hot read: an autocommit connection, no session, no entity. Sees only committed data.

    A connection that died in the pool is replaced and the read repeated once. Raises Unavailable.
    """
    with translated():
        try:
            return _read(statement, parameters)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            return _read(statement, parameters)


def read_row(statement: Executable, parameters: Mapping[str, Any] | None = None) -> Row[Any] | None:
    """The first row of `read_rows`, or None."""
    rows = read_rows(statement, parameters)
    return rows[0] if rows else None


def _read(statement: Executable, parameters: Mapping[str, Any] | None) -> Sequence[Row[Any]]:
    with autocommitting(db.engine) as connection:
        return connection.execute(statement, parameters).all()


@contextmanager
def autocommitting(engine: Engine) -> Iterator[Connection]:
    """A connection on which each statement is a transaction of its own, and one round trip.

    The driver's own switch, not isolation_level="AUTOCOMMIT": to take that back costs a round trip more, and where
    the server has just died, the pool loses the connection's place for good.
    """
    if engine.dialect.name == "sqlite":
        with engine.connect().execution_options(**READ_SQLITE) as connection:
            yield connection
        return
    with engine.connect() as connection:
        driver: Any = connection.connection.dbapi_connection
        driver.autocommit = True
        try:
            yield connection
        finally:
            if not driver.closed:
                driver.autocommit = False


@contextmanager
def translated() -> Iterator[None]:
    """Turn the database's exceptions into ours where they have a meaning for the caller."""
    try:
        yield
    except (SQLAlchemyError, StaleDataError) as error:
        meaning = meaning_of(error)
        if meaning is None:
            raise
        raise meaning from error


def meaning_of(error: Exception) -> HoldfastError | None:
    """What a database exception means to a caller; None for a fault of our own."""
    if isinstance(error, StaleDataError):
        return Stale("Somebody changed this in the meantime. Load it again and repeat your change.")
    if isinstance(error, PoolTimeout):
        return Unavailable("The database is busy. Try again in a moment.", retry_after=1)
    state = getattr(getattr(error, "orig", None), "pgcode", None) or ""
    text = str(getattr(error, "orig", ""))
    if isinstance(error, IntegrityError) and (state == "23505" or "UNIQUE constraint" in text):
        return Conflict("This already exists.", code="taken")
    if state.startswith("22") or "integer too large" in text:
        return Invalid("A value is out of range.")
    if state in {"55P03", "40P01", "40001", "57014"} or "database is locked" in text:
        return Unavailable("Somebody else is changing the same thing. Try again in a moment.", retry_after=1)
    if state == "53100" or "disk is full" in text:
        return DiskFull("The database's disk is full. Nothing was stored; tell your administrator.")
    if isinstance(error, OperationalError) or getattr(error, "connection_invalidated", False):
        return Unavailable("The database does not answer. Try again in a moment.", retry_after=2)
    return None
