"""Rate limits: shared by all processes, exact where it matters, there without Redis, and never in the way."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis

from webapp.config import ConfigurationError, use_settings
from webapp.infra.limits import ExactStorage, LeasedStorage

from .conftest import PASSWORD, make_settings
from .plumbing import make_app, make_person
from .servers import PrivateRedis, wait_until

HANG = 4.0  # seconds; one attempt on a Redis that hangs takes 1.5


@pytest.fixture
def redis() -> Iterator[PrivateRedis]:
    with PrivateRedis() as server:
        yield server


@pytest.fixture
def few(tmp_path: Path) -> Flask:
    """An application that lets three requests a minute through, and as many sign-ins."""
    return make_app(tmp_path, RATE_LIMIT="3 per minute", SIGN_IN_RATE_LIMIT="3 per minute")


def test_too_many_requests_are_429_and_say_when(few: Flask) -> None:
    client = few.test_client()
    remaining = [client.get("/api/v1/things/1").headers["RateLimit-Remaining"] for _ in range(3)]
    assert remaining == ["2", "1", "0"]
    answer = client.get("/api/v1/things/1")
    assert (answer.status_code, answer.json["code"]) == (429, "rate_limited")
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert answer.headers["RateLimit-Limit"] == "3"
    assert "default-src" in answer.headers["Content-Security-Policy"]
    assert client.get("/api/v1/nope").status_code == 429
    assert client.get("/sign-in").mimetype == "text/html"


def test_health_checks_and_assets_are_not_counted(few: Flask) -> None:
    client = few.test_client()
    for _ in range(5):
        assert client.get("/health/live").status_code == 200
        assert client.get("/static/favicon.svg", buffered=True).status_code == 200


def test_accounts_and_addresses_are_counted_apart(few: Flask) -> None:
    make_person(few)
    client = few.test_client()
    login = client.post("/api/v1/auth/login", json={"email": "pia@harbour.example", "password": PASSWORD})
    bearer = {"Authorization": f"Bearer {login.json['access_token']}"}
    elsewhere = {"REMOTE_ADDR": "192.0.2.77"}
    for _ in range(3):
        assert client.get("/api/v1/users/me", headers=bearer).status_code == 200
    assert client.get("/api/v1/users/me", headers=bearer, environ_overrides=elsewhere).status_code == 429
    assert client.get("/api/v1/things/1", environ_overrides=elsewhere).status_code == 200


def test_one_client_s_ipv6_network_is_one_address(few: Flask) -> None:
    client = few.test_client()
    answers = [client.get("/x", environ_overrides={"REMOTE_ADDR": f"2001:db8::{i:x}"}).status_code for i in range(5)]
    assert answers == [404, 404, 404, 429, 429]
    assert client.get("/x", environ_overrides={"REMOTE_ADDR": "2001:db8:0:1::1"}).status_code == 404
    assert client.get("/x", environ_overrides={"REMOTE_ADDR": "fe80::1%eth0"}).status_code == 404


def test_the_strict_limit_counts_sign_ins_and_announces_itself(tmp_path: Path) -> None:
    app = make_app(tmp_path, SIGN_IN_RATE_LIMIT="3 per minute")
    client = app.test_client()
    wish = {"email": "nobody@harbour.example", "password": "wrong-but-long-enough"}
    answers = [client.post("/api/v1/auth/login", json=wish) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
    assert answers[-1].headers["RateLimit-Limit"] == "3"
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    assert client.get("/api/v1/things/1").status_code == 200


@pytest.mark.parametrize("broken", ["x", "10", "-1 per day", "1000 per fortnight"])
def test_a_limit_nobody_can_parse_stops_the_start(tmp_path: Path, broken: str) -> None:
    with pytest.raises(ConfigurationError, match="RATE_LIMIT"):
        make_app(tmp_path, RATE_LIMIT=broken)


def leased(tmp_path: Path, redis_url: str = "", limit: str = "1000 per minute") -> LeasedStorage:
    use_settings(make_settings(tmp_path, RATE_LIMIT=limit, REDIS_URL=redis_url))
    return LeasedStorage()


def test_a_window_ends(tmp_path: Path) -> None:
    storage = leased(tmp_path)
    assert [storage.incr("k", 1) for _ in range(3)] == [1, 2, 3]
    assert storage.get("k") == 3
    assert 0 < storage.get_expiry("k") - time.time() <= 1
    time.sleep(1.05)
    assert (storage.get("k"), storage.incr("k", 1)) == (0, 1)
    storage.clear("k")
    assert storage.get("k") == 0
    storage.incr("k", 1)
    assert (storage.reset(), storage.get("k"), storage.check()) == (1, 0, True)


def test_threads_lose_no_hit(tmp_path: Path) -> None:
    storage = leased(tmp_path)
    threads = [threading.Thread(target=lambda: [storage.incr("k", 60) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert storage.get("k") == 2000


def test_forgotten_counters_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.infra.limits.CROWD", 10)
    storage = leased(tmp_path)
    for number in range(30):
        storage.incr(f"k{number}", -1)
    assert len(storage._counters) <= 11


@pytest.mark.services
def test_processes_share_the_count_and_seldom_ask_redis(tmp_path: Path, redis: PrivateRedis) -> None:
    processes = [leased(tmp_path, redis.url) for _ in range(3)]
    assert processes[0].portion == 20
    trips = []
    for process in processes:
        real = process._lease
        process._lease = lambda *a, real=real: trips.append(a) or real(*a)  # type: ignore[method-assign, misc]
    last = [processes[number % 3].incr("k", 60) for number in range(600)][-3:]
    assert 600 <= max(last) <= 600 + 3 * 20
    assert len(trips) <= 33


@pytest.mark.services
def test_a_small_limit_is_leased_in_small_portions(tmp_path: Path, redis: PrivateRedis) -> None:
    first, second = (leased(tmp_path, redis.url, "10 per minute") for _ in range(2))
    assert sorted([first.incr("k", 60), second.incr("k", 60), first.incr("k", 60)]) == [1, 2, 3]


@pytest.mark.services
def test_the_window_in_redis_is_the_same_for_all(tmp_path: Path, redis: PrivateRedis) -> None:
    first, second = (leased(tmp_path, redis.url) for _ in range(2))
    first.incr("k", 30)
    time.sleep(0.3)
    second.incr("k", 30)
    assert abs(first.get_expiry("k") - second.get_expiry("k")) < 0.1
    first.clear("k")
    assert leased(tmp_path, redis.url).incr("k", 30) == 1


@pytest.mark.services
def test_exact_counts_are_exact(tmp_path: Path, redis: PrivateRedis) -> None:
    use_settings(make_settings(tmp_path, REDIS_URL=redis.url))
    processes = [ExactStorage() for _ in range(3)]
    assert [processes[number % 3].incr("k", 60) for number in range(9)] == list(range(1, 10))


@pytest.mark.services
@pytest.mark.parametrize("fault", ["stop", "pause"])
def test_without_redis_nothing_fails_waits_or_opens(tmp_path: Path, redis: PrivateRedis, fault: str) -> None:
    """Promise 6, of this layer: no 5xx, no long wait, the limit holds, and Redis is used again within ten seconds."""
    app = make_app(tmp_path, REDIS_URL=redis.url, RATE_LIMIT="30 per minute", SIGN_IN_RATE_LIMIT="5 per minute")
    client = app.test_client()
    assert client.get("/api/v1/things/1").status_code == 200
    assert sign_in(client) == 401
    getattr(redis, fault)()
    began = time.monotonic()
    codes = [sign_in(client) for _ in range(6)]
    assert codes == [401] * 4 + [429] * 2
    statuses = [client.get("/api/v1/things/1").status_code for _ in range(40)]
    assert set(statuses) == {200, 429}
    assert statuses[-1] == 429
    assert client.get("/sign-in").status_code == 429
    assert time.monotonic() - began < 3 * HANG
    redis.resume() if fault == "pause" else redis.start()
    storage = app.extensions["holdfast.general"].storage
    fresh = iter(range(1000))
    wait_until(lambda: storage.incr(f"fresh{next(fresh)}", 60) and Redis.from_url(redis.url).keys("*fresh*"), 10)


def sign_in(client: FlaskClient) -> int:
    wish = {"email": "nobody@harbour.example", "password": "wrong-but-long-enough"}
    return client.post("/api/v1/auth/login", json=wish).status_code
