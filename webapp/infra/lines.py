"""For changes made thousands of times a second: a connection that a thread keeps, and statements compiled once.

Taking a connection from the pool and SQLAlchemy's way through one execution cost twice what PostgreSQL needs for a row.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import PoolProxiedConnection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql.dml import ReturningUpdate

from webapp.db import autocommitting, db, translated
from webapp.errors import Unavailable


class _Kept(threading.local):
    """Whether this thread keeps a connection, and the connection."""

    keeps = False
    line: PoolProxiedConnection | None = None


_kept = _Kept()
_compiled: dict[int, tuple[str, dict[str, Any]]] = {}


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
    sql, constants = _text_of(statement)
    try:
        with _line().cursor() as cursor:
            cursor.execute(sql, {**constants, **values})
            return list(cursor.fetchall())
    except (driver.OperationalError, driver.InterfaceError, SQLAlchemyError) as error:
        _drop()
        raise Unavailable("The database does not answer. Try again in a moment.", retry_after=2) from error


def _text_of(statement: ReturningUpdate[Any]) -> tuple[str, dict[str, Any]]:
    found = _compiled.get(id(statement))
    if found is None:
        compiled = statement.compile(dialect=db.engine.dialect)
        found = _compiled[id(statement)] = (str(compiled), dict(compiled.params))
    return found


def _line() -> Any:
    if _kept.line is None:
        _kept.line = db.engine.raw_connection()
        _kept.line.detach()  # for as long as the thread lives, so it is not the pool's
        _kept.line.dbapi_connection.autocommit = True  # type: ignore[union-attr]
    return _kept.line.dbapi_connection


def _drop() -> None:
    line, _kept.line = _kept.line, None
    if line is not None:
        line.close()
