"""The clerk of a worker process: many beginnings and ends in one statement, none lost, none twice."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from tasks import clerk as clerk_module
from tasks.actors import run_job
from tasks.clerk import Clerk
from tests.faults.fixtures import kinds, queue, row_of, states
from webapp.db import db
from webapp.errors import Unavailable
from webapp.services import jobs

pytestmark = pytest.mark.usefixtures("kinds")
__all__ = ["kinds"]


@pytest.fixture
def clerk(app: Flask) -> Iterator[Clerk]:
    desk = Clerk(app)
    yield desk
    desk.close()


def at_once(count: int, action: Any) -> None:
    """Call it with each number, every call in a thread of its own."""
    threads = [threading.Thread(target=action, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)


def test_jobs_begun_at_the_same_moment_each_have_one_runner(clerk: Clerk) -> None:
    ids = [row_of(job).id for job in queue("test.effect", 10)]
    started: list[jobs.StartedJob | None] = []
    at_once(40, lambda number: started.append(clerk.start(ids[number % 10])))
    begun = [run.id for run in started if run]
    assert sorted(begun) == sorted(ids)
    assert len(started) == 40
    assert states() == {"running": 10}


def test_ends_are_written_at_the_latest_when_it_closes(clerk: Clerk) -> None:
    ends = queue("test.effect", 10)
    for number, job in enumerate(ends):
        run = clerk.start(row_of(job).id)
        assert run is not None
        clerk.finish(run, {"number": number} if number else None)
    clerk.close()
    assert [row_of(job).result for job in ends] == [None, *({"number": number} for number in range(1, 10))]
    assert states() == {"done": 10}


def test_an_end_that_the_database_did_not_take_is_offered_again(clerk: Clerk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clerk_module, "AGAIN", 0.02)
    real, refusals = jobs.finish_jobs, iter(range(3))

    def away(ends: Any) -> int:
        if next(refusals, None) is not None:
            raise Unavailable("The database does not answer.")
        return real(ends)

    monkeypatch.setattr(jobs, "finish_jobs", away)
    (job,) = queue("test.effect")
    run = clerk.start(row_of(job).id)
    assert run is not None
    clerk.finish(run, None)
    clerk.close()
    assert row_of(job).state == "done"


def test_a_database_that_is_away_is_heard_by_who_wants_to_begin(clerk: Clerk, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(ids: Any) -> Any:
        raise Unavailable("The database does not answer.")

    (job,) = queue("test.effect")
    job_id = row_of(job).id
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "start_jobs", away)
        with pytest.raises(Unavailable):
            clerk.start(job_id)
    assert clerk.start(job_id) is not None


def test_a_result_that_the_database_refuses_fails_its_own_job_only(clerk: Clerk) -> None:
    bad, good = queue("test.effect", 2)
    runs = [clerk.start(row_of(job).id) for job in (bad, good)]
    for run, result in zip(runs, ({"text": "a\0b"}, {"text": "ab"}), strict=True):
        assert run is not None
        clerk.finish(run, result)
    clerk.close()
    assert row_of(good).state == "done"
    assert row_of(bad).state == ("done" if db.engine.dialect.name == "sqlite" else "queued")


def test_a_result_that_is_no_json_fails_the_attempt(clerk: Clerk) -> None:
    (job,) = queue("test.effect")
    run_job(clerk, lambda _: {"thing": object()}, row_of(job).id)
    row = row_of(job)
    assert (row.state, row.attempts, row.error) == ("queued", 1, "Unexpected error (TypeError)")


def test_what_went_wrong_is_stored_before_the_next_attempt(clerk: Clerk) -> None:
    (job,) = queue("test.effect")

    def broken(_: jobs.StartedJob) -> None:
        raise OSError(28, "No space left on device", "/srv/vault/secret-name")

    run_job(clerk, broken, row_of(job).id)
    assert row_of(job).error == "No space left on device"
