"""Rate limits over two real web processes: exact on Redis and on the database, right while Redis is away, editable."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.databases import empty_database
from tests.faults.processes import Program
from tests.servers import PrivateRedis, free_port, wait_until
from tests.test_serve import EMAIL, PASSWORD, Vault

Answer = tuple[int, dict[str, str], Any]
LOGIN = "/api/v1/auth/login"
SETTINGS = "/api/v1/settings"
UNSET = {"RATE_LIMIT": "", "JOB_THREADS": "1", "PUBLIC_URL": "http://vault.example"}  # one issuer of tokens for both


def ask(url: str, path: str, body: object = None, method: str | None = None, **headers: str) -> Answer:
    """Status, headers in lower case and JSON of an answer, whatever it is."""
    sent = {"Content-Type": "application/json", **headers}
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(url + path, data, sent, method=method), timeout=30) as answer:
            return _read(answer)
    except HTTPError as error:
        with error:
            return _read(error)


def _read(answer: Any) -> Answer:
    raw = answer.read()
    return answer.status, {name.lower(): value for name, value in answer.headers.items()}, json.loads(raw or b"null")


class Pair:
    """Two web processes of one vault; every other request goes to the other."""

    def __init__(self, first: Vault, second_port: int) -> None:
        self.urls = [first.url, f"http://127.0.0.1:{second_port}"]

    def guess(self, number: int, email: str = "") -> int:
        """The status of a sign-in; without an e-mail one that is refused before any hash is made, but counted."""
        wish = {"email": email, "password": f"guess number {number}"} if email else {"broken": number}
        return ask(self.urls[number % 2], LOGIN, wish)[0]

    def token(self) -> dict[str, str]:
        _, _, grant = ask(self.urls[0], LOGIN, {"email": EMAIL, "password": PASSWORD})
        return {"Authorization": f"Bearer {grant['access_token']}"}


Start = Callable[..., Pair]


@pytest.fixture
def redis() -> Iterator[PrivateRedis]:
    with PrivateRedis() as server:
        yield server


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a pair on a database of its own; a second call starts it again on the same."""
    with ExitStack() as stack:
        urls: dict[str, str] = {}
        running: list[ExitStack] = []

        def pair(kind: str, **environment: str) -> Pair:
            for older in running:
                older.close()
            if kind not in urls:
                urls[kind] = stack.enter_context(empty_database(kind, tmp_path))
            running[:] = [stack.enter_context(ExitStack())]
            streams = str(free_port())  # the one after PORT may be anybody's
            known = {**UNSET, "DATABASE_URL": urls[kind], "STREAMS_PORT": streams, **environment}
            admin = {"ADMIN_EMAIL": EMAIL, "ADMIN_PASSWORD": PASSWORD}
            first = running[0].enter_context(Vault(tmp_path / "var", **admin, **known)).ready()
            port = free_port()
            own = {"VAR_DIR": str(tmp_path / "var"), "PORT": str(port), **known}
            second = running[0].enter_context(Program(("-m", "tasks.web"), tmp_path / "second.log", **own))
            both = Pair(first, port)
            wait_until(lambda: second.ended or first_answer(both.urls[1]) == 200, 60)
            assert not second.ended, second.text
            return both

        yield pair


def first_answer(url: str) -> int:
    try:
        return ask(url, "/health/live")[0]
    except OSError:
        return 0


@pytest.mark.services
@pytest.mark.parametrize(("kind", "shared"), [("sqlite", False), ("postgresql", False), ("postgresql", True)])
def test_strict_limits_are_exact_over_processes_and_parallel_clients(
    start: Start, request: pytest.FixtureRequest, kind: str, shared: bool
) -> None:
    """Without Redis the database counts."""
    environment = {"REDIS_URL": request.getfixturevalue("redis").url} if shared else {}
    pair = start(kind, SIGN_IN_RATE_LIMIT="40 per minute", **environment)
    with ThreadPoolExecutor(8) as pool:
        codes = Counter(pool.map(pair.guess, range(100)))
    assert codes == {422: 40, 429: 60}


@pytest.mark.services
@pytest.mark.parametrize("fault", ["stop", "pause"])
def test_without_redis_guessing_is_refused_over_both_processes_and_nothing_fails(
    start: Start, redis: PrivateRedis, fault: str
) -> None:
    """Promise 6."""
    pair = start("postgresql", REDIS_URL=redis.url, SIGN_IN_RATE_LIMIT="40 per minute")
    headers = pair.token()
    counted = 1 + sum(pair.guess(number) != 429 for number in range(20))
    assert counted == 21
    getattr(redis, fault)()
    guesses = [pair.guess(number, "somebody@harbour.example") for number in range(14)]
    assert guesses == [401] * 10 + [429] * 4  # the failures of one account are counted in the database anyway
    rest = [pair.guess(number) for number in range(40)]
    allowed = 21 + 14 + rest.count(422)
    assert set(rest) == {422, 429}
    assert 40 <= allowed <= 41  # one process may not have heard of the other's last hit before Redis was gone
    began = time.monotonic()
    for number in range(20):
        assert ask(pair.urls[number % 2], "/api/v1/users/me", **headers)[0] == 200
    assert time.monotonic() - began < 15
    redis.resume() if fault == "pause" else redis.start()
    wait_until(lambda: [pair.guess(0), pair.guess(1)] == [429, 429], 10)
    for number in range(10):
        assert ask(pair.urls[number % 2], "/api/v1/users/me", **headers)[0] == 200


@pytest.mark.services
@pytest.mark.parametrize("shared", [False, True])
def test_a_change_is_in_force_in_the_other_process_and_after_a_restart_and_resets_no_count(
    start: Start, request: pytest.FixtureRequest, shared: bool
) -> None:
    redis = request.getfixturevalue("redis") if shared else None
    environment = {"REDIS_URL": redis.url} if redis else {}
    pair = start("postgresql", **environment)
    headers = pair.token()
    assert [pair.guess(number) for number in range(10)] == [422] * 10
    if redis:
        redis.pause()  # no message can tell the other process
    wish = {"administration_rate_limit": "77 per minute", "sign_in_rate_limit": "15 per minute"}
    assert ask(pair.urls[0], SETTINGS, wish, "PATCH", **headers)[0] == 200
    changed = time.monotonic()
    wait_until(lambda: ask(pair.urls[1], SETTINGS, **headers)[1]["ratelimit-limit"] == "77", 10)
    assert time.monotonic() - changed < (6 if redis else 3)  # a Redis that hangs is waited for a second at a time
    assert [pair.guess(number) for number in range(1, 6)] == [422] * 4 + [429]  # the second knows of all eleven
    again = {**wish, "sign_in_rate_limit": "900 per hour"}
    assert ask(pair.urls[1], SETTINGS, again, "PATCH", **headers)[0] == 200
    wait_until(lambda: [pair.guess(0), pair.guess(1)] == [422, 422], 10)
    if redis:
        redis.resume()
    pair = start("postgresql", **environment)
    _, answered, view = ask(pair.urls[1], SETTINGS, **pair.token())
    values = {item["name"]: item["value"] for item in view["items"]}
    assert (values["sign_in_rate_limit"], view["version"]) == ("900 per hour", 3)
    assert answered["ratelimit-limit"] == "77"


@pytest.mark.services
def test_general_limits_are_leased_and_overcount_by_a_portion_a_process_at_most(
    start: Start, redis: PrivateRedis
) -> None:
    pair = start("postgresql", REDIS_URL=redis.url, RATE_LIMIT="500 per minute", SIGN_IN_RATE_LIMIT="9999 per minute")
    with ThreadPoolExecutor(8) as pool:
        codes = Counter(pool.map(lambda n: ask(pair.urls[n % 2], "/api/v1/users/me")[0], range(600)))
    assert set(codes) == {401, 429}
    assert 500 - 2 * 10 <= codes[401] <= 500
