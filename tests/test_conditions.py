"""The vault's condition for administrators: who may see it, what it says when parts are away, what it counts."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from webapp.config import current_settings, use_settings
from webapp.db import db
from webapp.infra import ids
from webapp.infra.hubs import Hub, Wish
from webapp.infra.inquiries import Inquiries
from webapp.infra.locks import locked
from webapp.infra.nearnews import NearBoard
from webapp.models.audit import AuditEntry
from webapp.policies import Actor
from webapp.services import caches, conditions, health

from .conftest import csrf_of, migrate, need
from .plumbing import make_app
from .servers import PrivateRedis, free_port, wait_until

PARTS = {"database", "migrations", "storage", "cache", "broker", "relay", "worker", "queues"}
ROOT = Path(__file__).resolve().parent.parent
Bearer = Callable[[Actor], dict[str, str]]
SignedIn = Callable[[Actor], FlaskClient]


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


@pytest.fixture
def look(client: FlaskClient, admin: Actor, bearer: Bearer) -> Callable[[], dict[str, Any]]:
    """The condition as the API gives it, asked anew."""
    headers = bearer(admin)

    def read() -> dict[str, Any]:
        health._State.seen = None
        caches.layers().clear(caches.HOLDERS, str(caches.VAULT))
        answer = client.get("/api/v1/health", headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json

    return read


def test_administrators_alone_see_it(
    client: FlaskClient, member: Actor, admin: Actor, bearer: Bearer, signed_in: SignedIn
) -> None:
    assert client.get("/api/v1/health").status_code == 401
    assert client.get("/api/v1/health", headers=bearer(member)).status_code == 403
    assert client.get("/admin/health").status_code in {302, 401}
    assert signed_in(member).get("/admin/health").status_code == 404
    page = signed_in(admin).get("/admin/health")
    assert page.status_code == 200
    assert 'href="/admin/health"' in page.text, "it is in the rail"
    assert "/admin/health" not in signed_in(member).get("/files").text


def test_it_names_every_part_with_state_latency_and_version(look: Callable[[], dict[str, Any]]) -> None:
    ids.appear("web", 7)
    ids.sign()
    try:
        condition = look()
    finally:
        ids.appear("", 0)
    assert condition["status"] == "ready"
    parts = {part["name"]: part for part in condition["parts"]}
    assert set(parts) == PARTS
    assert re.fullmatch(r"(SQLite|PostgreSQL) \d+\.[\d.]+", parts["database"]["version"])
    assert {parts["migrations"]["version"]} == health.newest_revisions()
    assert 0 < parts["database"]["latency"] < 1.5
    assert 0 < condition["disk"]["free"] < condition["disk"]["size"]
    assert sum(condition["jobs"].values()) == 0
    (process,) = [process for process in condition["holders"]["processes"] if process["pid"] == os.getpid()]
    assert (process["role"], process["threads"]) == ("web", 7)
    assert process["started_at"] <= process["seen_at"]


def test_a_part_that_is_down_says_why_and_the_page_what_to_do(
    look: Callable[[], dict[str, Any]], admin: Actor, signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> str:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(health, "_storage", refuse)
    condition = look()
    assert condition["status"] == "unready"
    (storage,) = [part for part in condition["parts"] if part["name"] == "storage"]
    assert (storage["state"], storage["latency"]) == ("down", None)
    assert "Read-only file system" in storage["reason"]
    page = signed_in(admin).get("/admin/health").text
    assert "Read-only file system" in page
    assert "Free space on the disk of STORAGE_URL" in page
    assert "Requests are refused" in page


def test_what_hangs_is_late_or_missing_and_the_page_comes_all_the_same(
    look: Callable[[], dict[str, Any]], admin: Actor, signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = signed_in(admin)
    release = threading.Event()
    monkeypatch.setattr(health, "_storage", lambda: release.wait(20))
    monkeypatch.setattr(conditions, "read_holders", lambda *_: release.wait(20))
    began = time.monotonic()
    try:
        condition = look()
        assert condition["holders"] is None
        assert {part["state"] for part in condition["parts"] if part["name"] == "storage"} == {"late"}
        page = browser.get("/admin/health")
        assert time.monotonic() - began < 15
        assert "Who holds locks does not answer." in page.text
    finally:
        release.set()
    wait_until(lambda: not caches.layers()._flights, 10, about="the hanging question")


@pytest.mark.services
@pytest.mark.parametrize("fault", ["stop", "pause"])
def test_without_redis_the_page_tells_so_within_seconds(tmp_path: Path, fault: str) -> None:
    with vault_with_redis(tmp_path) as (client, headers, redis):
        parts = {part["name"]: part for part in client.get("/api/v1/health", headers=headers).json["parts"]}
        assert parts["cache"]["state"] == "up"
        assert parts["cache"]["redis"]["used"] > 500_000
        getattr(redis, fault)()
        health._State.seen = None
        began = time.monotonic()
        answer = client.get("/api/v1/health", headers=headers)
        assert (answer.status_code, answer.json["status"]) == (200, "degraded")
        assert time.monotonic() - began < 5
        redis.resume()


@contextmanager
def vault_with_redis(tmp_path: Path) -> Iterator[tuple[FlaskClient, dict[str, str], PrivateRedis]]:
    """An application on SQLite and a Redis of its own, and an administrator's program."""
    from webapp.services import users

    from .conftest import PASSWORD

    with PrivateRedis() as redis:
        app = make_app(tmp_path, REDIS_URL=redis.url)
        with app.app_context():
            db.drop_all()
            migrate(app)
            wish = users.NewUser(email="ana@harbour.example", name="Ana", password=PASSWORD)
            users.create_user(None, wish, role="admin")
        client = app.test_client()
        login = client.post("/api/v1/auth/login", json={"email": wish.email, "password": PASSWORD})
        yield client, {"Authorization": f"Bearer {login.json['access_token']}"}, redis


def test_held_locks_are_listed_by_name(look: Callable[[], dict[str, Any]]) -> None:
    """Rows on SQLite, advisory locks on PostgreSQL."""
    assert look()["holders"]["locks"] == []
    with locked("upload/42"):
        (lock,) = look()["holders"]["locks"]
        assert lock["name"] == "upload/42"
        assert lock["left"] is None or 0 < lock["left"] <= 30
    assert look()["holders"]["locks"] == []


def test_held_locks_are_listed_when_they_live_in_redis(app: Flask, look: Callable[[], dict[str, Any]]) -> None:
    before = current_settings()
    with PrivateRedis() as redis:
        use_settings(before.model_copy(update={"redis_url": type(before.database_url)(redis.url)}))
        try:
            with locked("folders of {ana}", ttl=20):
                (lock,) = look()["holders"]["locks"]
            assert lock["name"] == "folders of {ana}"
            assert 15 < lock["left"] <= 20
            assert look()["holders"]["locks"] == []
        finally:
            use_settings(before)


def test_open_streams_are_counted_until_they_are_left(look: Callable[[], dict[str, Any]]) -> None:
    hub = Hub(NearBoard(), lambda ids: ids, 5)
    before = look()["streams"]
    listener = hub.open(Wish(1, 1, frozenset()), lambda: None)
    assert look()["streams"] == before + 1
    hub.leave(listener)
    hub.leave(listener)
    assert look()["streams"] == before


@pytest.mark.postgresql
def test_clocks_that_differ_are_told(
    app: Flask, look: Callable[[], dict[str, Any]], admin: Actor, signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    if db.engine.dialect.name == "sqlite":
        assert look()["clock"] is None
        return
    assert abs(look()["clock"]) < 1
    assert "Set the clocks right" not in signed_in(admin).get("/admin/health").text
    real = time.time
    monkeypatch.setattr(conditions.time, "time", lambda: real() + 40)
    assert 39 < look()["clock"] < 41
    assert "Set the clocks right" in signed_in(admin).get("/admin/health").text


def test_the_cache_is_told_by_namespace_and_emptied_by_hand(
    look: Callable[[], dict[str, Any]], admin: Actor, bearer: Bearer, signed_in: SignedIn, client: FlaskClient
) -> None:
    def folders() -> dict[str, Any]:
        (cache,) = [cache for cache in look()["caches"] if cache["name"] == "folders"]
        return cache

    before = folders()
    for _ in range(4):
        caches.cached(caches.FOLDERS, 1, "harbour", lambda: 7)
    now = folders()
    assert (now["misses"] - before["misses"], now["near"] - before["near"]) == (1, 3)
    assert (now["near_entries"], now["near_bytes"] > 50) == (1, True)
    assert now["ratio"] == pytest.approx((now["near"] + now["far"]) / (now["near"] + now["far"] + now["misses"]))

    assert client.delete("/api/v1/health/caches/folders", headers=bearer(admin)).status_code == 204
    assert caches.cached(caches.FOLDERS, 1, "harbour", lambda: 8) == 8
    browser = signed_in(admin)
    token = csrf_of(browser.get("/admin/health").text)
    emptied = browser.post("/admin/health/caches/folders", data={"csrf_token": token}, follow_redirects=True)
    assert "is empty and fills again" in emptied.text
    assert caches.cached(caches.FOLDERS, 1, "harbour", lambda: 9) == 9
    with db.engine.connect() as connection:
        kept = connection.scalars(select(AuditEntry.event).where(AuditEntry.event == "cache.emptied")).all()
    assert len(kept) == 2


def test_only_caches_that_are_there_are_emptied_and_only_by_administrators(
    client: FlaskClient, member: Actor, admin: Actor, bearer: Bearer, signed_in: SignedIn
) -> None:
    assert client.delete("/api/v1/health/caches/holdfast%3A*", headers=bearer(admin)).status_code == 404
    assert client.delete("/api/v1/health/caches/folders", headers=bearer(member)).status_code == 403
    browser = signed_in(admin)
    token = csrf_of(browser.get("/admin/health").text)
    assert browser.post("/admin/health/caches/none", data={"csrf_token": token}).status_code == 404


def test_the_table_names_every_namespace_and_nothing_else() -> None:
    named = re.findall(r"^\| ([a-z]+) +\|", caches.__doc__ or "", re.MULTILINE)
    assert set(named) - {"namespace"} == set(caches.SPACES) | {"identities", "settings", "meters"}


PROCESS = """
import sys
from pathlib import Path
from tests.conftest import make_settings
from webapp.app import create_app
from webapp.infra.figures import read_figures
from webapp.services import caches
with create_app(make_settings(Path(sys.argv[1]))).app_context():
    for _ in range(3):
        caches.cached(caches.FOLDERS, 1, "harbour", lambda: 7)
    figures = read_figures()
    reads = figures["holdfast_cache_reads_total"]
    print(int(reads["miss", "folders"]), int(reads["near", "folders"]),
          int(figures["holdfast_cache_near_entries"]["folders",]), flush=True)
    sys.stdin.readline()
"""


def test_figures_are_summed_over_processes_and_the_dead_hold_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder), "PYTHONPATH": str(ROOT)}

    def start() -> tuple[subprocess.Popen[str], list[int]]:
        process = subprocess.Popen([sys.executable, "-c", PROCESS, str(tmp_path)], env=env, cwd=ROOT, text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
        assert process.stdout is not None
        return process, [int(word) for word in process.stdout.readline().split()]

    first, alone = start()
    second, both = start()
    assert (alone, both) == ([1, 2, 1], [2, 4, 2])
    first.kill()
    first.communicate()
    third, without = start()
    assert without == [3, 6, 2], "its look-ups were made; its values are gone with it"
    for process in (second, third):
        process.communicate("\n")


@pytest.mark.services
def test_the_broker_and_redis_tell_their_versions(tmp_path: Path) -> None:
    need("rabbitmq")
    need("redis")
    app = make_app(tmp_path, REDIS_URL="redis://127.0.0.1:6379/15",
                   RABBITMQ_URL=os.environ.get("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672/"))  # fmt: skip
    with app.app_context():
        parts = health.read_parts()
    assert [parts[name].state for name in ("cache", "broker")] == ["up", "up"]
    assert all(re.match(r"\d+\.\d+", parts[name].version) for name in ("cache", "broker"))


def test_a_broker_that_refuses_us_says_so(tmp_path: Path) -> None:
    app = make_app(tmp_path, RABBITMQ_URL=f"amqp://me:secret@127.0.0.1:{free_port()}/")
    with app.app_context():
        broker = health.read_parts()["broker"]
    assert (broker.state, broker.needed) == ("down", False)
    assert broker.reason
    assert "secret" not in broker.reason
