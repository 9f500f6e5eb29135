"""Promise 15: a retried POST is one POST."""

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from webapp.db import db, read_rows, transaction
from webapp.infra.clock import now
from webapp.models.jobs import Job
from webapp.models.record import any_state, change_rows
from webapp.policies import Actor, system_actor
from webapp.services import events, repetitions
from webapp.services.folders import FolderFilter, list_folders

Bearer = Callable[[Actor], dict[str, str]]


def names(actor: Actor) -> list[str]:
    return [folder.name for folder in list_folders(actor, FolderFilter()).items]


def make(client: FlaskClient, headers: dict[str, str], name: str, key: str) -> TestResponse:
    return client.post("/api/v1/folders", json={"name": name}, headers={**headers, "Idempotency-Key": key})


def test_a_repeated_post_gets_the_first_answer_to_the_letter(
    client: FlaskClient, member: Actor, bearer: Bearer
) -> None:
    headers = bearer(member)
    first, second = (make(client, headers, "Survey", "a-key") for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.data == second.data
    assert [first.headers[h] for h in ("Location", "ETag")] == [second.headers[h] for h in ("Location", "ETag")]
    assert names(member) == ["Survey"]


def test_a_key_used_for_another_request_is_refused(client: FlaskClient, member: Actor, bearer: Bearer) -> None:
    headers = bearer(member)
    make(client, headers, "Survey", "a-key")
    other = make(client, headers, "Charts", "a-key")
    assert (other.status_code, other.json["errors"][0]["code"]) == (422, "key_reused")
    assert names(member) == ["Survey"]


def test_keys_of_two_people_do_not_meet(client: FlaskClient, member: Actor, stranger: Actor, bearer: Bearer) -> None:
    for actor in (member, stranger):
        assert make(client, bearer(actor), "Survey", "a-key").status_code == 201
    assert names(member) == names(stranger) == ["Survey"]


def test_twenty_twins_in_parallel_make_one_folder(
    app: Flask, client: FlaskClient, member: Actor, bearer: Bearer
) -> None:
    headers = bearer(member)

    def post(_: int) -> TestResponse:
        with app.app_context():
            return make(app.test_client(), headers, "Survey", "twins")

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(post, range(20)))
    done = [answer for answer in answers if answer.status_code == 201]
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert all("Retry-After" in answer.headers for answer in answers if answer.status_code == 409)
    assert len({answer.data for answer in done}) == 1
    assert names(member) == ["Survey"]


def test_a_deed_that_dies_before_its_commit_leaves_no_key_behind(
    client: FlaskClient, member: Actor, bearer: Bearer, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers, keep = bearer(member), repetitions.KeptAnswer

    def die(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("webapp.http.repetitions.KeptAnswer", die)
    assert make(client, headers, "Survey", "a-key").status_code == 500
    assert names(member) == []
    monkeypatch.setattr("webapp.http.repetitions.KeptAnswer", keep)
    assert make(client, headers, "Survey", "a-key").status_code == 201
    assert names(member) == ["Survey"]


def test_a_refusal_is_not_kept_so_that_the_repaired_request_may_use_the_key(
    client: FlaskClient, member: Actor, bearer: Bearer
) -> None:
    headers = bearer(member)
    assert make(client, headers, "no/slash", "a-key").status_code == 422
    assert make(client, headers, "Survey", "a-key").status_code == 201


def test_a_repeated_upload_stores_one_file(client: FlaskClient, member: Actor, bearer: Bearer) -> None:
    headers = {**bearer(member), "Idempotency-Key": "upload"}

    def send(content: bytes) -> TestResponse:
        return client.post("/api/v1/files", data={"file": (io.BytesIO(content), "tides.csv")}, headers=headers)

    first, second, other = send(b"a,b"), send(b"a,b"), send(b"c,d")
    assert (first.status_code, second.status_code, other.status_code) == (201, 201, 422)
    assert first.data == second.data
    assert len(client.get("/api/v1/files", headers=headers).json["items"]) == 1


@pytest.mark.parametrize("key", ["", "white space", "ü", "x" * 256])
def test_a_malformed_key_is_refused(client: FlaskClient, member: Actor, bearer: Bearer, key: str) -> None:
    assert make(client, bearer(member), "Survey", key).status_code == 400


def test_after_a_day_the_key_is_free_again(client: FlaskClient, member: Actor, bearer: Bearer) -> None:
    make(client, bearer(member), "Survey", "a-key")
    with time_machine.travel(now() + timedelta(hours=25)):
        assert make(client, bearer(member), "Charts", "a-key").status_code == 201
        assert repetitions.sweep_answers() == 0
    with time_machine.travel(now() + timedelta(hours=50)):
        assert repetitions.sweep_answers() == 1


@pytest.mark.parametrize("order", ["replays", "cancellations", "discards"])
def test_a_repeated_order_about_many_jobs_is_carried_out_once(
    client: FlaskClient, admin: Actor, bearer: Bearer, order: str
) -> None:
    headers = {**bearer(admin), "Idempotency-Key": "an-order"}

    def give(**filter_: str) -> TestResponse:
        return client.post(f"/api/v1/jobs/{order}", json={"filter": {"state": state, **filter_}}, headers=headers)

    state = "queued" if order == "cancellations" else "cancelled"
    queue_some(state)
    first = give()
    assert (first.status_code, first.json["changed"]) == (200, 2), first.text
    queue_some(state)  # what went wrong since is not what was meant
    second = give()
    assert (second.status_code, second.data) == (200, first.data)
    assert len(jobs_in(state)) == 2, "those of the second time stand as they were"
    other = give(q="survey")
    assert (other.status_code, other.json["errors"][0]["code"]) == (422, "key_reused")
    assert (
        client.post(f"/api/v1/jobs/{order}", json={"filter": {}}, headers={**headers, "Idempotency-Key": "ü"}).json[
            "code"
        ]
        == "idempotency_key"
    )


def queue_some(state: str) -> None:
    """Two jobs about no real file."""
    with transaction():
        for _ in range(2):
            target = events.Target("file", uuid4(), "report.pdf", None, {"file_id": 1, "number": 1})
            (job,) = events.queue_jobs(system_actor(), ("files.verify",), target)
            db.session.execute(change_rows(Job, Job.uuid == job, state=state))


def jobs_in(state: str) -> list[Any]:
    return list(read_rows(any_state(Job, Job.id).where(Job.state == state, Job.deleted_at.is_(None))))
