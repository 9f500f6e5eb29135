"""Tampering with the audit trail shows: what triggers refuse, and what the chain of seals names when they are gone."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from tasks.sealer import Sealer
from tests.conftest import disarmed
from webapp.db import db, transaction
from webapp.infra.clock import now
from webapp.infra.ids import next_id
from webapp.models.audit import AuditChain, AuditEntry, AuditSeal
from webapp.policies import Actor, system_actor
from webapp.services import seals
from webapp.services.events import Target, record
from webapp.services.jobs import Hopeless

LONG_AGO = 3_600_000 << 22


class Quiet:
    """A job that nobody watches."""

    def progress(self, percent: float) -> None: ...


def deeds(actor: Actor, count: int) -> None:
    with transaction():
        for number in range(count):
            record(actor, "user.changed", Target("user", actor.uuid, "Ä"), {"quota": (number, number + 1.5)})


def entry_at(position: int) -> int:
    found = db.session.scalar(select(AuditSeal.entry_id).where(AuditSeal.position == position))
    assert found is not None
    return found


def by_force(*statements: Any) -> None:
    """What somebody does who owns the tables, or the file."""
    db.session.rollback()
    with db.engine.connect().execution_options(write=True) as connection, connection.begin(), disarmed(connection):
        for statement in statements:
            connection.execute(statement)


def faults() -> list[tuple[int, str]]:
    return [(fault.position, fault.what) for fault in seals.verify_chain().named]


@pytest.fixture
def trail(member: Actor) -> int:
    """A sealed trail; how many links it has."""
    deeds(member, 9)
    sealed = seals.seal_entries()
    assert sealed >= 9
    return sealed


def test_every_entry_is_sealed_once_and_the_whole_is_whole(member: Actor, trail: int) -> None:
    assert seals.seal_entries() == 0
    deeds(member, 3)
    assert seals.seal_entries() == 3
    check = seals.verify_chain()
    assert (check.links, check.faults) == (trail + 3, 0)
    assert check.head.startswith(f"{trail + 3}:")
    assert seals.verify_chain(check.head).faults == 0


def test_many_are_sealed_and_checked_in_batches(member: Actor, trail: int, monkeypatch: pytest.MonkeyPatch) -> None:
    deeds(member, 2 * seals.BATCH + 7)
    assert seals.seal_entries() == 2 * seals.BATCH + 7
    by_force(update(AuditEntry).where(AuditEntry.id == entry_at(seals.BATCH + 1)).values(event="user.created"))
    assert faults() == [(seals.BATCH + 1, "was changed")]


@pytest.mark.parametrize("table", ["audit_entries", "audit_seals"])
@pytest.mark.parametrize("deed", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {}"])
def test_the_database_refuses_to_change_what_is_written(app: Flask, trail: int, table: str, deed: str) -> None:
    if deed.startswith("TRUNCATE") and db.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no TRUNCATE")
    column = "event" if table == "audit_entries" else "position"
    with pytest.raises(DBAPIError, match="append-only"), db.engine.begin() as connection:
        connection.execute(text(deed.format(table, column, column)))
    assert faults() == []


@pytest.mark.parametrize(
    ("column", "value"),
    [("event", "file.created"), ("actor_id", 1), ("actor_id", None), ("changes", {"quota": [0, 1]}),
     ("request_id", "x"), ("created_at", "now"), ("target_uuid", None)],
)  # fmt: skip
def test_an_entry_that_was_changed_is_named(trail: int, column: str, value: Any) -> None:
    changed = {column: now() if value == "now" else value}
    by_force(update(AuditEntry).where(AuditEntry.id == entry_at(4)).values(changed))
    assert faults() == [(4, "was changed")]


def test_an_entry_that_was_removed_is_named_whether_its_seal_is_there_or_not(trail: int) -> None:
    third, fifth = entry_at(3), entry_at(5)
    by_force(
        delete(AuditEntry).where(AuditEntry.id.in_((third, fifth))), delete(AuditSeal).where(AuditSeal.position == 5)
    )
    assert faults() == [(3, "was removed"), (5, "and its seal are missing")]


def test_a_changed_seal_and_swapped_entries_show(trail: int) -> None:
    by_force(update(AuditSeal).where(AuditSeal.position == 7).values(hash=bytes(32)))
    assert faults() == [(7, "was changed"), (8, "was changed")]


def test_an_end_that_was_cut_off_shows_against_a_head_kept_elsewhere(member: Actor, trail: int) -> None:
    head = seals.verify_chain().head
    last = entry_at(trail)
    by_force(delete(AuditEntry).where(AuditEntry.id == last), delete(AuditSeal).where(AuditSeal.position == trail))
    assert seals.verify_chain().faults == 0, "nothing in the database tells"
    assert seals.verify_chain(head).faults == 1
    deeds(member, 1)
    seals.seal_entries()
    assert seals.verify_chain(head).faults == 1, "another entry in its place has another hash"


def test_who_lacks_the_keys_of_the_vault_makes_no_link(trail: int) -> None:
    """The key lies there encrypted: a chain made anew under another one is not ours."""
    with db.engine.connect() as connection:
        stored = connection.execute(text("SELECT key FROM audit_chain")).scalar_one()
    key = db.session.scalar(select(AuditChain.key))
    assert key is not None
    assert len(bytes.fromhex(key)) == 32
    assert bytes.fromhex(key) not in bytes(stored)
    assert key.encode() not in bytes(stored)


def test_an_entry_that_commits_late_is_sealed_though_later_ones_are(member: Actor, trail: int) -> None:
    row = {"created_at": now(), "event": "user.changed", "actor_id": member.id, "target_type": "user", "changes": {}}
    first = entry_at(1)
    with transaction():
        db.session.execute(insert(AuditEntry).values(id=first - 1, **row))
        db.session.execute(insert(AuditEntry).values(id=first - LONG_AGO, **row))
    assert seals.seal_entries() == 1
    assert seals.check_nightly(Quiet())["links"] == trail + 2, "the nightly check finds those of any age"


def test_sealers_that_work_at_once_make_one_chain(app: Flask, member: Actor, trail: int) -> None:
    deeds(member, 40)
    start = Barrier(8)

    def seal() -> int:
        with app.app_context():
            start.wait()
            return sum(seals.seal_entries() for _ in range(5))

    with ThreadPoolExecutor(8) as pool:
        sealed = sum(task.result() for task in [pool.submit(seal) for _ in range(8)])
    assert sealed == 40
    check = seals.verify_chain()
    assert (check.links, check.faults) == (trail + 40, 0)


def test_the_first_sealers_agree_on_one_key(app: Flask, member: Actor) -> None:
    deeds(member, 3)
    start = Barrier(4)

    def seal() -> None:
        with app.app_context():
            start.wait()
            seals.seal_entries()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: seal(), range(4)))
    seals.seal_entries()
    assert db.session.scalar(select(func.count()).select_from(AuditChain)) == 1
    assert seals.verify_chain().faults == 0


def test_the_nightly_check_fails_loudly_and_is_recorded(trail: int) -> None:
    by_force(update(AuditEntry).where(AuditEntry.id == entry_at(2)).values(event="file.created"))
    with pytest.raises(Hopeless, match="place 2"):
        seals.check_nightly(Quiet())
    (entry,) = db.session.scalars(select(AuditEntry).where(AuditEntry.event == "audit.broken"))
    assert entry.changes["faults"] == [None, 1]
    assert "place 2" in entry.changes["first"][1]


def test_the_thread_beside_the_relay_seals_within_seconds(app: Flask, member: Actor, trail: int) -> None:
    sealer = Sealer(app)
    sealer.start()
    try:
        deeds(member, 2)
        end = time.monotonic() + 50
        while seals.verify_chain().links < trail + 2 and time.monotonic() < end:
            time.sleep(0.1)
    finally:
        sealer.stop()
        sealer.stop()
    assert seals.verify_chain().links == trail + 2


def test_a_command_verifies_and_ends_with_1_when_the_trail_was_changed(
    app: Flask, trail: int, capsys: pytest.CaptureFixture[str]
) -> None:
    run: Callable[..., Any] = app.test_cli_runner().invoke
    whole = run(args=["audit", "verify"])
    assert whole.exit_code == 0
    head = whole.output.rpartition(" ")[2].strip()
    assert run(args=["audit", "verify", "--expect", head]).exit_code == 0
    assert run(args=["audit", "verify", "--expect", "1:00"]).exit_code == 1
    by_force(update(AuditEntry).where(AuditEntry.id == entry_at(6)).values(actor_id=next_id()))
    broken = run(args=["audit", "verify"])
    assert broken.exit_code == 1
    assert "place 6" in broken.output
    assert "1 of" in broken.output


def test_a_trail_without_entries_is_whole(app: Flask) -> None:
    assert seals.verify_chain() == seals.Check(links=0, faults=0, named=(), head="0:")
    assert seals.seal_entries() == 0
    with transaction():
        record(system_actor(), "cache.emptied", Target("cache", None))
    assert seals.seal_entries() == 1
