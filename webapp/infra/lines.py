"""For changes made thousands of times a second: a connection that a thread keeps, and statements prepared once.

Taking a connection from the pool and SQLAlchemy's way through one execution cost twice what PostgreSQL needs for a row,
and to parse and plan a statement costs it as much again.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import PoolProxiedConnection
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql.dml import ReturningUpdate

from webapp.db import autocommitting, db, translated
from webapp.errors import Unavailable

# A plan that was made while a table was empty lives on: it must not be one that reads the whole table.
PLANS = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off"


class _Kept(threading.local):
    """Whether this thread keeps a connection, the connection, and the names of what is prepared on it."""

    keeps = False
    line: PoolProxiedConnection | None = None
    prepared: frozenset[str] = frozenset()


class _Prepared(NamedTuple):
    name: str
    preparation: str
    execution: str  # as the driver takes it, with %(name)s
    constants: dict[str, Any]


_kept = _Kept()
_statements: dict[int, _Prepared] = {}


@contextmanager
def keeping_a_line() -> Iterator[None]:
    """Inside the block this thread's changes share one connection, where the database is PostgreSQL."""
    _kept.keeps = db.engine.dialect.name == "postgresql"
    try:
        yield
    finally:
        _kept.keeps = False
        _drop()


def change(statement: ReturningUpdate[Any], values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
    """Execute one statement, its own transaction, and return its rows. It must live as long as the process.

    On a kept connection values go in and come out as the driver has them. Raises Unavailable.
    """
    if _kept.keeps:
        return _change_kept(statement, values)
    with translated(), autocommitting(db.engine) as line:
        return line.execute(statement, values).all()


def _change_kept(statement: ReturningUpdate[Any], values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
    driver = db.engine.dialect.loaded_dbapi
    known = _statements.get(id(statement)) or _statements.setdefault(id(statement), _compiled(statement))
    try:
        with _line().cursor() as cursor:
            if known.name not in _kept.prepared:
                cursor.execute(known.preparation)
                _kept.prepared |= {known.name}
            cursor.execute(known.execution, {**known.constants, **values})
            return list(cursor.fetchall())
    except (driver.OperationalError, driver.InterfaceError, driver.NotSupportedError, SQLAlchemyError) as error:
        _drop()  # "not supported" is a prepared statement whose table has changed since
        raise Unavailable("The database does not answer. Try again in a moment.", retry_after=2) from error


def _compiled(statement: ReturningUpdate[Any]) -> _Prepared:
    dialect = postgresql.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
    compiled = statement.compile(dialect=dialect)
    name = f"change_{id(statement)}"
    places = ", ".join(f"%({place})s" for place in compiled.positiontup or ())
    return _Prepared(name, f"PREPARE {name} AS {compiled}", f"EXECUTE {name} ({places})", dict(compiled.params))


def _line() -> Any:
    if _kept.line is None:
        _kept.line = db.engine.raw_connection()
        _kept.line.detach()  # for as long as the thread lives, so it is not the pool's
        driver: Any = _kept.line.dbapi_connection
        driver.autocommit = True
        with driver.cursor() as cursor:
            cursor.execute(PLANS)
    return _kept.line.dbapi_connection


def _drop() -> None:
    line, _kept.line, _kept.prepared = _kept.line, None, frozenset()
    if line is not None:
        line.close()
