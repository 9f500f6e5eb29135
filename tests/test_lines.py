"""Statements on a connection that a thread keeps: prepared again when the connection or the table is another."""

from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import text

from tests.faults.fixtures import kinds, queue, row_of
from webapp.db import db
from webapp.errors import Unavailable
from webapp.infra import lines
from webapp.services import jobs

pytestmark = pytest.mark.usefixtures("kinds")
__all__ = ["kinds"]


@pytest.fixture(autouse=True)
def kept(app: Flask) -> Iterator[None]:
    if db.engine.dialect.name == "sqlite":
        pytest.skip("SQLite keeps no line")
    with lines.keeping_a_line():
        yield


def run_one() -> str:
    (job,) = queue("test.effect")
    started = jobs.start_job(row_of(job).id)
    assert started is not None
    assert jobs.finish_job(started, {"a": "b'\\\\%s"})
    assert row_of(job).result == {"a": "b'\\\\%s"}
    return str(row_of(job).state)


def elsewhere(statement: str) -> None:
    """On a connection of its own."""
    with db.engine.connect() as line, line.begin():
        line.execute(text(statement))


def test_a_killed_connection_is_replaced_and_its_statements_are_prepared_again() -> None:
    assert run_one() == "done"
    elsewhere(f"SELECT pg_terminate_backend({lines._line().info.backend_pid})")
    with pytest.raises(Unavailable):
        run_one()
    assert run_one() == "done"


def test_a_table_that_was_altered_meanwhile_costs_one_try() -> None:
    assert run_one() == "done"
    elsewhere("ALTER TABLE jobs ALTER COLUMN name TYPE varchar(61)")
    with pytest.raises(Unavailable):
        run_one()
    assert run_one() == "done"
    elsewhere("ALTER TABLE jobs ALTER COLUMN name TYPE varchar(60)")


def test_a_plan_made_for_an_empty_table_finds_a_row_by_its_key() -> None:
    assert run_one() == "done"
    with lines._line().cursor() as cursor:
        cursor.execute("SELECT name FROM pg_prepared_statements")
        names = [row[0] for row in cursor.fetchall()]
        assert len(names) == 2
        for name in names:
            known = next(each for each in lines._statements.values() if each.name == name)
            cursor.execute(f"EXPLAIN {known.execution}", {**known.constants, **dict.fromkeys(("ids", "begun"), None)})
            assert "pk_jobs" in str(cursor.fetchall())
