"""What the nightly jobs remove, what they leave, and how the scrub finds a flipped byte."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import func, insert, select, update

from tests.vault import Vault, disk, good, problem
from webapp.config import current_settings, use_settings
from webapp.db import Base, db, transaction
from webapp.errors import Unavailable
from webapp.infra.clock import now
from webapp.infra.ids import next_id, node_leases, wall_ms
from webapp.infra.storage import store
from webapp.models.audit import AuditEntry
from webapp.models.files import Blob
from webapp.models.jobs import Job, JobAttempt, JobEffect
from webapp.models.sessions import RefreshToken, Session, SignInAttempt
from webapp.policies import Actor, system_actor
from webapp.services import events, scrubs, upkeep

Run = Callable[[], int]
DAY = timedelta(days=1)


class Quiet:
    """A job that nobody watches."""

    def __init__(self) -> None:
        self.told: list[float] = []

    def progress(self, percent: float) -> None:
        self.told.append(percent)


def count(model: Any) -> int:
    with db.engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(model)).scalar_one())


def ended_job(state: str, days: int) -> UUID:
    """A job that ended so long ago, with an effect."""
    with transaction():
        (uuid,) = events.queue_jobs(system_actor(), ["upkeep.sweep_blobs"], events.Target("test", None))
        db.session.flush()
        over = None if state in {"queued", "running"} else now() - days * DAY
        db.session.execute(update(Job).where(Job.uuid == uuid).values(state=state, finished_at=over))
        job_id = db.session.scalar(select(Job.id).where(Job.uuid == uuid))
        db.session.execute(insert(JobEffect).values(job_id=job_id, effect="test", created_at=now()))
        attempt = {"number": 1, "outcome": "failed", "error": "?", "started_at": now(), "ended_at": now()}
        db.session.execute(insert(JobAttempt).values(job_id=job_id, **attempt))
    return uuid


def test_jobs_go_after_their_days_and_what_failed_for_good_later(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "BATCH", 2)
    gone = [
        ended_job(*which) for which in (("done", 31), ("cancelled", 31), ("done", 400), ("dead", 91), ("failed", 91))
    ]
    kept = [
        ended_job(*which) for which in (("done", 29), ("dead", 89), ("failed", 89), ("queued", 400), ("running", 400))
    ]
    assert upkeep.sweep_expired(Quiet())["jobs"] == len(gone)
    assert set(db.session.scalars(select(Job.uuid))) == set(kept)
    assert count(JobEffect) == count(JobAttempt) == len(kept)
    assert upkeep.sweep_expired(Quiet())["jobs"] == 0


def test_sign_ins_that_ended_a_month_ago_go_with_their_tokens(
    app: Flask, member: Actor, bearer: Callable[[Actor], dict[str, str]]
) -> None:
    for _ in range(4):
        live = bearer(member)
    ids = list(db.session.scalars(select(Session.id).order_by(Session.id)))
    with transaction():
        for row, values in zip(ids, ({"deleted_at": now() - 31 * DAY}, {"expires_at": now() - 31 * DAY},
                                     {"deleted_at": now() - 29 * DAY}, {}), strict=True):  # fmt: skip
            if values:
                db.session.execute(update(Session).where(Session.id == row).values(values))
        db.session.add(RefreshToken(secret_hash="0" * 64, session_id=ids[3], created_at=now() - 60 * DAY,
                                    expires_at=now() - 31 * DAY))  # fmt: skip
    assert upkeep.sweep_expired(Quiet())["sessions"] == 3
    assert list(db.session.scalars(select(Session.id).order_by(Session.id))) == ids[2:]
    assert set(db.session.scalars(select(RefreshToken.session_id))) == set(ids[2:])
    assert count(RefreshToken) == 2
    assert app.test_client().get("/api/v1/users/me", headers=live).status_code == 200


def test_attempts_answers_and_leases_go_when_they_mean_nothing_any_more(app: Flask, member: Actor) -> None:
    keys = Base.metadata.tables["idempotency_keys"]
    with transaction():
        for age in (timedelta(minutes=16), timedelta(minutes=14)):
            db.session.add(SignInAttempt(id=next_id(), subject="x", created_at=now() - age))
        for age in (25, 23):
            db.session.execute(insert(keys).values(user_id=member.id, key=str(age), fingerprint="",
                                                   created_at=now() - timedelta(hours=age)))  # fmt: skip
        for node, days in ((1000, 8), (1001, 6)):
            until = wall_ms() - days * 86_400_000
            db.session.execute(insert(node_leases).values(node=node, host="h", pid=1, token=1, leased_until_ms=until,
                                                          used_until_ms=until))  # fmt: skip
    removed = upkeep.sweep_expired(Quiet())
    assert (removed["attempts"], removed["answers"], removed["leases"]) == (1, 1, 1)
    assert next_id() > 0, "our own lease stands"
    with db.engine.begin() as connection:
        assert connection.execute(select(node_leases.c.node).where(node_leases.c.node >= 1000)).scalars().all() == [
            1001
        ]
        connection.execute(node_leases.delete().where(node_leases.c.node == 1001))


# The scrub ------------------------------------------------------------------------------------------------------------


def path_of(view: Any) -> Path:
    return Path(disk().path(store().key(view["sha256"])))


def flip(view: Any) -> bytes:
    """Change one byte on the disk; returns what was there."""
    path = path_of(view)
    before = path.read_bytes()
    path.write_bytes(bytes([before[0] ^ 1]) + before[1:])
    return before


def blob(view: Any) -> Blob:
    db.session.rollback()
    return db.session.scalars(select(Blob).where(Blob.sha256 == view["sha256"])).one()


def damaged_events() -> set[UUID | None]:
    return set(db.session.scalars(select(AuditEntry.target_uuid).where(AuditEntry.event == "file.damaged")))


@pytest.fixture
def budget() -> Any:
    """Sets SCRUB_BYTES."""
    before = current_settings()
    yield lambda size: use_settings(before.model_copy(update={"scrub_bytes": size}))
    use_settings(before)


def test_a_flipped_byte_is_found_noted_for_every_file_that_holds_it_and_not_sent_any_more(
    vault: Vault, other_vault: Vault
) -> None:
    view, theirs = vault.upload("a.bin", b"x" * 9000), other_vault.upload("b.bin", b"x" * 9000)
    trashed = vault.upload("c.bin", b"x" * 9000)
    good(vault.call("DELETE", f"/files/{trashed['id']}"), 204)
    whole = vault.upload("whole.bin", b"w" * 100)
    flip(view)
    done = scrubs.scrub_blobs(Quiet())
    assert done == {"contents": 2, "bytes": 9100, "damaged": 1}
    assert damaged_events() == {UUID(one["id"]) for one in (view, theirs, trashed)}
    problem(vault.content(view["id"]), 409, "damaged")
    assert blob(whole).verified_at is not None
    scrubs.scrub_blobs(Quiet())
    assert count(AuditEntry) == len(set(db.session.scalars(select(AuditEntry.id)))), "no second event"
    assert len([e for e in db.session.scalars(select(AuditEntry.event)) if e == "file.damaged"]) == 3


def test_bytes_that_are_right_again_are_sent_again(vault: Vault) -> None:
    view = vault.upload("a.bin", b"x" * 9000)
    before = flip(view)
    scrubs.scrub_blobs(Quiet())
    path_of(view).write_bytes(before)
    scrubs.scrub_blobs(Quiet())
    assert blob(view).damaged_at is None
    assert vault.content(view["id"]).data == before


def test_lost_bytes_are_damage(vault: Vault) -> None:
    view = vault.upload("a.bin", b"x" * 9000)
    path_of(view).unlink()
    assert scrubs.scrub_blobs(Quiet())["damaged"] == 1
    assert damaged_events() == {UUID(view["id"])}


def test_each_night_takes_the_slice_that_was_checked_longest_ago(vault: Vault, budget: Callable[[int], None]) -> None:
    views = [vault.upload(f"{number}.bin", bytes([number]) * 1000) for number in range(6)]
    budget(2000)
    seen: list[set[str]] = []
    for _ in range(3):
        before = {view["id"]: blob(view).verified_at for view in views}
        assert scrubs.scrub_blobs(Quiet())["bytes"] == 2000
        seen.append({view["id"] for view in views if blob(view).verified_at != before[view["id"]]})
    assert set.union(*seen) == {view["id"] for view in views}
    assert sum(map(len, seen)) == 6
    flip(views[0])
    found = [scrubs.scrub_blobs(Quiet())["damaged"] for _ in range(3)]
    assert sum(found) == 1


def test_a_store_that_is_not_there_marks_nothing(vault: Vault) -> None:
    view = vault.upload("a.bin", b"x" * 9000)
    away = disk().root.with_name("away")
    disk().root.rename(away)
    try:
        with pytest.raises(Unavailable):
            scrubs.scrub_blobs(Quiet())
    finally:
        away.rename(disk().root)
    assert blob(view).damaged_at is None
    assert damaged_events() == set()


def test_a_check_that_is_stopped_goes_on_where_it_was(vault: Vault) -> None:
    views = [vault.upload(f"{number}.bin", bytes([number]) * 1000) for number in range(3)]

    class Stopped(Quiet):
        def progress(self, percent: float) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scrubs.scrub_blobs(Stopped())
    assert sum(blob(view).verified_at is not None for view in views) == 1


def test_every_upkeep_job_runs_by_its_schedule(vault: Vault, run_jobs: Run) -> None:
    from webapp.services import firings

    vault.upload("a.txt", b"hello")
    run_jobs()
    firings.plant_schedules()
    with transaction():
        schedules = Base.metadata.tables["schedules"]
        db.session.execute(update(schedules).values(next_at=now() - timedelta(seconds=1)))
    firings.fire_due()
    assert run_jobs() == len(firings.BUILT_IN)
    built_in = select(Job.name, Job.state, Job.error).where(Job.unique_key.startswith("schedule:"))
    rows = db.session.execute(built_in).all()
    assert {(row.name, row.state, row.error) for row in rows} == {(one.job, "done", None) for one in firings.BUILT_IN}
