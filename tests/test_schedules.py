"""Schedules: exactly one firing whoever looks, what was missed, clocks that step, what people may change."""

import multiprocessing
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import delete, func, select, update

from tasks.publishers import Publisher
from tasks.relay import Relay
from tests.conftest import csrf_of
from tests.databases import KINDS as DATABASES
from tests.databases import empty_database
from tests.faults.fixtures import jobs_side
from tests.faults.schedulers import HANG, fire_together
from tests.vault import good, problem
from webapp.db import db, transaction
from webapp.infra.ids import next_id
from webapp.models.audit import AuditEntry
from webapp.models.jobs import Job
from webapp.models.schedules import Schedule
from webapp.policies import Actor
from webapp.services import firings

Bearer = Callable[[Actor], dict[str, str]]
NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@pytest.fixture
def clock(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Sets the clock that all schedulers share."""

    def to(moment: datetime) -> None:
        monkeypatch.setattr(firings, "present", lambda: moment)

    to(NOON)
    return to


def make(name: str = "hourly", cron: str = "0 * * * *", **values: Any) -> Schedule:
    """A schedule whose next firing is NOON unless `values` say otherwise."""
    row = {"name": name, "title": name, "job": "upkeep.sweep_expired", "cron": cron, "zone": "UTC", "args": {},
           "next_at": NOON, "planned_at": NOON - timedelta(hours=1), **values}  # fmt: skip
    with transaction():
        db.session.add(Schedule(id=next_id(), **row))
    return row_of(name)


def row_of(name: str = "hourly") -> Schedule:
    db.session.rollback()
    return db.session.scalars(select(Schedule).where(Schedule.name == name)).one()


def fired() -> int:
    """Jobs that schedules have queued."""
    with db.engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(Job)).scalar_one())


def end_jobs() -> None:
    with transaction():
        db.session.execute(update(Job).values(state="done"))


def test_a_due_schedule_queues_its_job_once_and_moves_on(clock: Callable[[datetime], None]) -> None:
    before = make(args={"depth": 2})
    clock(NOON + timedelta(seconds=3))
    assert [firings.fire_due() for _ in range(3)] == [5.0, 5.0, 5.0]
    row = row_of()
    job = db.session.scalars(select(Job)).one()
    assert (job.uuid, job.name, job.args, job.owner_id) == (row.last_job, "upkeep.sweep_expired", {"depth": 2}, None)
    assert (row.next_at, row.last_at) == (NOON + timedelta(hours=1), NOON + timedelta(seconds=3))
    assert (row.version, row.updated_at) == (before.version, before.updated_at), "no form becomes stale by the clock"


def test_the_sleep_ends_with_the_next_firing(clock: Callable[[datetime], None]) -> None:
    assert firings.fire_due() == 5.0
    make(next_at=NOON + timedelta(seconds=2))
    assert firings.fire_due() == 2.0


def test_after_a_downtime_one_missed_run_or_none_as_the_rule_says(clock: Callable[[datetime], None]) -> None:
    make("once", catch_up="once")
    make("skip", catch_up="skip")
    clock(NOON + timedelta(days=3, minutes=30))
    firings.fire_due()
    jobs = db.session.scalars(select(Job.target_uuid)).all()
    assert jobs == [row_of("once").uuid]
    assert {row_of(name).next_at for name in ("once", "skip")} == {NOON + timedelta(days=3, hours=1)}


def test_a_schedule_that_skips_still_fires_what_is_only_just_due(clock: Callable[[datetime], None]) -> None:
    make(catch_up="skip")
    clock(NOON + timedelta(days=3, seconds=20))
    firings.fire_due()
    assert fired() == 1


def test_jobs_of_one_schedule_do_not_pile_up(clock: Callable[[datetime], None]) -> None:
    make()
    for hour in range(4):
        clock(NOON + timedelta(hours=hour))
        firings.fire_due()
    assert fired() == 1
    assert row_of().next_at == NOON + timedelta(hours=4)
    end_jobs()
    clock(NOON + timedelta(hours=4))
    firings.fire_due()
    assert fired() == 2


def test_a_clock_that_steps_back_a_little_fires_nothing_twice(clock: Callable[[datetime], None]) -> None:
    make()
    firings.fire_due()
    end_jobs()
    for seconds in (-1, -30, -300, 0):
        clock(NOON + timedelta(seconds=seconds))
        firings.fire_due()
    assert fired() == 1


@pytest.mark.parametrize("rule", ["once", "skip"])
def test_a_clock_set_right_after_years_ahead_does_not_silence_a_schedule(
    clock: Callable[[datetime], None], rule: str
) -> None:
    make(catch_up=rule)
    clock(NOON + timedelta(days=2000, minutes=30))
    firings.fire_due()
    end_jobs()
    count = fired()
    clock(NOON + timedelta(minutes=5))
    firings.fire_due()
    assert row_of().next_at == NOON + timedelta(hours=1)
    clock(NOON + timedelta(hours=1))
    firings.fire_due()
    assert fired() == count + 1


def test_a_row_nothing_can_be_computed_from_stops_no_other(clock: Callable[[datetime], None]) -> None:
    make("broken", cron="gone mad")
    make("unknown", job="upkeep.of_a_later_version")
    make("nowhere", zone="Mars/Olympus", catch_up="skip", next_at=NOON - timedelta(days=1))
    make("whole")
    firings.fire_due()
    assert {UUID(str(uuid)) for uuid in db.session.scalars(select(Job.target_uuid))} == {
        row_of("broken").uuid, row_of("whole").uuid}  # fmt: skip
    assert [row_of(name).next_at for name in ("broken", "nowhere")] == [None, None]
    assert row_of("unknown").next_at == NOON + timedelta(hours=1)
    assert firings.fire_due() == 5.0


def test_the_built_in_schedules_come_once_and_keep_what_was_changed(app: Flask) -> None:
    firings.plant_schedules()
    with transaction():
        db.session.execute(
            update(Schedule).where(Schedule.name == "scrub-blobs").values(cron="0 5 * * 0", enabled=False)
        )
        db.session.execute(delete(Schedule).where(Schedule.name == "purge-trash"))
    firings.plant_schedules()
    assert set(db.session.scalars(select(Schedule.name))) == {one.name for one in firings.BUILT_IN}
    assert (row_of("scrub-blobs").cron, row_of("scrub-blobs").enabled) == ("0 5 * * 0", False)


class Deaf(Publisher):
    """A broker that takes nothing."""

    def room(self) -> dict[str, int]:
        return {"upkeep": 0}

    def close(self) -> None: ...
    def empty_queues(self) -> list[str]:
        return []


def test_the_relay_plants_and_fires_also_while_the_broker_takes_nothing(app: Flask) -> None:
    relay = Relay(app, Deaf())
    relay._turn()
    with transaction():
        db.session.execute(
            update(Schedule).where(Schedule.name == "sweep-expired").values(next_at=NOON, planned_at=NOON)
        )
    relay._next_firing = 0.0
    relay._turn()
    assert db.session.scalars(select(Job.name)).all() == ["upkeep.sweep_expired"]
    relay.listener.close()


@pytest.mark.parametrize("kind", DATABASES)
def test_four_schedulers_fire_every_instant_of_every_schedule_exactly_once(kind: str, tmp_path: Path) -> None:
    rounds, names = 50, ("one", "two", "three")
    spawn = multiprocessing.get_context("spawn")
    with empty_database(kind, tmp_path) as url, jobs_side(tmp_path / "var", DATABASE_URL=url):
        for name in names:
            make(name, "* * * * *")
        together = spawn.Barrier(5)
        arguments = (url, str(tmp_path / "var"), together, NOON, rounds)
        schedulers = [spawn.Process(target=fire_together, args=arguments, daemon=True) for _ in range(4)]
        for process in schedulers:
            process.start()
        counts = []
        for _ in range(rounds):
            together.wait(HANG)
            together.wait(HANG)
            counts.append(fired())
            end_jobs()
        for process in schedulers:
            process.join(HANG)
        assert [process.exitcode for process in schedulers] == [0] * 4
        assert counts == [len(names) * number for number in range(1, rounds + 1)]
        assert {row_of(name).next_at for name in names} == {NOON + timedelta(minutes=rounds)}


# What people do -------------------------------------------------------------------------------------------------------


@pytest.fixture
def office(client: FlaskClient, admin: Actor, bearer: Bearer) -> Callable[..., Any]:
    """Calls of an administrator's program."""
    firings.plant_schedules()
    headers = bearer(admin)

    def call(method: str, path: str, version: int | None = None, **options: Any) -> Any:
        match = {} if version is None else {"If-Match": f'"{version}"'}
        return client.open(f"/api/v1{path}", method=method, headers={**headers, **match}, **options)

    return call


def one(office: Callable[..., Any], name: str = "purge-trash") -> Any:
    return next(row for row in good(office("GET", "/schedules")).json["items"] if row["name"] == name)


def events() -> list[str]:
    found = select(AuditEntry.event).where(AuditEntry.target_type == "schedule").order_by(AuditEntry.id)
    return list(db.session.scalars(found))


def test_the_list_pages_by_name(office: Callable[..., Any]) -> None:
    names, cursor = [], ""
    while cursor is not None:
        page = good(office("GET", f"/schedules?limit=1{cursor and '&cursor=' + cursor}")).json
        names += [row["name"] for row in page["items"]]
        cursor = page["next_cursor"]
    assert names == sorted(row.name for row in firings.BUILT_IN)


def test_a_change_plans_anew_and_is_in_the_audit_trail(office: Callable[..., Any]) -> None:
    row = one(office)
    changed = good(
        office("PATCH", f"/schedules/{row['id']}", row["version"], json={"cron": "30 4 * * 1", "zone": "Europe/Berlin"})
    ).json
    assert (changed["cron"], changed["zone"], changed["version"]) == ("30 4 * * 1", "Europe/Berlin", row["version"] + 1)
    plan = good(office("GET", f"/schedules/{row['id']}/firings")).json
    assert plan["items"][0] == changed["next_at"]
    assert len(plan["items"]) == 5
    problem(office("PATCH", f"/schedules/{row['id']}", row["version"], json={"enabled": False}), 412)
    assert events() == ["schedule.changed"]


def test_pausing_stops_and_resuming_does_not_catch_up(
    office: Callable[..., Any], clock: Callable[[datetime], None]
) -> None:
    row = make(job="upkeep.sweep_blobs")
    paused = good(office("PATCH", f"/schedules/{row.uuid}", json={"enabled": False})).json
    assert paused["next_at"] is None
    clock(NOON + timedelta(hours=5, minutes=30))
    firings.fire_due()
    good(office("PATCH", f"/schedules/{row.uuid}", json={"enabled": True}))
    firings.fire_due()
    assert fired() == 0
    assert row_of().next_at > NOON


@pytest.mark.parametrize(("wish", "field"), [
    ({"cron": "0 0 31 2 *"}, "cron"), ({"cron": "every day"}, "cron"), ({"cron": ""}, "cron"), ({"cron": None}, "cron"),
    ({"cron": "* * * * * *"}, "cron"), ({"cron": "0 0 * * *\n"  "1"}, "cron"), ({"zone": "Mars/Olympus"}, "zone"),
    ({"zone": "localtime"}, "zone"), ({"zone": "Factory"}, "zone"),
    ({"cron": "*/99999 * * * *"}, "cron"), ({"cron": "0 0-6,8/24 * * *"}, "cron"), ({"cron": "0 0 * 1/13 *"}, "cron"),
    ({"zone": ""}, "zone"), ({"catch_up": "all"}, "catch_up"), ({"enabled": "yes"}, "enabled"),
    ({"job": "files.sniff"}, "job"), ({"name": "x"}, "name"), ({"args": {}}, "args"), ({"next_at": None}, "next_at"),
])  # fmt: skip
def test_what_cannot_be_is_refused_and_changes_nothing(office: Callable[..., Any], wish: Any, field: str) -> None:
    row = one(office)
    answer = problem(office("PATCH", f"/schedules/{row['id']}", json=wish), 422)
    assert [fault["field"] for fault in answer["errors"]] == [field]
    assert one(office) == row
    assert events() == []


def test_a_firing_that_is_only_tried_is_computed_and_changes_nothing(office: Callable[..., Any]) -> None:
    row = one(office)
    path = f"/schedules/{row['id']}/firings"
    tried = good(office("GET", path, query_string={"cron": "0 12 29 2 *", "zone": "UTC"})).json
    assert tried["items"][0][4:] == "-02-29T12:00:00Z"
    problem(office("GET", path, query_string={"cron": "0 0 30 2 *"}), 422)
    problem(office("GET", path, query_string={"zone": "Mars"}), 422)
    problem(office("GET", path, query_string={"cron": "*/60 * * * *"}), 422)
    assert "*/59" in good(office("GET", path, query_string={"cron": "*/59 * * * *"})).text
    assert one(office) == row


def test_running_now_makes_a_job_of_the_administrator_once_at_a_time(office: Callable[..., Any]) -> None:
    row = one(office)
    answer = good(office("POST", f"/schedules/{row['id']}/runs"), 201)
    job = answer.json
    assert (job["name"], job["state"]) == ("upkeep.purge_trash", "queued")
    assert good(office("GET", answer.headers["Location"].split("/api/v1")[1])).json["id"] == job["id"]
    problem(office("POST", f"/schedules/{row['id']}/runs"), 409, "already_running")
    after = one(office)
    assert (after["last_job"], after["last_state"], after["version"]) == (job["id"], "queued", row["version"])
    assert after["next_at"] == row["next_at"]
    end_jobs()
    good(office("POST", f"/schedules/{row['id']}/runs"), 201)
    assert events() == ["schedule.fired_by_hand"] * 2


def test_a_run_ordered_twice_with_one_key_is_one_run(
    client: FlaskClient, office: Callable[..., Any], admin: Actor, bearer: Bearer
) -> None:
    path = f"/api/v1/schedules/{one(office)['id']}/runs"
    headers = {**bearer(admin), "Idempotency-Key": "tonight"}
    first, second = (client.post(path, headers=headers) for _ in range(2))
    assert (first.status_code, first.data) == (201, second.data)
    assert fired() == 1


def test_members_neither_see_nor_change_schedules(
    client: FlaskClient, office: Callable[..., Any], member: Actor, bearer: Bearer
) -> None:
    row, headers = one(office), bearer(member)
    for method, path in (
        ("GET", ""),
        ("GET", f"/{row['id']}"),
        ("PATCH", f"/{row['id']}"),
        ("POST", f"/{row['id']}/runs"),
    ):
        assert client.open(f"/api/v1/schedules{path}", method=method, json={}, headers=headers).status_code == 403
    problem(office("GET", "/schedules/00000000-0000-7000-8000-000000000000"), 404)
    problem(office("POST", "/schedules/00000000-0000-7000-8000-000000000000/runs"), 404)


def test_those_who_run_schedules_see_cancel_and_repeat_the_jobs_of_the_vault(
    client: FlaskClient, office: Callable[..., Any], clock: Callable[[datetime], None], member: Actor, bearer: Bearer
) -> None:
    make()
    firings.fire_due()
    job = one(office, "hourly")["last_job"]
    headers = bearer(member)
    for method, path in (("GET", ""), ("POST", "/cancellation"), ("POST", "/replay")):
        assert client.open(f"/api/v1/jobs/{job}{path}", method=method, headers=headers).status_code == 404
    assert good(office("GET", f"/jobs/{job}")).json["state"] == "queued"
    assert good(office("POST", f"/jobs/{job}/cancellation")).json["state"] == "cancelled"
    assert good(office("POST", f"/jobs/{job}/replay")).json["state"] == "queued"


# Pages ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def desk(admin: Actor, signed_in: Callable[[Actor], FlaskClient]) -> FlaskClient:
    firings.plant_schedules()
    return signed_in(admin)


def post(desk: FlaskClient, page: str, path: str, **form: str) -> Any:
    return desk.post(path, data={"csrf_token": csrf_of(desk.get(page).text), **form})


def test_the_pages_show_change_pause_and_run(desk: FlaskClient) -> None:
    text = desk.get("/admin/schedules").text
    assert "Removal of old trash" in text
    assert "Every day at 03:10" in text
    row = row_of("purge-trash")
    page = f"/admin/schedules/{row.uuid}"
    assert "10 3 * * *" in desk.get(page).text
    assert (
        post(desk, page, page, cron="5 6 * * *", zone="Europe/Berlin", catch_up="skip", version="1").status_code == 302
    )
    row = row_of("purge-trash")
    assert (row.cron, row.zone, row.catch_up, row.enabled) == ("5 6 * * *", "Europe/Berlin", "skip", True)
    assert post(desk, page, page, enabled="false", version="2").status_code == 302
    assert not row_of("purge-trash").enabled
    assert "Paused" in desk.get("/admin/schedules").text
    assert post(desk, page, f"{page}/runs").status_code == 302
    assert post(desk, page, f"{page}/runs").headers["Location"] == "/admin/schedules"
    assert "already waits or runs" in desk.get("/admin/schedules").text
    assert fired() == 1


def test_a_refused_form_comes_back_with_what_was_typed(desk: FlaskClient) -> None:
    page = f"/admin/schedules/{row_of('purge-trash').uuid}"
    answer = post(desk, page, page, cron="0 0 31 2 *", zone="UTC", catch_up="once", version="1")
    assert answer.status_code == 422
    assert "0 0 31 2 *" in answer.text
    assert "never comes" in answer.text


def test_a_stale_form_meets_the_merge_page(desk: FlaskClient) -> None:
    page = f"/admin/schedules/{row_of('purge-trash').uuid}"
    assert post(desk, page, page, cron="5 6 * * *", version="1").status_code == 302
    answer = post(desk, page, page, cron="9 9 * * *", zone="UTC", catch_up="once", version="1")
    assert "5 6 * * *" in answer.text
    assert "9 9 * * *" in answer.text
    assert row_of("purge-trash").cron == "5 6 * * *"


def test_the_preview_follows_what_is_typed(desk: FlaskClient) -> None:
    page = f"/admin/schedules/{row_of('purge-trash').uuid}/firings"
    shown = desk.get(page, query_string={"cron": "0 12 * * 1", "zone": "UTC"}).text
    assert (shown.count("<time"), shown.count(">Mon, ")) == (5, 5)
    assert "never comes" in desk.get(page, query_string={"cron": "0 12 31 2 *", "zone": "UTC"}).text


def test_the_office_is_not_there_for_members(signed_in: Callable[[Actor], FlaskClient], member: Actor) -> None:
    browser = signed_in(member)
    assert browser.get("/admin/schedules").status_code == 404
    assert "Schedules" not in browser.get("/files").text
