"""Whose turn it is: priorities, lanes that share, limits. The rule by itself, then the table on both databases."""

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.fixtures import kinds
from webapp.config import current_settings, use_settings
from webapp.db import db, transaction
from webapp.infra.clock import now
from webapp.infra.ids import next_id
from webapp.models.jobs import KINDS, LATER, NORMAL, SOON, Job, JobKind
from webapp.services import jobs, turns
from webapp.services.turns import Lane, Share, allot

__all__ = ["kinds"]
START = datetime(2026, 11, 1, 12, tzinfo=UTC)
lanes_of = st.lists(
    st.tuples(st.sampled_from(["files", "mail"]), st.sampled_from([SOON, NORMAL, LATER]), st.integers(1, 5)),
    unique=True,
    max_size=12,
)


def line(queue: str, priority: int, lane: int, seconds: int = 0) -> Lane:
    return Lane(queue, priority, lane, START + timedelta(seconds=seconds))


def test_lanes_share_the_room_evenly_however_long_they_wait() -> None:
    waiting = [line("files", NORMAL, 1), line("files", NORMAL, 2, 5000)]
    assert set(allot(waiting, {}, {"files": 6}, {}, {})) == {Share("files", NORMAL, 1, 3), Share("files", NORMAL, 2, 3)}


def test_who_has_most_under_way_waits_for_the_others() -> None:
    waiting = [line("files", NORMAL, 1), line("files", NORMAL, 2, 5000)]
    assert allot(waiting, {("files", 1): 4}, {"files": 1}, {}, {}) == [Share("files", NORMAL, 2, 1)]


def test_of_those_with_as_little_under_way_the_more_urgent_goes_first() -> None:
    waiting = [line("files", LATER, 1), line("files", NORMAL, 2, 55), line("files", SOON, 3, 60)]
    assert allot(waiting, {}, {"files": 1}, {}, {}) == [Share("files", SOON, 3, 1)]
    assert allot(waiting, {("files", 3): 1}, {"files": 1}, {}, {}) == [Share("files", NORMAL, 2, 1)]


def test_a_lane_sends_its_own_urgent_work_first_however_old_the_other_is() -> None:
    waiting = [line("files", LATER, 1, -86400), line("files", NORMAL, 1)]
    assert allot(waiting, {("files", 1): 3}, {"files": 2}, {}, {}) == [Share("files", NORMAL, 1, 2)]


@pytest.mark.parametrize("priority", [SOON, NORMAL])
def test_endless_urgent_work_of_one_holds_up_nobody_elses_later_work(priority: int) -> None:
    waiting = [line("files", priority, 1, -900), line("files", LATER, 2)]
    assert allot(waiting, {("files", 1): 1}, {"files": 1}, {}, {}) == [Share("files", LATER, 2, 1)]


def test_endless_urgent_work_of_many_holds_up_later_work_for_an_hour() -> None:
    for age, lane in ((3500, 1), (3700, 2)):
        waiting = [line("files", SOON, 1), line("files", LATER, 2, -age)]
        assert [share.lane for share in allot(waiting, {}, {"files": 1}, {}, {})] == [lane]


def test_limits_of_queues_and_lanes_count_what_is_under_way() -> None:
    waiting = [line("mail", NORMAL, 1), line("webhooks", NORMAL, 7), line("webhooks", NORMAL, 8)]
    under_way = {("mail", 9): 2, ("webhooks", 7): 2}
    shares = allot(waiting, under_way, {"mail": 9, "webhooks": 9}, {"mail": 3}, {"webhooks": 2})
    assert set(shares) == {Share("mail", NORMAL, 1, 1), Share("webhooks", NORMAL, 8, 2)}


@given(lanes_of, st.dictionaries(st.tuples(st.sampled_from(["files", "mail"]), st.integers(1, 5)), st.integers(0, 9)),
       st.integers(0, 20), st.integers(1, 12), st.integers(1, 4))  # fmt: skip
def test_no_limit_is_passed_and_no_room_is_wasted(
    waiting: list[Any], under_way: dict[tuple[str, int], int], room: int, most: int, of_lane: int
) -> None:
    lines = [line(*each, number) for number, each in enumerate(waiting)]
    shares = allot(lines, under_way, {"files": room, "mail": room}, {"files": most}, {"files": of_lane})
    given_, lanes = Counter[str](), Counter[tuple[str, int]](under_way)
    for share in shares:
        given_[share.queue] += share.number
        lanes[share.queue, share.lane] += share.number
    before = sum(number for (queue, _), number in under_way.items() if queue == "files")
    assert given_["files"] <= max(0, min(room, most - before))
    assert all(number <= max(of_lane, under_way.get(key, 0)) for key, number in lanes.items() if key[0] == "files")
    if any(each.queue == "mail" for each in lines):
        assert given_["mail"] == room
    open_lanes = [each for each in lines if each.queue == "files" and lanes["files", each.lane] < of_lane]
    assert not open_lanes or given_["files"] == max(0, min(room, most - before))


def add(count: int, *, lane: int = 0, priority: int = NORMAL, queue: str = "default", delay: float = 0) -> None:
    """Jobs that are due, those of one call in order."""
    moment = now() + timedelta(seconds=delay)
    with transaction():
        db.session.add_all(
            Job(id=next_id(), name="test.effect", queue=queue, lane=lane, priority=priority, max_attempts=5,
                run_at=moment + timedelta(microseconds=number)) for number in range(count)
        )  # fmt: skip


def sent(room: int, queue: str = "default") -> list[tuple[int, int]]:
    """(lane, priority) of what goes next, in order."""
    with turns.due_jobs({queue: room}) as turn:
        pass
    with db.engine.connect() as connection:
        rows = {
            row.id: (row.lane, row.priority) for row in connection.execute(db.select(Job.id, Job.lane, Job.priority))
        }
    return [rows[job.id] for job in turn.jobs]


@pytest.mark.usefixtures("app", "kinds")
class TestInTheTable:
    def test_one_job_does_not_wait_behind_ten_thousand_of_somebody_else(self) -> None:
        for _ in range(10):
            add(1000, lane=1)
        assert sent(4) == [(1, NORMAL)] * 4
        add(1, lane=2)
        assert (2, NORMAL) in sent(1), "the first one that there is room for"

    def test_urgent_jobs_overtake_and_later_ones_follow(self) -> None:
        add(2, priority=LATER)
        add(2, priority=NORMAL)
        add(2, priority=SOON)
        order = [priority for _ in range(6) for _, priority in sent(1)]
        assert order == [SOON, SOON, NORMAL, NORMAL, LATER, LATER]

    def test_urgent_work_of_one_shares_with_the_later_work_of_another(self) -> None:
        add(50, lane=1)
        add(1, lane=2, priority=LATER)
        assert sent(2) == [(1, NORMAL), (2, LATER)]

    def test_within_a_lane_the_oldest_goes_first(self) -> None:
        add(5)
        with turns.due_jobs({"default": 5}) as turn:
            ids = [job.id for job in turn.jobs]
        assert ids == sorted(ids)

    def test_jobs_of_the_future_and_of_queues_without_room_stay(self) -> None:
        add(1, delay=60)
        add(1, queue="mail")
        with turns.due_jobs({"default": 5}) as turn:
            assert turn == turns.Turn([], False)
        with turns.due_jobs({"default": 5, "mail": 5}) as turn:
            assert [job.queue for job in turn.jobs] == ["mail"]

    def test_a_queue_with_a_limit_gets_the_next_when_one_has_ended(self) -> None:
        add(3, queue="upkeep")
        with turns.due_jobs({"upkeep": 9}) as turn:
            (first,) = turn.jobs
        assert sent(9, "upkeep") == []
        run = jobs.start_job(first.id)
        assert run is not None
        assert sent(9, "upkeep") == []
        jobs.finish_job(run)
        assert len(sent(9, "upkeep")) == 1

    def test_a_webhook_that_hangs_holds_up_its_own_deliveries_alone(self) -> None:
        add(50, lane=7, queue="webhooks")
        add(1, lane=8, queue="webhooks")
        assert len(sent(50, "webhooks")) == 1, "of two threads receivers get one, whoever they are"
        use_settings(current_settings().model_copy(update={"job_threads": 9}))
        assert sorted(sent(50, "webhooks")) == [(7, NORMAL)] * 3 + [(8, NORMAL)]

    def test_eight_relays_at_once_never_pass_a_limit(self, app: Flask) -> None:
        """On SQLite one process owns the jobs, so only PostgreSQL has several."""
        if db.engine.dialect.name == "sqlite":
            pytest.skip("one relay by construction")
        use_settings(current_settings().model_copy(update={"queue_limits": {"default": 3}}))
        add(40, lane=1)
        found: list[int] = []
        barrier = threading.Barrier(8)

        def relay() -> None:
            with app.app_context():
                barrier.wait()
                for _ in range(5):
                    with turns.due_jobs({"default": 10}) as turn:
                        found.extend(job.id for job in turn.jobs)

        threads = [threading.Thread(target=relay) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == len(set(found)) == 3


@pytest.mark.usefixtures("app", "kinds")
def test_the_end_of_a_limited_job_wakes_the_relay_and_of_others_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[int] = []
    monkeypatch.setattr(jobs, "wake_relay_now", lambda: woken.append(1))
    for queue, number in (("upkeep", 1), ("default", 1)):
        monkeypatch.setitem(KINDS, "test.effect", JobKind("test.effect", "test", queue))
        add(1, queue=queue)
        with turns.due_jobs({queue: 1}) as turn:
            pass
        run = jobs.start_job(turn.jobs[0].id)
        assert run is not None
        jobs.finish_job(run)
        assert len(woken) == number


@pytest.mark.usefixtures("app", "kinds")
def test_receivers_and_mail_servers_that_hang_leave_a_thread_for_the_others() -> None:
    threads = current_settings().job_threads
    for lane in range(20):
        add(5, lane=lane, queue="webhooks")
    with turns.due_jobs({"webhooks": 50, "default": 50}) as turn:
        assert len(turn.jobs) == max(1, threads - 1)
    add(1)
    with turns.due_jobs({"webhooks": 50, "default": 50}) as turn:
        assert [job.queue for job in turn.jobs] == ["default"]
