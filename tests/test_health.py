"""Alive, ready, measured: what orchestrators and Prometheus ask."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from webapp.db import db
from webapp.infra import probes
from webapp.infra.inquiries import Inquiries
from webapp.infra.layers import Layers
from webapp.infra.storage import store
from webapp.services import caches, conditions, health

from .conftest import make_settings, migrate
from .plumbing import make_app
from .servers import PrivateRedis, free_port

PARTS = {"database", "migrations", "storage", "cache", "broker", "relay", "worker", "queues"}
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """No answer of an earlier test."""
    forget()
    yield
    forget()


def forget() -> None:
    health._State.seen, health._State.job_threads = None, {}
    health._State.inquiries = Inquiries(8)
    conditions._State.inquiries = Inquiries(5)
    caches.layers().clear(caches.BACKLOGS, str(caches.VAULT))


def ready(client: FlaskClient) -> tuple[int, dict[str, Any]]:
    health._State.seen = None
    answer = client.get("/health/ready")
    return answer.status_code, answer.json


def test_a_migrated_vault_is_ready(client: FlaskClient) -> None:
    status, answer = ready(client)
    assert (status, answer["status"]) == (200, "ready")
    assert set(answer["checks"]) == PARTS
    assert set(answer["checks"].values()) == {"up", "in-process"}


def test_it_says_names_and_states_only(client: FlaskClient) -> None:
    assert re.fullmatch(r'\{"status":"\w+","checks":\{("\w+":"[a-z-]+",?)+\}\}', client.get("/health/ready").text)


def test_an_answer_is_given_again_for_a_second(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(health, "_storage", lambda: asked.append(1) or "")
    for _ in range(5):
        client.get("/health/ready")
    assert asked == [1]
    time.sleep(1.05)
    client.get("/health/ready")
    assert asked == [1, 1]


def test_old_tables_make_it_unready(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "newest_revisions", lambda: frozenset({"a-later-one"}))
    status, answer = ready(client)
    assert (status, answer["status"], answer["checks"]["migrations"]) == (503, "unready", "down")
    assert client.get("/health/live").status_code == 200


def test_a_store_without_room_makes_it_unready(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(store()), "free", lambda _self: 1000)
    assert ready(client)[1]["checks"]["storage"] == "down"


def test_a_store_that_cannot_be_written_makes_it_unready(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(type(store()), "draft", refuse)
    assert ready(client)[0] == 503


def test_a_database_that_is_gone_makes_it_unready(tmp_path: Path) -> None:
    settings = {"DATABASE_URL": f"postgresql://nobody:secret@127.0.0.1:{free_port()}/none"}
    from webapp.app import create_app

    app = create_app(make_settings(tmp_path, **settings))
    status, answer = ready(app.test_client())
    assert (status, answer["checks"]["database"], answer["checks"]["migrations"]) == (503, "down", "down")
    metrics = app.test_client().get("/metrics")
    assert metrics.status_code == 200
    assert "holdfast_jobs" not in metrics.text
    assert "holdfast_request_seconds_count" in metrics.text


def test_what_hangs_is_late_and_asked_only_once(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def hang() -> str:
        asked.append(1)
        time.sleep(3)
        return ""

    monkeypatch.setattr(health, "_storage", hang)
    monkeypatch.setattr(health, "DEADLINE", 0.3)
    began = time.monotonic()
    assert [ready(client)[1]["checks"]["storage"] for _ in range(3)] == ["late"] * 3
    assert time.monotonic() - began < 2.5
    assert asked == [1]


def test_dead_job_threads_are_told_but_requests_still_come(client: FlaskClient) -> None:
    alive = {"relay": True, "worker": False}
    health.watch_job_threads(relay=lambda: alive["relay"], worker=lambda: alive["worker"])
    status, answer = ready(client)
    assert (status, answer["status"]) == (200, "degraded")
    assert (answer["checks"]["relay"], answer["checks"]["worker"]) == ("up", "down")
    alive.update(relay=False, worker=True)
    checks = ready(client)[1]["checks"]
    assert (checks["relay"], checks["worker"]) == ("down", "up")
    alive.update(relay=True)
    assert ready(client)[1]["status"] == "ready"


@pytest.mark.services
def test_losing_redis_or_the_broker_degrades(tmp_path: Path) -> None:
    broker = f"amqp://me:secret@127.0.0.1:{free_port()}/"
    with PrivateRedis() as redis:
        app = make_app(tmp_path, REDIS_URL=redis.url, RABBITMQ_URL=broker)
        with app.app_context():
            db.drop_all()
            migrate(app)
        client = app.test_client()
        assert ready(client)[1]["checks"]["cache"] == "up"
        redis.pause()
        status, answer = ready(client)
        assert (status, answer["status"]) == (200, "degraded")
        assert answer["checks"]["cache"] in {"late", "down"}
        assert {answer["checks"][name] for name in ("broker", "relay", "worker")} == {"down"}
        redis.resume()


@pytest.mark.services
def test_a_broker_that_answers_is_up() -> None:
    from .conftest import need

    need("rabbitmq")
    assert probes.probe_broker(os.environ.get("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672/"))[0].isdecimal()


def test_metrics_count_by_rule_not_by_path(client: FlaskClient) -> None:
    for number in range(3):
        client.get(f"/api/v1/files/00000000-0000-0000-0000-00000000000{number}")
    client.open("/api/v1/files", method="SPY")
    text = client.get("/metrics").text
    assert re.search(
        r'holdfast_request_seconds_count\{method="GET",route="/api/v1/files/<uuid:file_id>",status="4xx"\} [\d.]+', text
    )
    assert "00000000-0000" not in text
    assert 'method="SPY"' not in text
    assert 'holdfast_jobs{state="queued"} 0' in text
    assert 'holdfast_processes{role="worker"} 0' in text
    assert 'holdfast_queue_oldest_seconds{queue="files"} 0' in text
    assert re.search(r'holdfast_database_connections\{state="idle"\} \d', text)
    assert "holdfast_build_info{version=" in text


def test_metrics_parse(client: FlaskClient) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    names = {family.name for family in text_string_to_metric_families(client.get("/metrics").text)}
    assert {
        "holdfast_request_seconds",
        "holdfast_jobs",
        "holdfast_processes",
        "holdfast_queue_oldest_seconds",
        "holdfast_build_info",
        "holdfast_database_connections",
    } <= names


def test_metrics_are_for_this_machine_or_for_who_knows_the_token(tmp_path: Path) -> None:
    app = make_app(tmp_path, METRICS_TOKEN="a-long-metrics-token")
    client, far = app.test_client(), {"REMOTE_ADDR": "192.0.2.1"}
    assert client.get("/metrics").status_code == 200
    assert client.get("/metrics", environ_overrides={"REMOTE_ADDR": "::1"}).status_code == 200
    assert client.get("/metrics", environ_overrides=far).status_code == 403
    for token, status in (("a-long-metrics-token", 200), ("a-wrong-token", 403), ("é", 403)):
        bearer = {"Authorization": f"Bearer {token}"}
        assert client.get("/metrics", headers=bearer, environ_overrides=far).status_code == status


def test_behind_a_proxy_being_local_proves_nothing(tmp_path: Path) -> None:
    client = make_app(tmp_path, TRUSTED_PROXIES="1").test_client()
    assert client.get("/metrics").status_code == 403
    assert client.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 403


def test_several_processes_are_counted_together(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.conftest import make_settings\n"
        "from webapp.app import create_app\n"
        "client = create_app(make_settings(Path(sys.argv[1]))).test_client()\n"
        "[client.get('/health/live') for _ in range(5)]\n"
        "print(client.get('/metrics').text)"
    )
    folder = tmp_path / "metrics"
    folder.mkdir()
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder), "PYTHONPATH": str(ROOT)}
    texts = [
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)],
            env=env,
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
        for _ in range(2)
    ]
    count = 'holdfast_request_seconds_count{method="GET",route="/health/live",status="2xx"}'
    assert f"{count} 5.0" in texts[0].stdout
    assert f"{count} 10.0" in texts[1].stdout


def test_the_newest_revision_is_read_from_the_migrations() -> None:
    assert len(health.newest_revisions()) == 1


def test_jobs_are_counted_by_one_process_for_all(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    real = health._count_jobs
    monkeypatch.setattr(health, "_count_jobs", lambda engine: counted.append(1) or real(engine))
    with PrivateRedis() as redis:
        for _ in range(3):  # as many processes, for all that their caches know
            monkeypatch.setattr(caches, "layers", partial(lambda ours: ours, Layers(redis.url)))
            assert health.count_jobs()["queued"] == 0
            assert health.count_jobs()["queued"] == 0
    assert counted == [1]
