"""Relay and worker behind a RabbitMQ and a PostgreSQL of their own, which these tests kill (promises 2 to 5)."""

import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pika
import pytest
from flask import Flask

from tasks import relay as relay_module
from tasks import windows
from tasks.broker import queue_name
from tasks.publishers import RabbitPublisher
from tasks.relay import Relay
from tests.faults.fixtures import effects, jobs_side, kinds, queue, row_of, states
from tests.faults.processes import RELAY, WORKER, Program
from tests.servers import PrivatePostgres, PrivateRabbit, children_of, wait_until
from webapp.config import Settings, current_settings
from webapp.db import db

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("kinds")]
__all__ = ["kinds"]
Start = Callable[..., Program]


@pytest.fixture(scope="module")
def rabbit() -> Iterator[PrivateRabbit]:
    with PrivateRabbit() as server:
        yield server


@pytest.fixture(scope="module")
def postgres() -> Iterator[PrivatePostgres]:
    with PrivatePostgres() as server:
        yield server


@pytest.fixture
def environment(rabbit: PrivateRabbit, postgres: PrivatePostgres, tmp_path: Path) -> dict[str, str]:
    """What every process of a test shares; queues of its own, so that no message of another test comes along."""
    return {"DATABASE_URL": postgres.url, "RABBITMQ_URL": rabbit.url, "VAR_DIR": str(tmp_path / "var"),
            "RABBITMQ_QUEUE_PREFIX": f"t{secrets.token_hex(4)}"}  # fmt: skip


@pytest.fixture
def side(environment: dict[str, str]) -> Iterator[Flask]:
    shared = {name: value for name, value in environment.items() if name != "VAR_DIR"}
    with jobs_side(Path(environment["VAR_DIR"]), **shared) as app:
        yield app


@pytest.fixture
def start(side: Flask, environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Starts programs that end with the test."""
    with ExitStack() as stack:

        def program(command: tuple[str, ...]) -> Program:
            log = tmp_path / f"{secrets.token_hex(3)}.log"
            return stack.enter_context(Program(command, log, **environment))

        yield program


def until_over(count: int, limit: float = 60) -> None:
    """Until so many jobs are over, one way or the other."""
    wait_until(lambda: sum(n for state, n in states().items() if state not in {"queued", "running"}) >= count, limit,
               about=f"{count} jobs to end")  # fmt: skip


def messages(settings: Settings, queue: str = "default") -> int:
    """How many wait in RabbitMQ."""
    assert settings.rabbitmq_url is not None
    connection = pika.BlockingConnection(pika.URLParameters(settings.rabbitmq_url.get_secret_value()))
    try:
        return int(connection.channel().queue_declare(queue_name(settings, queue), durable=True).method.message_count)
    finally:
        connection.close()


def test_jobs_run_within_moments_of_their_commit(start: Start) -> None:
    start(WORKER).wait_for("ready for action")
    start(RELAY).wait_for("relay_started")
    jobs = queue("test.effect", 50)
    until_over(50)
    assert states() == {"done": 50}
    assert effects() == dict.fromkeys(jobs, 1)


def test_rabbitmq_killed_while_jobs_come_loses_none(rabbit: PrivateRabbit, start: Start) -> None:
    worker, relay = start(WORKER).wait_for("ready for action"), start(RELAY).wait_for("relay_started")
    jobs = queue("test.effect", 20)
    rabbit.kill()
    begun = time.monotonic()
    for _ in range(3):
        jobs += queue("test.effect", 10)
    assert time.monotonic() - begun < 10, "a dead broker must not hold a commit up"
    wait_until(lambda: "relay_waits" in relay.text, 30)
    rabbit.start()
    until_over(50)
    assert effects() == dict.fromkeys(jobs, 1)
    assert states() == {"done": 50}
    assert relay.text.count("relay_waits") == relay.text.count("relay_works_again") == 1
    assert not worker.ended


def test_a_memory_alarm_of_rabbitmq_delays_jobs_and_nothing_else(rabbit: PrivateRabbit, start: Start) -> None:
    start(WORKER).wait_for("ready for action")
    relay = start(RELAY).wait_for("relay_started")
    rabbit.control("set_vm_memory_high_watermark", "0.000001")
    try:
        jobs = queue("test.effect", 5)
        wait_until(lambda: "relay_waits" in relay.text, 30)
        assert states() == {"queued": 5}
    finally:
        rabbit.control("set_vm_memory_high_watermark", "0.6")
    until_over(5)
    assert effects() == dict.fromkeys(jobs, 1)


def test_postgresql_restarted_under_relay_and_worker_loses_none(postgres: PrivatePostgres, start: Start) -> None:
    start(WORKER).wait_for("ready for action")
    relay = start(RELAY).wait_for("relay_started")
    jobs = queue("test.slow", 4, seconds=1.5)
    wait_until(lambda: states().get("running") == 4, 30)
    postgres.stop(signal.SIGQUIT)
    time.sleep(2)
    postgres.start()
    db.engine.dispose()  # this process's own connections are dead as well
    jobs += queue("test.effect", 10)
    until_over(14)
    assert effects() == dict.fromkeys(jobs, 1)
    assert not relay.ended


def test_a_job_that_kills_its_process_is_parked_and_the_others_go_on(start: Start, tmp_path: Path) -> None:
    start(RELAY).wait_for("relay_started")
    log = tmp_path / "starts"
    (poison,) = queue("test.poison", log=str(log))
    others = queue("test.effect", 10)
    worker = start(WORKER)
    deadline = time.monotonic() + 90
    while states() != {"dead": 1, "done": 10}:
        assert time.monotonic() < deadline, states()
        if worker.ended:  # its supervisor starts it again
            worker = start(WORKER)
        time.sleep(0.1)
    assert (row_of(poison).attempts, len(log.read_text().split())) == (3, 3)
    assert effects() == dict.fromkeys(others, 1)


def kill_workers_at_random(start: Start, jobs: int, kills: int) -> None:
    """A worker works through slow and quick jobs and is killed again and again."""
    start(RELAY).wait_for("relay_started")
    known = queue("test.effect", jobs) + queue("test.slow", jobs // 5, seconds=0.4)
    for number in range(kills):
        worker = start(WORKER).wait_for("ready for action")
        time.sleep(0.2 + secrets.randbelow(1000) / 1000)
        for pid in [*children_of(worker.process.pid), worker.process.pid]:
            os.kill(pid, signal.SIGKILL)
        worker.process.wait(10)
        known += queue("test.effect", 5) if number % 2 else []
    start(WORKER)
    until_over(len(known), 120)
    assert states() == {"done": len(known)}
    assert effects() == dict.fromkeys(known, 1)


def test_workers_killed_at_random_leave_each_effect_once(start: Start) -> None:
    kill_workers_at_random(start, 40, 3)


def test_a_worker_that_is_asked_to_stop_finishes_what_runs(start: Start) -> None:
    start(RELAY).wait_for("relay_started")
    worker = start(WORKER).wait_for("ready for action")
    slow = queue("test.slow", 4, seconds=2)
    wait_until(lambda: states().get("running") == 4, 30)
    assert worker.stop() == 0, worker.text
    assert states() == {"done": 4}
    assert {row_of(job).attempts for job in slow} == {1}


def test_a_worker_whose_master_is_killed_ends_too(start: Start) -> None:
    worker = start(WORKER).wait_for("ready for action")
    (child,) = [pid for pid in children_of(worker.process.pid) if b"dramatiq" in cmdline(pid)]
    worker.stop(signal.SIGKILL)
    wait_until(lambda: not cmdline(child), 20, about="the worker process to end")


def cmdline(pid: int) -> bytes:
    """The command of a living process, nothing for one that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows so wide that all that is due is sent although nobody takes it."""
    monkeypatch.setattr(windows, "LEAST", 1000)


@contextmanager
def relays(app: Flask, count: int) -> Iterator[list[Relay]]:
    """So many relays of this process at work, each with a connection of its own."""
    running = [Relay(app, RabbitPublisher(current_settings())) for _ in range(count)]
    threads = [threading.Thread(target=relay.run) for relay in running]
    for thread in threads:
        thread.start()
    try:
        yield running
    finally:
        for relay in running:
            relay.stop()
        for thread in threads:
            thread.join(20)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.usefixtures("wide")
def test_two_relays_send_each_job_once(side: Flask) -> None:
    with relays(side, 2):
        for _ in range(20):
            queue("test.effect", 25)
        wait_until(lambda: messages(current_settings()) >= 500, 30)
    assert messages(current_settings()) == 500


@pytest.mark.usefixtures("wide")
def test_messages_that_rabbitmq_lost_are_sent_again(side: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "LOST_AFTER", 1.0)
    monkeypatch.setattr(relay_module, "ROUND", 0.3)
    settings = current_settings()
    with relays(side, 1):
        queue("test.effect", 30)
        wait_until(lambda: messages(settings) == 30, 20)
        time.sleep(2)
        assert messages(settings) == 30, "a message that still waits is not lost"
        purge(settings)
        wait_until(lambda: messages(settings) == 30, 20)


@pytest.mark.usefixtures("wide")
def test_messages_that_a_busy_worker_holds_are_not_called_lost(
    side: Flask, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "LOST_AFTER", 1.0)
    monkeypatch.setattr(relay_module, "ROUND", 0.3)
    said: list[str] = []
    for level in ("info", "warning"):
        monkeypatch.setattr(relay_module.log, level, lambda event, **_: said.append(event), raising=False)
    start(WORKER).wait_for("ready for action")
    jobs = queue("test.slow", 6, seconds=4)  # four run, two wait in the worker
    with relays(side, 1):
        wait_until(lambda: "waiting_messages_sent_again" in said, 30)
        until_over(6)
    assert "lost_messages_sent_again" not in said
    assert effects() == dict.fromkeys(jobs, 1), "a second message runs nothing twice"


@pytest.mark.timeout(30)
def test_a_relay_stops_whenever_the_signal_comes(side: Flask) -> None:
    """Also inside threading's waits, which hold a lock that a handler there would wait for without end."""
    busy = Busy()
    relay = Relay(side, busy)

    def trace(frame: FrameType, event: str, _: object) -> Any:
        inside = frame.f_code.co_filename == threading.__file__ and frame.f_code.co_name == "wait"
        if busy.looks > 3 and ((inside and event == "line") or busy.looks > 10):
            relay.stop()  # as a signal's handler would at this moment
        return trace if inside or event == "call" else None

    sys.settrace(trace)
    try:
        relay.run()
    finally:
        sys.settrace(None)


class Busy:
    """A broker whose queues are full, so that the relay looks again and again."""

    looks = 0

    def room(self) -> dict[str, int]:
        self.looks += 1
        return {"default": 0}

    def send(self, jobs: object) -> None: ...
    def empty_queues(self) -> list[str]:
        return []

    def close(self) -> None: ...


def test_a_backlog_stays_in_the_table_where_it_can_be_overtaken(side: Flask) -> None:
    with relays(side, 1) as (relay,):
        queue("test.effect", 300)
        wait_until(lambda: messages(current_settings()) > 0, 20)
        time.sleep(1)
        assert messages(current_settings()) <= 2 * windows.LEAST
        assert states() == {"queued": 300}
    assert relay.trouble == ""


def purge(settings: Settings) -> None:
    """RabbitMQ forgets what waited."""
    assert settings.rabbitmq_url is not None
    connection = pika.BlockingConnection(pika.URLParameters(settings.rabbitmq_url.get_secret_value()))
    connection.channel().queue_purge(queue_name(settings, "default"))
    connection.close()


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_twenty_workers_killed_at_random_leave_each_effect_once(start: Start) -> None:
    kill_workers_at_random(start, 400, 20)


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_rabbitmq_killed_three_times_during_five_hundred_jobs_loses_none(rabbit: PrivateRabbit, start: Start) -> None:
    start(WORKER).wait_for("ready for action")
    start(RELAY).wait_for("relay_started")
    jobs = []
    for number in range(50):
        jobs += queue("test.effect", 10)
        if number in {10, 25, 40}:
            rabbit.kill()
        if number in {15, 30, 45}:
            rabbit.start()
        time.sleep(0.05)
    until_over(500, 240)
    assert effects() == dict.fromkeys(jobs, 1)
    assert states() == {"done": 500}
