"""Rate limits: shared by all processes, exact where it matters, there without Redis, and never in the way."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import text

from webapp.config import ConfigurationError, use_settings
from webapp.db import read_rows
from webapp.infra.limits import Counts, Hit, Rate
from webapp.models.limits import LimitCounter
from webapp.models.record import any_state
from webapp.services import attempts
from webapp.services.limits import count_hit

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


def test_each_class_of_routes_has_a_limit_of_its_own_beside_the_general_one(tmp_path: Path) -> None:
    client = make_app(tmp_path, RATE_LIMIT="20 per minute").test_client()
    wish = {"name": "x"}
    answers = [client.post("/api/v1/wishes", json=wish) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    assert answers[0].headers["RateLimit-Limit"] == "10"
    assert [answer.headers["RateLimit-Remaining"] for answer in answers[-3:]] == ["1", "0", "0"]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    reading = client.get("/api/v1/things/1")
    assert (reading.status_code, reading.headers["RateLimit-Limit"]) == (200, "20")
    assert reading.headers["RateLimit-Remaining"] == "8"  # those that were refused count, too
    assert [client.get("/api/v1/things/1").status_code for _ in range(9)] == [200] * 8 + [429]


def test_the_headers_tell_of_the_limit_that_ends_first(tmp_path: Path) -> None:
    client = make_app(tmp_path, RATE_LIMIT="8 per minute", SIGN_IN_RATE_LIMIT="3 per minute").test_client()
    answers = [client.post("/api/v1/auth/login", json={}) for _ in range(3)]
    said = [(answer.headers["RateLimit-Limit"], answer.headers["RateLimit-Remaining"]) for answer in answers]
    assert said == [("3", "2"), ("3", "1"), ("3", "0")]
    for _ in range(4):
        client.get("/api/v1/things/1")
    last = client.post("/api/v1/auth/login", json={})
    assert (last.status_code, last.headers["RateLimit-Limit"], last.headers["RateLimit-Remaining"]) == (429, "3", "0")


def test_people_are_told_in_words_when_to_go_on(few: Flask) -> None:
    client = few.test_client()
    for _ in range(3):
        client.get("/sign-in")
    answer = client.get("/sign-in", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.mimetype) == (429, "text/html")
    assert "You are going too fast" in answer.text
    assert 0 < int(answer.headers["Retry-After"]) <= 60


def test_who_is_over_a_strict_limit_costs_no_write(tmp_path: Path) -> None:
    app = make_app(tmp_path, SIGN_IN_RATE_LIMIT="3 per minute")
    client = app.test_client()
    for _ in range(10):
        client.post("/api/v1/auth/login", json={})
    with app.app_context():
        rows = read_rows(any_state(LimitCounter, LimitCounter.hits, LimitCounter.key))
    assert [row.hits for row in rows] == [3]
    assert "127.0.0.1" not in rows[0].key


def test_strict_counts_hold_in_the_process_while_the_database_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_app(tmp_path, SIGN_IN_RATE_LIMIT="3 per minute").test_client()
    assert client.post("/api/v1/auth/login", json={}).status_code == 422
    monkeypatch.setattr("webapp.services.limits.counted_hit", lambda *_: text("select * from nowhere"))
    answers = [client.post("/api/v1/auth/login", json={}).status_code for _ in range(4)]
    assert answers == [422, 422, 429, 429]


def test_the_database_goes_on_with_what_is_known(app: Flask) -> None:
    for hit, answer, left in (
        (Hit("k", 60, 1, 0, 60), 1, 60),  # a new window
        (Hit("k", 60, 1, 0, 60), 2, 60),
        (Hit("k", 60, 1, 7, 30), 8, 60),  # a process that counted by itself knows of more
        (Hit("k", 10, 2, 0, 10), 10, 10),  # the limit has a shorter window now
        (Hit("other", 60, 1, 5, 20), 6, 20),  # what Redis counted goes on, and ends when it would have ended there
    ):
        counted = count_hit(hit)
        assert counted is not None
        assert counted[0] == answer
        assert abs(counted[1] - left) < 1


def test_counters_that_are_over_begin_anew_and_are_swept(app: Flask) -> None:
    for expected in (1, 2):
        assert (count_hit(Hit("short", 1, 1, 0, 1)) or (0,))[0] == expected
    count_hit(Hit("long", 60, 1, 0, 60))
    time.sleep(1.05)
    assert (count_hit(Hit("short", 1, 1, 0, 1)) or (0,))[0] == 1
    time.sleep(1.05)
    assert attempts.sweep_attempts() == 1
    assert len(read_rows(any_state(LimitCounter, LimitCounter.key))) == 1


@pytest.mark.parametrize("broken", ["x", "10", "-1 per day", "1000 per fortnight"])
def test_a_limit_nobody_can_parse_stops_the_start(tmp_path: Path, broken: str) -> None:
    with pytest.raises(ConfigurationError, match="RATE_LIMIT"):
        make_app(tmp_path, RATE_LIMIT=broken)


def counts(tmp_path: Path, redis_url: str = "") -> Counts:
    use_settings(make_settings(tmp_path, REDIS_URL=redis_url))
    return Counts()


MANY, FEW = Rate(1000, 60), Rate(10, 60)


def leased(own: Counts, key: str = "k", rate: Rate = MANY) -> int:
    return own.lease(key, rate)[0]


def test_a_window_ends(tmp_path: Path) -> None:
    own = counts(tmp_path)
    assert [leased(own, rate=Rate(10, 1)) for _ in range(3)] == [1, 2, 3]
    hits, ends_at = own.known("k")
    assert hits == 3
    assert 0 < ends_at - time.time() <= 1
    time.sleep(1.05)
    assert (own.known("k")[0], leased(own)) == (0, 1)
    own.clear("k")
    assert own.known("k")[0] == 0
    leased(own)
    assert (own.forget(), own.known("k")[0]) == (1, 0)


def test_a_shorter_window_ends_sooner_and_keeps_the_count(tmp_path: Path) -> None:
    own = counts(tmp_path)
    assert [leased(own, rate=Rate(1000, 3600)) for _ in range(3)] == [1, 2, 3]
    hits, ends_at = own.lease("k", MANY)
    assert hits == 4
    assert ends_at - time.time() <= 60


def test_threads_lose_no_hit(tmp_path: Path) -> None:
    own = counts(tmp_path)
    threads = [threading.Thread(target=lambda: [leased(own) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert own.known("k")[0] == 2000


def test_forgotten_counters_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.infra.limits.CROWD", 10)
    own = counts(tmp_path)
    for number in range(30):
        leased(own, f"k{number}", Rate(10, -1))
    assert len(own._counters) <= 11


@pytest.mark.services
def test_processes_share_the_count_and_seldom_ask_redis(tmp_path: Path, redis: PrivateRedis) -> None:
    processes = [counts(tmp_path, redis.url) for _ in range(3)]
    assert MANY.portion == 20
    trips = []
    for process in processes:
        real = process._trip
        process._trip = lambda hit, real=real: trips.append(hit) or real(hit)  # type: ignore[method-assign, misc]
    last = [leased(processes[number % 3]) for number in range(600)][-3:]
    assert 600 <= max(last) <= 600 + 3 * 20
    assert len(trips) <= 33


@pytest.mark.services
def test_a_small_limit_is_leased_in_small_portions(tmp_path: Path, redis: PrivateRedis) -> None:
    first, second = (counts(tmp_path, redis.url) for _ in range(2))
    assert sorted([leased(first, rate=FEW), leased(second, rate=FEW), leased(first, rate=FEW)]) == [1, 2, 3]


@pytest.mark.services
def test_the_window_in_redis_is_the_same_for_all(tmp_path: Path, redis: PrivateRedis) -> None:
    first, second = (counts(tmp_path, redis.url) for _ in range(2))
    leased(first)
    time.sleep(0.3)
    leased(second)
    assert abs(first.known("k")[1] - second.known("k")[1]) < 0.1
    first.clear("k")
    assert leased(counts(tmp_path, redis.url)) == 1


@pytest.mark.services
def test_a_redis_that_lost_its_data_is_told_the_count_and_the_end_of_the_window(
    tmp_path: Path, redis: PrivateRedis
) -> None:
    first, second = (counts(tmp_path, redis.url) for _ in range(2))
    assert [first.count("k", 2) for _ in range(5)] == [1, 2, 3, 4, 5]
    ends_at = first.known("k")[1]
    time.sleep(0.5)
    redis.stop()
    redis.start()
    assert first.count("k", 2) == 6
    assert second.count("k", 2) == 7
    assert abs(second.known("k")[1] - ends_at) < 0.2
    time.sleep(2.05)
    assert first.count("k", 2) == 1


@pytest.mark.services
def test_a_shorter_window_ends_sooner_in_redis_too(tmp_path: Path, redis: PrivateRedis) -> None:
    first, second = (counts(tmp_path, redis.url) for _ in range(2))
    first.count("k", 3600)
    assert second.count("k", 60) == 2
    assert second.known("k")[1] - time.time() <= 60
    assert first.count("k", 3600) == 3
    assert first.known("k")[1] - time.time() <= 60


@pytest.mark.services
def test_exact_counts_are_exact(tmp_path: Path, redis: PrivateRedis) -> None:
    processes = [counts(tmp_path, redis.url) for _ in range(3)]
    assert [processes[number % 3].count("k", 60) for number in range(9)] == list(range(1, 10))


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
    own = app.extensions["holdfast.ordinary"].counts
    fresh = iter(range(1000))
    wait_until(lambda: leased(own, f"fresh{next(fresh)}") and Redis.from_url(redis.url).keys("*fresh*"), 10)


def sign_in(client: FlaskClient) -> int:
    wish = {"email": "nobody@harbour.example", "password": "wrong-but-long-enough"}
    return client.post("/api/v1/auth/login", json=wish).status_code
