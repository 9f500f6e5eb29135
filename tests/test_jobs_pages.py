"""What people see of their jobs and order of them: pages and API."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import csrf_of
from webapp.db import db, read_rows, transaction
from webapp.models.audit import AuditEntry
from webapp.models.jobs import Job
from webapp.models.record import any_state
from webapp.policies import Actor
from webapp.services import events, jobs
from webapp.services.jobs import Hopeless

Bearer = Callable[[Actor], dict[str, str]]


def queue(actor: Actor, count: int = 1, name: str = "files.verify") -> list[UUID]:
    """Jobs of this person, about no real file."""
    with transaction():
        target = events.Target("file", uuid4(), "report.pdf", actor.id, {"file_id": 1, "number": 1})
        return [events.queue_jobs(actor, (name,), target)[0] for _ in range(count)]


def start(job: UUID) -> jobs.StartedJob:
    """A worker begins with it."""
    row = read_rows(any_state(Job, Job.id).where(Job.uuid == job))[0]
    started = jobs.start_job(row.id)
    assert started is not None
    return started


def kill(job: UUID) -> None:
    """The job fails for good."""
    jobs.fail_attempt(start(job), Hopeless("This picture is broken."))


def test_the_list_shows_ones_own_jobs_newest_first_in_pages(
    app: Flask, client: FlaskClient, member: Actor, stranger: Actor, bearer: Bearer
) -> None:
    ids, headers = queue(member, 7), bearer(member)
    queue(stranger, 2)
    seen: list[str] = []
    cursor = ""
    while True:
        page: Any = client.get(f"/api/v1/jobs?limit=3{cursor}", headers=headers).json
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == [str(job) for job in reversed(ids)]


def test_a_filter_by_state_leaves_the_others_out(client: FlaskClient, member: Actor, bearer: Bearer) -> None:
    broken, waiting = queue(member, 2)
    kill(broken)
    headers = bearer(member)
    for state, expected in (("failed", [str(broken)]), ("queued", [str(waiting)]), ("done", [])):
        items = client.get(f"/api/v1/jobs?state={state}", headers=headers).json["items"]
        assert [item["id"] for item in items] == expected
    assert client.get("/api/v1/jobs?state=lost", headers=headers).status_code == 422


def test_somebody_elses_job_is_not_there_whatever_one_does(
    client: FlaskClient, member: Actor, stranger: Actor, bearer: Bearer
) -> None:
    (job,) = queue(member)
    kill(job)
    headers = bearer(stranger)
    assert client.get(f"/api/v1/jobs/{job}", headers=headers).status_code == 404
    assert client.post(f"/api/v1/jobs/{job}/replay", headers=headers).status_code == 404
    assert client.post(f"/api/v1/jobs/{job}/cancellation", headers=headers).status_code == 404
    assert client.get(f"/api/v1/files/{uuid4()}/jobs", headers=headers).status_code == 404


def test_a_failed_job_can_run_again_and_the_deed_is_audited(client: FlaskClient, member: Actor, bearer: Bearer) -> None:
    (job,) = queue(member)
    kill(job)
    headers = bearer(member)
    assert client.get(f"/api/v1/jobs/{job}", headers=headers).json["error"] == "This picture is broken."
    answer = client.post(f"/api/v1/jobs/{job}/replay", headers=headers)
    assert (answer.status_code, answer.json["state"], answer.json["attempts"]) == (200, "queued", 0)
    assert answer.json["error"] is None
    events_of_job = read_rows(any_state(AuditEntry, AuditEntry.event).where(AuditEntry.target_uuid == job))
    assert [row.event for row in events_of_job] == ["job.replayed"]
    assert start(job).attempts == 1


def test_a_job_that_is_not_over_cannot_run_again(client: FlaskClient, member: Actor, bearer: Bearer) -> None:
    (job,) = queue(member)
    answer = client.post(f"/api/v1/jobs/{job}/replay", headers=bearer(member))
    assert (answer.status_code, answer.json["code"]) == (409, "not_replayable")


def test_a_cancelled_job_never_starts(
    client: FlaskClient, member: Actor, bearer: Bearer, run_jobs: Callable[[], int]
) -> None:
    (job,) = queue(member)
    headers = bearer(member)
    assert client.post(f"/api/v1/jobs/{job}/cancellation", headers=headers).json["state"] == "cancelled"
    assert run_jobs() == 0
    assert client.post(f"/api/v1/jobs/{job}/cancellation", headers=headers).status_code == 409


def test_cancelling_a_running_job_stops_it_at_its_next_report(
    client: FlaskClient, member: Actor, bearer: Bearer
) -> None:
    (job,) = queue(member)
    started = start(job)
    client.post(f"/api/v1/jobs/{job}/cancellation", headers=bearer(member))
    with pytest.raises(jobs.Taken):
        started.progress(50)
    assert jobs.finish_job(started) is False
    db.session.rollback()
    assert client.get(f"/api/v1/jobs/{job}", headers=bearer(member)).json["state"] == "cancelled"


def test_an_unchanged_job_is_not_sent_again(client: FlaskClient, member: Actor, bearer: Bearer) -> None:
    (job,) = queue(member)
    headers = bearer(member)
    tag = client.get(f"/api/v1/jobs/{job}", headers=headers).headers["ETag"]
    assert client.get(f"/api/v1/jobs/{job}", headers={**headers, "If-None-Match": tag}).status_code == 304
    start(job)
    assert client.get(f"/api/v1/jobs/{job}", headers={**headers, "If-None-Match": tag}).status_code == 200


def test_the_page_lists_filters_and_follows(member: Actor, signed_in: Callable[[Actor], FlaskClient]) -> None:
    broken, running, waiting = queue(member, 3)
    kill(broken)
    jobs.report_progress(start(running), 42)
    browser = signed_in(member)
    page = browser.get("/jobs").text
    assert "42 %" in page
    assert "This picture is broken." in page
    assert f"/jobs/{waiting}" in page
    only = browser.get("/jobs?state=failed").text
    assert f"/jobs/{broken}" in only
    assert f"/jobs/{waiting}" not in only
    fragment = browser.get("/jobs", headers={"HX-Request": "true"}).text
    assert fragment.lstrip().startswith("<tbody")


def test_the_page_of_a_job_replays_and_cancels(member: Actor, signed_in: Callable[[Actor], FlaskClient]) -> None:
    (job,) = queue(member)
    kill(job)
    browser = signed_in(member)
    page = browser.get(f"/jobs/{job}").text
    assert "This picture is broken." in page
    token = csrf_of(page)
    again = browser.post(f"/jobs/{job}/replay", data={"csrf_token": token}, follow_redirects=True).text
    assert "The job will run again." in again
    cancelled = browser.post(f"/jobs/{job}/cancellation", data={"csrf_token": token}, follow_redirects=True).text
    assert "Job cancelled." in cancelled
    late = browser.post(f"/jobs/{job}/cancellation", data={"csrf_token": token}, follow_redirects=True).text
    assert "This job has already ended." in late


def test_a_form_without_its_token_changes_nothing(member: Actor, signed_in: Callable[[Actor], FlaskClient]) -> None:
    (job,) = queue(member)
    answer = signed_in(member).post(f"/jobs/{job}/cancellation")
    assert answer.status_code in {400, 403}
    assert start(job).attempts == 1
