"""What the vault says of itself while its processes start, live, are killed and stop: no wait goes unseen."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.faults.fixtures import jobs_side
from tests.faults.processes import QUICK, RELAY, Program
from tests.servers import PrivatePostgres, PrivateRabbit, PrivateRedis, children_of, free_port, wait_until
from webapp.config import current_settings, use_settings
from webapp.db import db, transaction
from webapp.infra import ids
from webapp.infra.clock import now
from webapp.infra.holders import read_processes
from webapp.infra.inquiries import Inquiries
from webapp.models.jobs import Job
from webapp.models.webhooks import Webhook, WebhookHealth
from webapp.policies import Actor
from webapp.services import backlogs, caches, conditions, health

Bearer = Callable[[Actor], dict[str, str]]
SignedIn = Callable[[Actor], FlaskClient]
WORKER = ("-m", "dramatiq", "tasks", "--processes", "1", "--threads", "3", "--skip-logging")
SILENCE = float(QUICK["JOB_ORPHAN_AFTER"]) * 1.5


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """No answer of an earlier test."""
    forget()
    yield
    forget()


def forget() -> None:
    health._State.seen, health._State.job_threads = None, {}
    health._State.inquiries, conditions._State.inquiries = Inquiries(8), Inquiries(5)
    for space in (caches.BACKLOGS, caches.HOLDERS):
        caches.layers().clear(space, str(caches.VAULT))


class Stack:
    """The processes of a vault on servers of its own, started one by one."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack, self.port, self.streams_port = folder, stack, free_port(), free_port()
        self.postgres, self.rabbit, self.redis = (
            stack.enter_context(kind()) for kind in (PrivatePostgres, PrivateRabbit, PrivateRedis)
        )
        self.environment = {
            "DATABASE_URL": self.postgres.url, "RABBITMQ_URL": self.rabbit.url, "REDIS_URL": self.redis.url,
            "VAR_DIR": str(folder / "var"), "PORT": str(self.port), "STREAMS_PORT": str(self.streams_port),
            "WEB_PROCESSES": "1", "JOB_THREADS": "3",
        }  # fmt: skip

    @contextmanager
    def seen(self) -> Iterator[Flask]:
        """Its database, from here."""
        with jobs_side(self.folder / "var", DATABASE_URL=self.postgres.url) as app:
            yield app

    def start(self, name: str, *command: str) -> Program:
        """One of them; it ends with the test."""
        program = Program(command, self.folder / f"{name}.log", **self.environment)
        self.stack.callback(kill, program)
        return program

    def ready(self) -> dict[str, Any]:
        """What it says of itself."""
        with urlopen(f"http://127.0.0.1:{self.port}/health/ready", timeout=10) as answer:
            return dict(json.load(answer))

    def answers(self) -> bool:
        """Whether the web does."""
        try:
            return bool(self.ready())
        except OSError:
            return False

    def checks(self, **states: str) -> bool:
        """Whether these parts are in these states."""
        found = self.ready()["checks"]
        return all(found[name] == state for name, state in states.items())

    def metrics(self) -> str:
        """What Prometheus reads."""
        with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            return str(answer.read().decode())


def kill(program: Program) -> None:
    """It and all below it, as a machine that loses its power does."""
    if not program.ended:
        for pid in [*children_of(program.process.pid), program.process.pid]:
            os.kill(pid, signal.SIGKILL)
    program.process.wait(30)


def roles() -> dict[str, int]:
    """How many processes of each role live."""
    found: dict[str, int] = {}
    for process in read_processes(db.engine):
        found[process.role] = found.get(process.role, 0) + 1
    return found


def owe(queue: str = "files", minutes: float = 0, **values: Any) -> None:
    """A job that is due since so many minutes."""
    with transaction():
        db.session.add(Job(name="files.verify", queue=queue, args={"file_id": 1, "number": 1},
                           run_at=now() - timedelta(minutes=minutes), **values))  # fmt: skip


@pytest.mark.services
def test_a_vault_without_worker_and_relay_says_so_and_with_them_is_ready(tmp_path: Path) -> None:
    """Who looks at a vault that does no jobs sees it, whatever ended them."""
    with ExitStack() as stack:
        vault = Stack(tmp_path, stack)
        with vault.seen():
            web = vault.start("web", "-m", "tasks.web")
            wait_until(lambda: web.ended or vault.answers(), 60)
            assert not web.ended, web.text
            alone = vault.ready()
            assert alone["status"] == "degraded"
            assert {name for name, state in alone["checks"].items() if state != "up"} == {"relay", "worker"}
            wait_until(lambda: roles() == {"web": 1}, 30)

            owe(minutes=7)
            wait_until(lambda: vault.checks(queues="behind"), 30, about="the wait to be seen")
            seconds = vault.metrics().split('holdfast_queue_oldest_seconds{queue="files"} ')[1].split()[0]
            assert 420 <= float(seconds) < 1000

            worker, relay = vault.start("worker", *WORKER), vault.start("relay", *RELAY)
            streams = vault.start("streams", "-m", "tasks.streams")
            wait_until(lambda: vault.ready()["status"] == "ready", 60, about="all to be well")
            wait_until(lambda: roles() == {"web": 1, "worker": 1, "relay": 1, "streams": 1}, 30)
            assert {one.threads for one in read_processes(db.engine) if one.role == "worker"} == {3}
            assert 'holdfast_processes{role="worker"} 1' in vault.metrics()

            kill(worker)
            wait_until(lambda: vault.checks(worker="down", relay="up"), SILENCE + 30, about="the worker to be missed")
            assert vault.ready()["status"] == "degraded"
            assert 'holdfast_processes{role="worker"} 0' in vault.metrics()

            assert relay.stop() == 0, relay.text
            assert streams.stop() == 0, streams.text
            assert roles() == {"web": 1}, "who stops in order is gone at once"
            web.stop()
            assert roles() == {}


@pytest.mark.services
def test_a_worker_whose_broker_dies_says_it_once_and_once_that_it_is_back(tmp_path: Path) -> None:
    with ExitStack() as stack:
        vault = Stack(tmp_path, stack)
        with vault.seen():
            worker = vault.start("worker", *WORKER).wait_for("ready for action")
            wait_until(lambda: roles() == {"worker": 1}, 30)
            wait_until(lambda: consumers(vault) >= 5, 60, about="the consumers")
            vault.rabbit.kill()
            worker.wait_for("broker_is_away")
            time.sleep(3)  # several tries of all five: here they try again every 0.3 s
            vault.rabbit.start()
            worker.wait_for("broker_is_back")
            assert worker.text.count("broker_is_away") == worker.text.count("broker_is_back") == 1, worker.text
            assert "Consumer encountered a connection error" not in worker.text
            assert "Restarting consumer" not in worker.text
            assert roles() == {"worker": 1}, "it lives all the while"


def consumers(vault: Stack) -> int:
    """Of all queues."""
    return sum(int(line) for line in vault.rabbit.control("list_queues", "-q", "consumers").split() if line.isdigit())


@pytest.fixture
def look(client: FlaskClient, admin: Actor, bearer: Bearer) -> Callable[[], dict[str, Any]]:
    """The condition as the API gives it, asked anew."""
    headers = bearer(admin)

    def read() -> dict[str, Any]:
        health._State.seen = None
        for space in (caches.BACKLOGS, caches.HOLDERS):
            caches.layers().clear(space, str(caches.VAULT))
        answer = client.get("/api/v1/health", headers=headers)
        assert answer.status_code == 200, answer.text
        return dict(answer.json)

    return read


def queues_part(condition: dict[str, Any]) -> dict[str, Any]:
    (part,) = [part for part in condition["parts"] if part["name"] == "queues"]
    return dict(part)


def test_a_wait_that_is_too_long_is_shown_with_what_to_do(
    look: Callable[[], dict[str, Any]], admin: Actor, signed_in: SignedIn, client: FlaskClient, bearer: Bearer
) -> None:
    owe("files", minutes=4)
    owe("upkeep", minutes=50)
    assert queues_part(look())["state"] == "up", "each is within what its queue may take"
    owe("files", minutes=12)
    condition = look()
    assert condition["status"] == "degraded"
    part = queues_part(condition)
    assert (part["state"], part["needed"]) == ("behind", False)
    assert part["reason"] == "files: the oldest due job has waited for 12 minutes"
    page = signed_in(admin).get("/admin/health").text
    assert part["reason"] in page
    assert "start more workers" in page
    assert signed_in(admin).get("/admin/jobs").text.count("Behind") == 1
    queues = client.get("/api/v1/queues", headers=bearer(admin)).json["items"]
    assert [queue["name"] for queue in queues if queue["behind"]] == ["files"]
    assert health.read_readiness().checks["queues"] == "behind"


def test_what_is_not_due_or_held_by_the_limit_of_its_lane_does_not_wait(app: Flask) -> None:
    before = current_settings()
    use_settings(before.model_copy(update={"lane_limits": {"webhooks": 1}, "job_threads": 4}))
    try:
        owe("files", minutes=-30)
        owe("mail", minutes=90, state="running", heartbeat_at=now(), started_at=now())
        owe("webhooks", lane=7, minutes=30, state="running", heartbeat_at=now(), started_at=now())
        owe("webhooks", lane=7, minutes=60)
        assert set(backlogs.waits().values()) == {0.0}
        owe("webhooks", lane=8, minutes=10)
        caches.layers().clear(caches.BACKLOGS, str(caches.VAULT))
        late = backlogs.behind(backlogs.waits())
        assert list(late) == ["webhooks"]
        assert 600 <= late["webhooks"] < 1500, "that of the lane which nothing holds"
    finally:
        use_settings(before)


def test_what_was_sent_and_nobody_began_waits_since_it_was_sent(app: Flask) -> None:
    owe("files", minutes=60, sent_at=now() - timedelta(minutes=8))
    assert 480 <= backlogs.waits()["files"] < 1200


def test_jobs_given_up_and_webhooks_in_trouble_are_notices_and_no_fault(
    look: Callable[[], dict[str, Any]], admin: Actor, signed_in: SignedIn
) -> None:
    owe(state="dead", finished_at=now() - timedelta(hours=2))
    owe(state="dead", finished_at=now() - timedelta(days=2))
    with transaction():
        for name, paused in (("paused", now()), ("failing", None), ("well", None)):
            hook = Webhook(name=name, url="https://hooks.example/", events=["*"], secret="s" * 32, owner_id=admin.id,
                           paused_at=paused, pause_reason="manual" if paused else None)  # fmt: skip
            db.session.add(hook)
            db.session.flush()
            db.session.add(WebhookHealth(webhook_id=hook.id, failing_since=now() if name == "failing" else None))
    condition = look()
    assert condition["status"] == "ready"
    assert condition["notices"] == {"dead_jobs": 1, "paused_webhooks": 1, "failing_webhooks": 1}
    page = signed_in(admin).get("/admin/health").text
    for words in ("1 job given up in the last day", "1 webhook fails", "1 webhook is paused"):
        assert words in page


def test_a_sign_of_life_is_rare_and_ends_with_the_process(app: Flask) -> None:
    def mine() -> list[Any]:
        return [one for one in read_processes(db.engine) if one.pid == os.getpid()]

    assert mine() == [], "a command signs nothing"
    ids.appear("relay", 1)
    ids.sign()
    first = mine()
    ids.sign()
    assert [one.role for one in first] == ["relay"]
    assert mine() == first, "not again within a third of JOB_ORPHAN_AFTER"
    ids.release_node()
    assert mine() == []
    ids.sign()
    assert mine() == [], "who left does not come back"


def test_a_process_that_is_silent_for_too_long_is_gone_and_comes_back_with_its_next_sign(app: Flask) -> None:
    ids.appear("worker", 4)
    ids.sign()
    with db.engine.begin() as connection:
        silent = ids.wall_ms() - int(current_settings().gone_after * 1000) - 1
        connection.execute(ids.node_leases.update().values(seen_at_ms=silent))
    assert roles() == {}
    with db.engine.begin() as connection:  # meanwhile somebody took its node
        connection.execute(ids.node_leases.update().values(token=1, role="web"))
    ids._Process.signed = 0.0
    ids.sign()
    assert roles() == {"worker": 1}
    ids.release_node()


def test_a_page_tells_of_every_process(admin: Actor, signed_in: SignedIn) -> None:
    browser = signed_in(admin)
    ids.appear("worker", 4)
    ids.sign()
    try:
        page = browser.get("/admin/health").text
    finally:
        ids.release_node()
    row = page.split("Processes that live")[1].split("</table>")[0]
    assert f">{os.getpid()}</td>" in row
    assert ">Worker</th>" in row
    assert 'data-label="Last sign"' in row
