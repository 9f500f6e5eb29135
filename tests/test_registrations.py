"""Registering, confirming one's address, accepting an invitation: one account, and nothing that a stranger learns."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func

from tests.conftest import PASSWORD, csrf_of
from tests.letters import link_of, ordered, token_in, token_of, told
from tests.test_auth import CountingHasher
from tests.test_mail import Mailbox, mail_server
from tests.vault import good, problem
from webapp.config import current_settings, use_settings
from webapp.db import db, tally
from webapp.infra.clock import now
from webapp.models.record import any_state, live
from webapp.models.registrations import Registration
from webapp.models.users import User, live_user_by_email
from webapp.policies import Actor
from webapp.services import attempts, passwords, registrations
from webapp.services.sessions import Origin
from webapp.services.settings import forget_values
from webapp.services.users import NewUser

REGISTER, VERIFY = "/api/v1/auth/register", "/api/v1/auth/verify-email"
RESEND, LOGIN = "/api/v1/auth/resend-verification", "/api/v1/auth/login"
WISH = {"email": "Noor@harbour.example", "name": "Noor", "password": PASSWORD}


@pytest.fixture
def mode(app: Flask) -> Iterator[Callable[[str], None]]:
    before = current_settings()

    def choose(mode: str) -> None:
        use_settings(before.model_copy(update={"registration": mode}))
        forget_values()

    choose("open")
    yield choose
    use_settings(before)
    forget_values()


@pytest.fixture
def opened(mode: Callable[[str], None]) -> None:
    """Anybody may register."""


def registered(client: FlaskClient, **change: str) -> str:
    good(client.post(REGISTER, json={**WISH, **change}), 204)
    return token_of(ordered()[-1])


def accounts() -> int:
    return db.session.scalar(live(User, func.count())) or 0


def confirm(client: FlaskClient, token: str, password: str = PASSWORD) -> Any:
    return client.post(VERIFY, json={"token": token, "password": password})


@pytest.mark.usefixtures("opened")
def test_a_person_registers_confirms_her_address_and_is_in(client: FlaskClient, run_jobs: Callable[[], int]) -> None:
    box = Mailbox()
    page = client.get("/register").text
    with mail_server(box):
        answer = good(client.post("/register", data={**WISH, "csrf_token": csrf_of(page)}))
        assert "Look into your mailbox" in answer.text
        problem(client.post(LOGIN, json={"email": WISH["email"], "password": PASSWORD}), 401)
        run_jobs()
    (letter,) = box.kept
    assert letter["To"].addresses[0].addr_spec == "Noor@harbour.example"
    assert "Noor" not in letter.get_body(("plain",)).get_content(), "nobody is sent a stranger's words"
    path = link_of(letter).removeprefix("http://127.0.0.1:8000")
    page = good(client.get(path)).text
    wish = {"token": token_in(path), "csrf_token": csrf_of(page)}
    wrong = client.post("/verify-email", data={**wish, "password": "not-what-was-chosen"})
    assert (wrong.status_code, "This is not the password that was chosen" in wrong.text) == (422, True)
    done = client.post("/verify-email", data={**wish, "password": PASSWORD})
    assert (done.status_code, done.location) == (302, "/files")
    me = client.get("/api/v1/users/me").json
    assert (me["email"], me["name"], me["roles"]) == ("Noor@harbour.example", "Noor", ["member"])
    assert client.get(path).status_code == 410
    assert db.session.scalar(any_state(Registration, func.count())) == 0


@pytest.mark.usefixtures("opened")
def test_the_same_answer_for_the_same_work_whether_the_address_is_taken_or_not(
    client: FlaskClient, member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasher = CountingHasher()
    monkeypatch.setattr(passwords, "hasher", hasher)

    def attempt(path: str, email: str) -> tuple[Any, ...]:
        fields = {"name": "Any", "password": PASSWORD} if path == REGISTER else {}
        hasher.made = hasher.verified = 0
        answer = client.post(path, json={"email": email, **fields})
        work = hasher.made, hasher.verified
        page = {REGISTER: "/register", RESEND: "/verification-mails"}[path]
        token = csrf_of(client.get("/register").text)
        shown = client.post(page, data={"email": email, "csrf_token": token, **fields})
        tally.reset()
        if path == REGISTER:
            registrations.register(NewUser(email=email, **fields), Origin("127.0.0.1"))
        else:
            registrations.resend_confirmation(registrations.Resend(email=email), Origin("127.0.0.1"))
        text = re.sub(r'(csrf[-_]token" (?:value|content)=)"[^"]*"', r"\1", shown.text.replace(email, "…"))
        return (
            answer.status_code,
            answer.data,
            {n for n, _ in answer.headers},
            shown.status_code,
            text,
            work,
            tally.count,
        )

    attempt(REGISTER, "warming@harbour.example")
    assert attempt(REGISTER, member.email) == attempt(REGISTER, "nobody@harbour.example")
    assert told(member.email) == ["address_taken"] * 3
    assert told("nobody@harbour.example") == ["confirm_address"] * 3
    with time_machine.travel(now() + attempts.WINDOW, tick=True):
        attempt(RESEND, "warming@harbour.example")
        known, unknown = attempt(RESEND, member.email), attempt(RESEND, "stranger@harbour.example")
        pending = attempt(RESEND, "nobody@harbour.example")
        assert known == unknown
        assert known == pending
    assert told("nobody@harbour.example")[3:] == ["confirm_address"] * 3
    assert told("stranger@harbour.example") == ["no_account"] * 3
    assert accounts() == 1


@pytest.mark.usefixtures("opened")
def test_who_registers_another_s_address_gets_no_account_of_it(client: FlaskClient) -> None:
    theirs = registered(client, password="Chosen-By-The-Thief-9")
    hers = registered(client)
    problem(confirm(client, theirs), 422)  # the owner opens the thief's link with her own password
    good(confirm(client, hers), 204)
    good(client.post(LOGIN, json={"email": WISH["email"], "password": PASSWORD}))
    problem(confirm(client, theirs, "Chosen-By-The-Thief-9"), 409, "email_taken")
    assert accounts() == 1


@pytest.mark.usefixtures("opened")
def test_twenty_registrations_of_one_address_at_once_make_one_account(app: Flask, client: FlaskClient) -> None:
    def at_once(call: Callable[[FlaskClient], Any]) -> list[int]:
        with ThreadPoolExecutor(20) as pool:
            return sorted(pool.map(lambda _: call(app.test_client()).status_code, range(20)))

    assert set(at_once(lambda twin: twin.post(REGISTER, json=WISH))) <= {204, 503}
    tokens = [token_of(order) for order in ordered()]
    assert 1 <= len(tokens) <= attempts.MAILS
    codes = at_once(lambda twin: confirm(twin, tokens[hash(id(twin)) % len(tokens)]))
    assert codes.count(204) == 1, codes
    assert set(codes[1:]) <= {409, 410, 503}, codes
    assert accounts() == 1
    signed = at_once(lambda twin: twin.post(LOGIN, json={"email": WISH["email"], "password": PASSWORD}))
    assert set(signed) <= {200, 503}
    assert 200 in signed


@pytest.mark.usefixtures("opened")
def test_a_link_over_or_changed_makes_no_account_and_guessing_is_slowed(client: FlaskClient) -> None:
    token = registered(client)
    for broken in (token[:-4] + "AAAA", "x", f"{token}.x"):
        problem(confirm(client, broken), 410, "link_over")
    codes = [confirm(client, token, f"wrong guess {number}").status_code for number in range(11)]
    assert codes == [422] * 10 + [429]
    with time_machine.travel(now() + timedelta(hours=24, seconds=1), tick=True):
        problem(confirm(client, token), 410)
        assert registrations.sweep_registrations() == 1
    assert accounts() == 0


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize(
    "change", [{"email": "no-address"}, {"email": "a\nb@c.de"}, {"name": ""}, {"password": "short"},
               {"password": "noornoornoor"}, {"role": "admin"}],
)  # fmt: skip
def test_what_cannot_be_an_account_is_named(client: FlaskClient, change: dict[str, str]) -> None:
    problem(client.post(REGISTER, json={**WISH, **change}), 422)
    assert ordered() == []


@pytest.mark.parametrize("closed", ["invitation", "closed"])
def test_where_registration_is_not_open_nobody_registers_or_confirms(
    client: FlaskClient, mode: Callable[[str], None], closed: str
) -> None:
    token = registered(client)
    mode(closed)
    problem(client.post(REGISTER, json=WISH), 403, "registration_closed")
    problem(client.post(RESEND, json={"email": WISH["email"]}), 403, "registration_closed")
    problem(confirm(client, token), 403, "registration_closed")
    assert "by invitation" in client.get("/register").text
    assert "Create an account" not in client.get("/sign-in").text
    assert accounts() == 0


def test_by_default_accounts_are_made_by_invitation(client: FlaskClient) -> None:
    problem(client.post(REGISTER, json=WISH), 403, "registration_closed")
    assert db.session.scalar(live_user_by_email("noor@harbour.example")) is None
