"""Everybody's jobs: who sees them, what is ordered of all that match, the course of one."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import csrf_of
from webapp.db import db, read_rows, transaction
from webapp.errors import Unavailable
from webapp.infra.clock import now
from webapp.models import runs
from webapp.models.audit import AuditEntry
from webapp.models.jobs import Job
from webapp.models.record import any_state, change_rows
from webapp.policies import Actor, system_actor
from webapp.services import events, jobs, orders
from webapp.services.jobs import Hopeless

Bearer = Callable[[Actor], dict[str, str]]
Call = Callable[..., Any]


def queue(
    owner: int | None, count: int = 1, name: str = "files.verify", about: str = "report.pdf", key: str | None = None
) -> list[UUID]:
    """Jobs about no real file."""
    actor = system_actor("req-7")
    with transaction():
        target = events.Target("file", uuid4(), about, owner, {"file_id": 1, "number": 1})
        return [events.queue_jobs(actor, (name,), target, key)[0] for _ in range(count)]


def start(job: UUID) -> jobs.StartedJob:
    started = jobs.start_job(read_rows(any_state(Job, Job.id).where(Job.uuid == job))[0].id)
    assert started is not None
    return started


def kill(*killed: UUID, error: str = "This picture is broken.") -> None:
    """They fail for good."""
    for job in killed:
        jobs.fail_attempt(start(job), Hopeless(error))


def states() -> dict[str, int]:
    found: dict[str, int] = {}
    for row in read_rows(any_state(Job, Job.state).where(Job.deleted_at.is_(None))):
        found[row.state] = found.get(row.state, 0) + 1
    return found


def entries(event: str) -> list[Any]:
    return list(
        read_rows(any_state(AuditEntry, AuditEntry.target_uuid, AuditEntry.changes).where(AuditEntry.event == event))
    )


@pytest.fixture
def office(client: FlaskClient, admin: Actor, bearer: Bearer) -> Call:
    headers = bearer(admin)

    def call(path: str, filter_: dict[str, Any] | None = None) -> Any:
        if filter_ is None:
            return client.get(f"/api/v1{path}", headers=headers)
        return client.post(f"/api/v1{path}", json={"filter": filter_}, headers=headers)

    return call


def test_all_jobs_are_shown_with_their_owners_to_who_runs_the_vault_alone(
    office: Call, client: FlaskClient, member: Actor, stranger: Actor, bearer: Bearer
) -> None:
    queue(member.id)
    queue(None)
    shown = office("/jobs?whose=all").json["items"]
    assert [(job["owner_id"], job["owner"]) for job in shown] == [(None, None), (str(member.uuid), member.name)]
    assert office("/jobs").json["items"] == []
    for path in ("/jobs?whose=all", "/queues"):
        assert client.get(f"/api/v1{path}", headers=bearer(stranger)).status_code == 403
    assert client.get(f"/api/v1/jobs?owner_id={member.uuid}", headers=bearer(stranger)).status_code == 422
    for what in ("replays", "discards", "cancellations"):
        refused = client.post(f"/api/v1/jobs/{what}", json={"filter": {}}, headers=bearer(member))
        assert refused.status_code == 403
    assert client.get("/admin/jobs").status_code == 302


def test_every_trait_of_a_filter_leaves_the_others_out(office: Call, member: Actor, stranger: Actor) -> None:
    (broken,) = queue(member.id, about="Q3 100%.pdf")
    queue(stranger.id, name="mails.send", about="Welcome")
    kill(broken, error="No space left on device")
    for query, number in (
        ("state=failed", 1), ("name=mails.send", 1), ("queue=mail", 1), (f"owner_id={member.uuid}", 1),
        (f"owner_id={uuid4()}", 0), ("q=100%25", 1), ("q=no%20SPACE", 1), ("q=req-7", 2), ("q=_", 0),
        ("since=2200-01-01T00:00:00Z", 0), ("until=2200-01-01T00:00:00Z", 2), ("state=queued&queue=files", 0),
    ):  # fmt: skip
        assert len(office(f"/jobs?whose=all&{query}").json["items"]) == number, query


def test_all_that_match_run_again_in_one_deed_that_is_audited(office: Call, member: Actor) -> None:
    kill(*queue(member.id, 5), *queue(member.id, 3, name="files.thumbnail"))
    queue(member.id, 2)
    done = office("/jobs/replays", {"name": "files.verify"})
    assert (done.status_code, done.json) == (200, {"changed": 5, "more": False})
    assert states() == {"queued": 7, "failed": 3}
    (entry,) = entries("job.replayed")
    assert entry.changes == {"filter": [None, {"name": "files.verify"}], "number": [None, 5]}
    again = [job for job in office("/jobs?whose=all&state=queued").json["items"] if job["request_id"] == "req-7"]
    assert {(job["attempts"], job["error"], job["started_at"]) for job in again} == {(0, None, None)}
    assert office("/jobs/replays", {"name": "files.verify"}).json == {"changed": 0, "more": False}
    assert len(entries("job.replayed")) == 1


def test_jobs_that_exclude_one_another_are_replayed_one_at_a_time(office: Call) -> None:
    for _ in range(3):
        kill(*queue(None, key="schedule:sweep"))
    assert office("/jobs/replays", {}).json["changed"] == 1
    assert office("/jobs/replays", {}).json["changed"] == 0
    assert states() == {"queued": 1, "failed": 2}


def test_an_order_names_its_jobs_by_id_too(office: Call, member: Actor) -> None:
    one, two = queue(member.id, 2)
    kill(one, two)
    assert office("/jobs/replays", {"ids": [str(one)]}).json["changed"] == 1
    assert office("/jobs/replays", {"ids": []}).json["changed"] == 0


def test_what_is_discarded_is_gone_from_the_lists_and_stays_in_the_audit_trail(office: Call, member: Actor) -> None:
    dead, waiting = queue(member.id, 2)
    kill(dead)
    assert office("/jobs/discards", {}).json == {"changed": 1, "more": False}
    assert [job["id"] for job in office("/jobs?whose=all").json["items"]] == [str(waiting)]
    assert office(f"/jobs/{dead}").status_code == 404
    assert len(entries("job.discarded")) == 1
    assert office("/jobs/discards", {"state": "queued"}).json["changed"] == 0, "what waits is cancelled, not discarded"


def test_all_that_wait_or_run_are_cancelled_and_running_ones_stop(office: Call, member: Actor) -> None:
    running = start(queue(member.id)[0])
    queue(member.id, 2)
    assert office("/jobs/cancellations", {}).json["changed"] == 3
    assert states() == {"cancelled": 3}
    with pytest.raises(jobs.Taken):
        running.progress(50)


def test_an_order_stops_at_its_bound_and_says_that_there_is_more(
    office: Call, member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "MOST", 2)
    kill(*queue(member.id, 3))
    assert office("/jobs/replays", {}).json == {"changed": 2, "more": True}
    assert office("/jobs/replays", {}).json == {"changed": 1, "more": False}


@pytest.mark.parametrize(
    "wish",
    [{}] + [{"filter": each} for each in ({"state": "broken"}, {"queue": "x"}, {"ids": ["x"]}, {"q": ""},
                                          {"whose": "all"}, {"since": "2026-01-01T00:00:00"})],
)  # fmt: skip
def test_an_order_that_cannot_be_understood_changes_nothing(
    client: FlaskClient, admin: Actor, member: Actor, bearer: Bearer, wish: dict[str, Any]
) -> None:
    kill(*queue(member.id))
    assert client.post("/api/v1/jobs/replays", json=wish, headers=bearer(admin)).status_code == 422
    assert states() == {"failed": 1}


def test_an_administrator_runs_and_cancels_one_job_of_somebody_else(
    client: FlaskClient, admin: Actor, member: Actor, bearer: Bearer
) -> None:
    (job,) = queue(member.id)
    kill(job)
    assert client.post(f"/api/v1/jobs/{job}/replay", headers=bearer(admin)).json["state"] == "queued"
    assert client.post(f"/api/v1/jobs/{job}/cancellation", headers=bearer(admin)).json["state"] == "cancelled"


def test_the_course_of_a_job_tells_attempts_and_deeds(
    client: FlaskClient, admin: Actor, member: Actor, stranger: Actor, bearer: Bearer
) -> None:
    (job,) = queue(member.id)
    jobs.fail_attempt(start_soon(job), Unavailable("The store does not answer."))
    start_soon(job)
    jobs.rescue_orphans(-1)
    kill_soon(job)
    client.post(f"/api/v1/jobs/{job}/replay", headers=bearer(admin))
    told = client.get(f"/api/v1/jobs/{job}/history", headers=bearer(member)).json["items"]
    assert [(entry["what"], entry["number"], entry["error"], entry["by"]) for entry in told] == [
        ("replayed", None, None, admin.name),
        ("failed", 3, "This picture is broken.", None),
        ("lost", 2, runs.STOPPED, None),
        ("failed", 1, "The store does not answer.", None),
    ]
    assert client.get(f"/api/v1/jobs/{job}/history", headers=bearer(stranger)).status_code == 404


def start_soon(job: UUID) -> jobs.StartedJob:
    """Its delay is over."""
    with transaction():
        db.session.execute(change_rows(Job, Job.uuid == job, run_at=now()))
    return start(job)


def kill_soon(job: UUID) -> None:
    jobs.fail_attempt(start_soon(job), Hopeless("This picture is broken."))


def test_a_job_is_given_up_when_its_deadline_passes(member: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    late, tried, fine = (queue(None, name="mails.send")[0] for _ in range(3))
    with transaction():
        db.session.execute(change_rows(Job, Job.uuid == late, deadline_at=now() - timedelta(seconds=1)))
        db.session.execute(change_rows(Job, Job.uuid == tried, deadline_at=now() + timedelta(seconds=5)))
    assert jobs.give_up_late() == 1
    assert jobs.fail_attempt(start(tried), Unavailable("later")) == "dead", "the next attempt would come too late"
    assert jobs.fail_attempt(start(fine), Unavailable("later")) == "queued"
    row = read_rows(any_state(Job, Job.state, Job.error).where(Job.uuid == late))[0]
    assert tuple(row) == ("dead", runs.LATE)


def test_the_queues_say_what_waits_runs_and_went_wrong(office: Call, member: Actor) -> None:
    kill(*queue(member.id, 2))
    start(queue(member.id)[0])
    queue(member.id, 3)
    jobs.fail_attempt(start(queue(None, name="mails.send")[0]), Unavailable("later"))
    told = {queue["name"]: queue for queue in office("/queues").json["items"]}
    assert [told["files"][key] for key in ("waiting", "delayed", "running", "failed", "dead")] == [3, 0, 1, 2, 0]
    assert (told["mail"]["delayed"], told["mail"]["oldest_at"]) == (1, None)
    assert told["files"]["oldest_at"] is not None
    assert (told["upkeep"]["limit"], told["webhooks"]["lane_limit"], told["files"]["limit"]) == (1, 1, None)
    assert (told["webhooks"]["limit"], told["mail"]["limit"]) == (1, 1)


def test_the_page_filters_and_orders_all_that_match(
    app: Flask, signed_in: Callable[[Actor], FlaskClient], admin: Actor, member: Actor
) -> None:
    browser = signed_in(admin)
    kill(*queue(member.id, 2, about="<b>bold</b>.pdf"))
    queue(member.id, 1, name="mails.send")
    page = browser.get("/admin/jobs?q=&name=&queue=files&state=failed").text
    assert member.name in page
    assert "&lt;b&gt;bold" in page
    assert "2 jobs" in page
    form = {"csrf_token": csrf_of(page), "state": "failed", "queue": "files"}
    answer = browser.post("/admin/jobs/replays", data=form, follow_redirects=True)
    assert "2 jobs will run again" in answer.text
    assert states() == {"queued": 3}
    cancelled = browser.post("/admin/jobs/cancellations", data={**form, "state": "queued"}, follow_redirects=True)
    assert "2 jobs were cancelled" in cancelled.text
    discarded = browser.post("/admin/jobs/discards", data={**form, "state": "cancelled"}, follow_redirects=True)
    assert "2 jobs were discarded" in discarded.text
    assert states() == {"queued": 1}
    careless = browser.post("/admin/jobs/cancellations", data={"csrf_token": form["csrf_token"], "q": ""})
    assert careless.status_code == 422
    assert states() == {"queued": 1}
    fragment = browser.get("/admin/jobs", headers={"HX-Request": "true"}).text
    assert "<h1" not in fragment


def test_the_page_is_not_there_for_members(signed_in: Callable[[Actor], FlaskClient], member: Actor) -> None:
    assert signed_in(member).get("/admin/jobs").status_code == 404
