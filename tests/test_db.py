"""The transaction, the fast reads, and what the database's exceptions mean."""

import sqlite3
import threading
from collections.abc import Callable

import psycopg2
import pytest
from flask import Flask
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import StaleDataError

from webapp import errors
from webapp.db import after_commit, db, meaning_of, read_row, read_rows, tally, transaction, transactional, translated
from webapp.models.users import User, live_user
from webapp.policies import Actor


class PsycopgError(Exception):
    def __init__(self, code: str) -> None:
        super().__init__("no matter")
        self.pgcode = code


def rename(actor: Actor, name: str) -> None:
    user = db.session.scalar(live_user(actor.id))
    assert user is not None
    user.name = name


def name_of(actor: Actor) -> str:
    row = read_row(live_user(actor.id).with_only_columns(User.name))
    assert row is not None
    return str(row.name)


def test_a_transaction_commits_as_a_whole(app: Flask, member: Actor) -> None:
    with transaction():
        rename(member, "Both")
        assert name_of(member) != "Both"
    assert name_of(member) == "Both"


def test_an_error_takes_everything_back(app: Flask, member: Actor) -> None:
    before = name_of(member)

    @transactional
    def fail() -> None:
        rename(member, "Lost")
        db.session.flush()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert name_of(member) == before
    with transaction():
        rename(member, "Kept")
    assert name_of(member) == "Kept"


def test_a_nested_service_joins_and_falls_with_the_outer_one(app: Flask, member: Actor) -> None:
    @transactional
    def inner() -> None:
        rename(member, "Inner")

    @transactional
    def outer() -> None:
        inner()
        raise errors.Conflict

    before = name_of(member)
    with pytest.raises(errors.Conflict):
        outer()
    assert name_of(member) == before


def test_what_follows_a_commit_follows_only_a_commit(app: Flask, member: Actor) -> None:
    seen: list[str] = []

    @transactional
    def fail() -> None:
        after_commit(lambda: seen.append("never"))
        raise errors.Missing

    with transaction():
        after_commit(lambda: seen.append(name_of(member)))
        rename(member, "Seen")
    assert seen == ["Seen"]
    with pytest.raises(errors.Missing):
        fail()
    assert seen == ["Seen"]


def test_two_who_change_the_same_version_do_not_both_win(app: Flask, member: Actor) -> None:
    """One of them waits on the lock and then finds another version."""
    outcomes: list[str] = []
    both_read = threading.Barrier(2, timeout=30)

    def change(name: str) -> None:
        with app.app_context():
            try:
                user = db.session.scalar(live_user(member.id))
                version = user.version  # type: ignore[union-attr]
                db.session.rollback()
                both_read.wait()
                with transaction():
                    user = db.session.scalar(live_user(member.id))
                    if user.version != version:  # type: ignore[union-attr]
                        raise errors.Stale
                    user.name = name  # type: ignore[union-attr]
                outcomes.append("won")
            except (errors.Stale, errors.Unavailable):
                outcomes.append("lost")

    threads = [threading.Thread(target=change, args=(name,)) for name in ("A", "B")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["lost", "won"]


def test_reads_see_no_uncommitted_data_and_hold_no_transaction(app: Flask, member: Actor) -> None:
    assert read_rows(text("SELECT 1 AS one"))[0].one == 1
    assert read_row(text("SELECT 1 AS one WHERE 1 = 0")) is None
    assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_statements_are_counted_by_thread(app: Flask, member: Actor) -> None:
    tally.reset()
    for _ in range(3):
        read_row(text("SELECT 1"))
    assert tally.count == 3
    assert tally.seconds > 0
    counts: list[int] = []
    thread = threading.Thread(target=lambda: counts.append(tally.count))
    thread.start()
    thread.join()
    assert counts == [0]


@pytest.fixture
def on_postgresql(app: Flask) -> None:
    if db.engine.dialect.name != "postgresql":
        pytest.skip("about PostgreSQL")


def hang_up_on_everybody() -> None:
    """End all connections of the pool at the server's side, as a fail-over does."""
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    outside = psycopg2.connect(db.engine.url.set(drivername="postgresql").render_as_string(hide_password=False))
    outside.autocommit = True
    with outside.cursor() as cursor:
        cursor.execute(f"SELECT pg_terminate_backend(pid, 5000) {others}")
    outside.close()


@pytest.mark.usefixtures("on_postgresql")
def test_a_read_on_a_connection_that_died_is_repeated(member: Actor) -> None:
    hang_up_on_everybody()
    assert name_of(member) == "Mira"


@pytest.mark.usefixtures("on_postgresql")
def test_a_server_that_dies_right_after_its_answer_costs_no_error_and_no_place_in_the_pool(member: Actor) -> None:
    db.session.remove()
    assert name_of(member) == "Mira"  # the connection has been in use before
    places = db.engine.pool.checkedout()  # type: ignore[attr-defined]

    def die(*_: object) -> None:
        hang_up_on_everybody()

    event.listen(db.engine, "after_cursor_execute", die)
    try:
        assert name_of(member) == "Mira"
    finally:
        event.remove(db.engine, "after_cursor_execute", die)
    assert name_of(member) == "Mira"
    assert db.engine.pool.checkedout() == places  # type: ignore[attr-defined]


@pytest.mark.usefixtures("on_postgresql")
def test_a_connection_that_was_idle_is_asked_before_it_is_used(member: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.db.PING_AFTER_IDLE", 0)
    db.session.remove()
    hang_up_on_everybody()
    with transaction():
        rename(member, "Alive")
    assert name_of(member) == "Alive"


@pytest.mark.usefixtures("on_postgresql")
def test_a_statement_that_takes_too_long_is_ended() -> None:
    limits = read_row(text("SELECT current_setting('statement_timeout') AS s, current_setting('lock_timeout') AS l"))
    assert limits is not None
    assert (limits.s, limits.l) == ("15s", "5s")
    with db.engine.connect() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 50"))
        with pytest.raises(errors.Unavailable), translated():
            connection.execute(text("SELECT pg_sleep(5)"))


def test_sqlite_writers_take_the_lock_at_once_and_readers_go_on(app: Flask, member: Actor) -> None:
    if db.engine.dialect.name != "sqlite":
        pytest.skip("about SQLite")
    with transaction():
        rename(member, "Writing")
        db.session.flush()
        assert name_of(member) != "Writing"
        other = sqlite3.connect(str(db.engine.url.database), timeout=0.05)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()
    mode = read_row(text("PRAGMA journal_mode"))
    keys = read_row(text("PRAGMA foreign_keys"))
    assert mode is not None
    assert keys is not None
    assert (mode[0], keys[0]) == ("wal", 1)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: StaleDataError("x"), errors.Stale),
        (PoolTimeout, errors.Unavailable),
        (lambda: IntegrityError("s", {}, Exception("UNIQUE constraint failed: a.b")), errors.Conflict),
        (lambda: IntegrityError("s", {}, PsycopgError("23505")), errors.Conflict),
        (lambda: IntegrityError("s", {}, PsycopgError("23503")), None),
        (lambda: OperationalError("s", {}, PsycopgError("55P03")), errors.Unavailable),
        (lambda: OperationalError("s", {}, PsycopgError("57014")), errors.Unavailable),
        (lambda: OperationalError("s", {}, PsycopgError("40P01")), errors.Unavailable),
        (lambda: OperationalError("s", {}, Exception("database is locked")), errors.Unavailable),
        (lambda: OperationalError("s", {}, Exception("server closed the connection")), errors.Unavailable),
        (lambda: ProgrammingError("s", {}, PsycopgError("22003")), errors.Invalid),
        (lambda: ProgrammingError("s", {}, PsycopgError("42601")), None),
    ],
)
def test_each_exception_of_the_database_has_a_meaning_or_is_our_fault(
    make: Callable[[], Exception], kind: type[errors.HoldfastError] | None
) -> None:
    meaning = meaning_of(make())
    assert (None if meaning is None else type(meaning)) is kind
