"""Guessing passwords: counted in the database, slowed down, never locked for good."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr

from webapp.app import create_app
from webapp.config import use_settings
from webapp.db import db
from webapp.errors import Limited, Unauthenticated
from webapp.infra import clock, ids
from webapp.infra.links import sign_words
from webapp.models.record import any_state
from webapp.models.sessions import SignInAttempt
from webapp.policies import Actor
from webapp.services import attempts, auth, devices, passwords, users
from webapp.services.sessions import Origin

from .conftest import PASSWORD, csrf_of, make_settings, make_tables

Bearer = Callable[[Actor], dict[str, str]]  # headers of a program of that actor
LOGIN = "/api/v1/auth/login"
HERE = Origin("192.0.2.1")


def fail(email: str, times: int = 1, origin: Origin = HERE) -> None:
    for _ in range(times):
        with pytest.raises(Unauthenticated):
            attempt(email, "a-wrong-password", origin)


def attempt(email: str, password: str = PASSWORD, origin: Origin = HERE) -> str:
    return auth.sign_in(auth.SignIn(email=email, password=SecretStr(password)), origin).secret


def wait_of(email: str, origin: Origin = HERE) -> float:
    with pytest.raises(Limited) as refusal:
        attempt(email, origin=origin)
    assert refusal.value.retry_after is not None
    return refusal.value.retry_after


class Clock:
    """The clock of the counting alone: ids and sessions go on living in the present."""

    def __init__(self) -> None:
        self.moment = clock.now()

    def now(self) -> datetime:
        return self.moment

    def shift(self, wait: float | timedelta) -> None:
        self.moment += wait if isinstance(wait, timedelta) else timedelta(seconds=wait)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Clock:
    standing = Clock()
    monkeypatch.setattr(attempts, "now", standing.now)
    return standing


def brute_force(client: FlaskClient, email: str) -> None:
    answers = [client.post(LOGIN, json={"email": email, "password": f"guess number {n}"}) for n in range(14)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429] * 4
    assert int(answers[-1].headers["Retry-After"]) in range(1, 31)
    assert answers[-1].json["status"] == 429


@pytest.mark.parametrize("email", ["mira@harbour.example", "nobody@harbour.example"])
def test_brute_force_is_answered_429_with_the_time_to_wait(client: FlaskClient, member: Actor, email: str) -> None:
    brute_force(client, email)
    answer = client.post(LOGIN, json={"email": email.upper(), "password": PASSWORD})
    assert answer.status_code == 429


def test_the_page_says_so_too(client: FlaskClient, member: Actor) -> None:
    fail(member.email, 10, Origin("127.0.0.1"))
    token = csrf_of(client.get("/sign-in").text)
    answer = client.post("/sign-in", data={"email": member.email, "password": PASSWORD, "csrf_token": token})
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert "Too many failed sign-ins" in answer.text


def test_brute_force_is_429_with_redis_down_too(tmp_path: Path, app: Flask) -> None:
    without = create_app(make_settings(tmp_path, REDIS_URL="redis://127.0.0.1:1/0"))
    try:
        ids._forget()
        with without.app_context():
            make_tables()
            users.create_user(None, users.NewUser(email="mira@harbour.example", name="M", password=SecretStr(PASSWORD)))
            brute_force(without.test_client(), "mira@harbour.example")
            db.session.remove()
            db.engine.dispose()
    finally:
        ids._forget()
        use_settings(app.config["HOLDFAST_SETTINGS"])


def test_a_limited_attempt_costs_no_hash(member: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(member.email, 10)
    monkeypatch.setattr(passwords.Hashing, "matches", lambda *_: pytest.fail("hashed"))
    assert wait_of(member.email) <= 30


def test_the_delay_grows_and_ends(member: Actor, counting: Clock) -> None:
    fail(member.email, 10)
    waits = []
    for _ in range(5):
        waits.append(wait_of(member.email))
        counting.shift(waits[-1])
        fail(member.email)
    assert waits == [30, 60, 120, 240, 480]
    counting.shift(attempts.WINDOW)
    fail(member.email)
    assert attempt(member.email)


def test_after_the_delay_the_right_password_works_and_forgives(member: Actor, counting: Clock) -> None:
    fail(member.email, 10)
    counting.shift(wait_of(member.email))
    assert attempt(member.email)
    fail(member.email, 9)
    assert attempt(member.email)


def test_one_account_s_failures_do_not_stop_another(member: Actor, stranger: Actor) -> None:
    fail(member.email, 10)
    assert attempt(stranger.email)


def test_a_stranger_delays_neither_other_networks_nor_a_device_that_was_there_before(
    app: Flask, member: Actor, signed_in: Callable[[Actor], FlaskClient]
) -> None:
    browser = signed_in(member)
    browser.post("/sign-out", data={"csrf_token": csrf_of(browser.get("/account").text)})
    for network in range(attempts.PER_ACCOUNT // 10):
        fail(member.email, 10, Origin(f"192.0.2.{network}"))
    assert wait_of(member.email, Origin("198.51.100.1")) <= 30, "all strangers together are slowed down"
    fail("nobody@harbour.example", 10, Origin("127.0.0.1"))
    answer = app.test_client().post(LOGIN, json={"email": member.email, "password": PASSWORD})
    assert answer.status_code == 429
    token = csrf_of(browser.get("/sign-in").text)
    wish = {"email": member.email, "password": PASSWORD, "csrf_token": token}
    assert browser.post("/sign-in", data=wish).status_code == 302


def test_a_known_device_may_guess_no_more_than_a_stranger(client: FlaskClient, member: Actor) -> None:
    assert client.post(LOGIN, json={"email": member.email, "password": PASSWORD}).status_code == 200
    brute_force(client, member.email)
    for number in range(30):
        fail(f"guess-{number}@harbour.example", origin=Origin("127.0.0.1"))
    assert app_client(client).post(LOGIN, json={"email": member.email, "password": PASSWORD}).status_code == 429


def app_client(client: FlaskClient) -> FlaskClient:
    return client.application.test_client()


def test_a_device_is_known_for_the_accounts_that_signed_in_there_alone(member: Actor, stranger: Actor) -> None:
    cookie = devices.remember_device(None, users.email_key(member.email))
    assert devices.device_for(cookie, users.email_key(member.email))
    assert devices.device_for(cookie, users.email_key(stranger.email)) is None
    both = devices.remember_device(cookie, users.email_key(stranger.email))
    names = {devices.device_for(both, users.email_key(actor.email)) for actor in (member, stranger)}
    assert len(names - {None}) == 1
    for forged in (
        both[:-9] + ("A" if both[-9] != "A" else "B") + both[-8:],  # the last character's bits need not all count
        "",
        "x.y",
        sign_words("other", clock.now() + attempts.WINDOW, device="d", accounts="a"),
    ):
        assert devices.device_for(forged, users.email_key(member.email)) is None


def test_an_address_that_tries_many_accounts_has_to_wait(member: Actor) -> None:
    for number in range(30):
        fail(f"guess-{number}@harbour.example")
    assert wait_of(member.email) <= 30
    assert attempt(member.email, origin=Origin("192.0.2.2"))


def test_a_success_does_not_clear_the_address(member: Actor) -> None:
    for number in range(29):
        fail(f"guess-{number}@harbour.example")
    assert attempt(member.email)
    fail("guess-30@harbour.example")
    wait_of(member.email)


def test_all_addresses_of_one_ipv6_network_count_as_one(member: Actor) -> None:
    for number in range(30):
        fail(f"guess-{number}@harbour.example", origin=Origin(f"2001:db8:0:1::{number:x}"))
    wait_of(member.email, Origin("2001:db8:0:1:ffff::1"))
    assert attempt(member.email, origin=Origin("2001:db8:0:2::1"))


def test_parallel_guesses_overshoot_by_no_more_than_the_hashes_at_once(app: Flask, member: Actor) -> None:
    barrier = threading.Barrier(16)

    def guess(_: int) -> list[int]:
        barrier.wait()
        wish = {"email": member.email, "password": "a-wrong-password"}
        return [app.test_client().post(LOGIN, json=wish).status_code for _ in range(3)]

    with ThreadPoolExecutor(16) as pool:
        codes = [code for each in pool.map(guess, range(16)) for code in each]
    assert set(codes) == {401, 429}
    failures = codes.count(401)
    assert 10 <= failures < 10 + passwords.AT_ONCE
    assert len(list(db.session.scalars(any_state(SignInAttempt)))) == 3 * failures


def test_attempts_are_kept_no_longer_than_they_count_and_name_nobody(member: Actor, counting: Clock) -> None:
    fail(member.email, 3)
    counting.shift(attempts.WINDOW + timedelta(seconds=1))
    fail("nobody@harbour.example")
    rows = list(db.session.scalars(any_state(SignInAttempt)))
    assert len(rows) == 3
    assert not any("harbour" in row.subject or "192.0.2" in row.subject for row in rows)


def test_who_is_signed_in_already_feels_nothing_of_guesses_at_her_password(
    client: FlaskClient, member: Actor, bearer: Bearer
) -> None:
    headers = bearer(member)
    fail(member.email, 10)
    assert client.get("/api/v1/users/me", headers=headers).status_code == 200
