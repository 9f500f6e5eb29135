"""Forgotten passwords: who may set a new one, once, and what nobody learns on the way."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

from tests.conftest import PASSWORD, csrf_of
from tests.letters import link_of, ordered, token_in, token_of, told
from tests.test_auth import CountingHasher
from tests.test_mail import Mailbox, mail_server
from tests.vault import good, problem
from webapp.db import db, tally, transaction
from webapp.infra.clock import now
from webapp.infra.links import sign_words
from webapp.models.users import User
from webapp.policies import Actor
from webapp.services import attempts, passwords, resets
from webapp.services.resets import ForgottenPassword
from webapp.services.sessions import Origin

NEW = "Another-Horse-8-Battery"
FORGOT, RESET, LOGIN = "/api/v1/auth/forgot-password", "/api/v1/auth/reset-password", "/api/v1/auth/login"
Browser = Callable[[Actor], FlaskClient]


def ask(client: FlaskClient, actor: Actor) -> str:
    good(client.post(FORGOT, json={"email": actor.email}), 204)
    return token_of(ordered()[-1])


def signs_in(client: FlaskClient, actor: Actor, password: str) -> bool:
    fresh = client.application.test_client()
    return fresh.post(LOGIN, json={"email": actor.email, "password": password}).status_code == 200


def test_a_person_sets_a_new_password_by_the_link_of_a_mail(
    client: FlaskClient, member: Actor, run_jobs: Callable[[], int]
) -> None:
    form = {"email": member.email.upper(), "csrf_token": csrf_of(client.get("/forgot-password").text)}
    box = Mailbox()
    with mail_server(box):
        assert "Look into your mailbox" in good(client.post("/forgot-password", data=form)).text
        run_jobs()
    (letter,) = box.kept
    assert (letter["To"].addresses[0].addr_spec, letter["Subject"]) == (member.email, "Set a new password")
    link = link_of(letter)
    assert link.startswith("http://127.0.0.1:8000/reset-password?token=")
    page = good(client.get(link.removeprefix("http://127.0.0.1:8000"))).text
    assert member.email in page
    wish = {"token": token_in(link), "csrf_token": csrf_of(page)}
    weak = client.post("/reset-password", data={**wish, "password": "short"})
    assert (weak.status_code, "Use at least 12 characters" in weak.text) == (422, True)
    done = client.post("/reset-password", data={**wish, "password": NEW})
    assert (done.status_code, done.location) == (302, "/sign-in")
    assert (signs_in(client, member, NEW), signs_in(client, member, PASSWORD)) == (True, False)
    assert told(member.email)[-1] == "password_changed"
    again = client.get(link.removeprefix("http://127.0.0.1:8000"))
    assert (again.status_code, "Ask for a new link" in again.text) == (410, True)


def test_links_lead_to_the_public_address_whatever_host_was_asked(client: FlaskClient, member: Actor) -> None:
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
    good(client.post(FORGOT, json={"email": member.email}, headers=headers), 204)
    assert ordered()[-1].variables["url"].startswith("http://127.0.0.1:8000/reset-password?token=")


def test_a_reset_ends_every_session_cookie_and_token(client: FlaskClient, member: Actor, signed_in: Browser) -> None:
    browser = signed_in(member)
    grant = client.post(LOGIN, json={"email": member.email, "password": PASSWORD}).json
    good(client.post(RESET, json={"token": ask(client, member), "password": NEW}), 204)
    bearer = {"Authorization": f"Bearer {grant['access_token']}"}
    assert browser.get("/api/v1/users/me").status_code == 401
    assert client.get("/api/v1/users/me", headers=bearer).status_code == 401
    problem(client.post("/api/v1/auth/refresh", json={"refresh_token": grant["refresh_token"]}), 401)


def test_the_same_answer_for_the_same_work_whether_there_is_an_account_or_not(
    client: FlaskClient, member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasher = CountingHasher()
    monkeypatch.setattr(passwords, "hasher", hasher)

    def attempt(email: str) -> tuple[Any, ...]:
        answer = client.post(FORGOT, json={"email": email})
        page = client.get("/forgot-password")
        shown = client.post("/forgot-password", data={"email": email, "csrf_token": csrf_of(page.text)})
        tally.reset()
        resets.ask_reset(ForgottenPassword(email=email), Origin("127.0.0.1"))
        head = {name for name, _ in answer.headers}
        return answer.status_code, answer.data, head, shown.text.replace(email, "…"), tally.count, hasher.made

    attempt("warming@harbour.example")
    assert attempt(member.email) == attempt("nobody@harbour.example")
    assert told(member.email) == ["password_reset"] * 3
    assert told("nobody@harbour.example") == ["no_account"] * 3


def test_nobody_fills_a_mailbox(client: FlaskClient, member: Actor) -> None:
    with ThreadPoolExecutor(8) as pool:
        twins = [client.application.test_client() for _ in range(8)]
        codes = list(pool.map(lambda twin: twin.post(FORGOT, json={"email": member.email}).status_code, twins))
    assert set(codes) <= {204, 503}
    assert len(told(member.email)) <= attempts.MAILS
    assert client.post(FORGOT, json={"email": member.email}).status_code == 204
    assert len(told(member.email)) <= attempts.MAILS


def test_of_twenty_that_use_one_link_at_once_one_wins(app: Flask, client: FlaskClient, member: Actor) -> None:
    token = ask(client, member)

    def use(number: int) -> int:
        return app.test_client().post(RESET, json={"token": token, "password": f"{NEW}-{number}"}).status_code

    with ThreadPoolExecutor(20) as pool:
        codes = sorted(pool.map(use, range(20)))
    assert codes[0] == 204
    assert set(codes[1:]) <= {410, 503}, codes


@pytest.mark.parametrize("fault", ["tampered", "nothing", "purpose", "late", "changed", "suspended", "deleted", "long"])
def test_a_link_that_is_not_good_any_more_changes_nothing(client: FlaskClient, member: Actor, fault: str) -> None:
    token = ask(client, member)
    if fault == "tampered":
        token = f"{token[:-3]}{'abc' if token[-3:] != 'abc' else 'xyz'}"
    elif fault == "nothing":
        token = "no-token"
    elif fault == "long":
        token = "x" * 2000
    elif fault == "purpose":
        token = sign_words("registration", now() + timedelta(hours=1), user=str(member.uuid), now="x")
    elif fault == "changed":
        good(client.post(RESET, json={"token": token, "password": f"{NEW}-1"}), 204)
    elif fault in {"suspended", "deleted"}:
        with transaction():
            db.session.execute(update(User).where(User.id == member.id).values({f"{fault}_at": now()}))
    shift = timedelta(hours=1, seconds=1) if fault == "late" else timedelta()
    with time_machine.travel(now() + shift, tick=True):
        problem(client.post(RESET, json={"token": token, "password": NEW}), 410, "link_over")
    assert not signs_in(client, member, NEW)


def test_somebody_under_attack_comes_in_by_her_mail(client: FlaskClient, member: Actor) -> None:
    for network in range(attempts.PER_ACCOUNT):
        with transaction():
            attempts.note_failure("mira@harbour.example", f"192.0.2.{network}")
    assert not signs_in(client, member, PASSWORD)
    good(client.post(RESET, json={"token": ask(client, member), "password": NEW}), 204)
    good(client.post(LOGIN, json={"email": member.email, "password": NEW}))
