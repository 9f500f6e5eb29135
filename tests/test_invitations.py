"""Invitations: who is let in, with what, until when."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import PASSWORD, csrf_of
from tests.letters import link_of, ordered, token_in, token_of
from tests.test_mail import Mailbox, mail_server
from tests.vault import Vault, good, problem
from webapp.infra.clock import now
from webapp.policies import Actor

ACCEPT = "/api/v1/auth/accept-invitation"
NOOR = {"email": "noor@harbour.example", "role": "manager"}


@pytest.fixture
def office(app: Flask, admin: Actor, bearer: Callable[[Actor], dict[str, str]]) -> Vault:
    return Vault(app, bearer(admin), admin)


def invited(office: Vault, **change: object) -> tuple[str, str]:
    answer = good(office.call("POST", "/invitations", json={**NOOR, **change}), 201)
    return f"/invitations/{answer.json['id']}", token_of(ordered()[-1])


def accept(client: FlaskClient, token: str) -> int:
    wish = {"token": token, "name": "Noor", "password": PASSWORD}
    return client.application.test_client().post(ACCEPT, json=wish).status_code


def test_an_invited_person_makes_her_account_and_is_in(
    admin: Actor, client: FlaskClient, signed_in: Callable[[Actor], FlaskClient], run_jobs: Callable[[], int]
) -> None:
    browser, box = signed_in(admin), Mailbox()
    token = csrf_of(good(browser.get("/admin/invitations")).text)
    with mail_server(box):
        answer = browser.post("/admin/invitations", data={**NOOR, "days": "7", "csrf_token": token})
        assert answer.status_code == 302
        run_jobs()
    (letter,) = box.kept
    assert (letter["To"].addresses[0].addr_spec, letter["Subject"]) == (NOOR["email"], "You are invited")
    path = link_of(letter).removeprefix("http://127.0.0.1:8000")
    page = good(client.get(path)).text
    assert "Ana invites you" in page
    wish = {"token": token_in(path), "name": "Noor", "csrf_token": csrf_of(page)}
    assert client.post(path, data={**wish, "password": "short"}).status_code == 422
    done = client.post(path, data={**wish, "password": PASSWORD})
    assert (done.status_code, done.location) == (302, "/files")
    me = client.get("/api/v1/users/me").json
    assert (me["email"], me["roles"]) == (NOOR["email"], ["manager"])
    over = client.get(path)
    assert (over.status_code, "Ask whoever invited you" in over.text) == (410, True)
    assert "Accepted" in browser.get("/admin/invitations?state=accepted").text


def test_twenty_that_accept_one_invitation_at_once_make_one_account(office: Vault, client: FlaskClient) -> None:
    _, token = invited(office)
    with ThreadPoolExecutor(20) as pool:
        codes = sorted(pool.map(lambda _: accept(client, token), range(20)))
    assert codes[0] == 204
    assert set(codes[1:]) <= {409, 410, 503}, codes
    assert [user["email"] for user in office.get("/users")["items"]] == ["ana@harbour.example", NOOR["email"]]


@pytest.mark.parametrize("fault", ["taken back", "late", "replaced", "tampered", "deleted inviter"])
def test_an_invitation_that_is_over_lets_nobody_in(office: Vault, client: FlaskClient, fault: str) -> None:
    path, token = invited(office, days=1)
    if fault == "taken back":
        good(office.call("DELETE", path), 204)
    elif fault == "replaced":
        _, fresh = invited(office, role="guest")
    elif fault == "tampered":
        token = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    shift = timedelta(days=1, seconds=1) if fault == "late" else timedelta()
    with time_machine.travel(now() + shift, tick=True):
        assert accept(client, token) == (204 if fault == "deleted inviter" else 410)
    if fault == "replaced":
        assert accept(client, fresh) == 204
        assert office.get("/users", query_string={"q": "noor"})["items"][0]["roles"] == ["guest"]


def test_nobody_is_invited_who_is_there_or_to_what_is_not(office: Vault, member: Actor) -> None:
    problem(office.call("POST", "/invitations", json={**NOOR, "email": member.email.upper()}), 409, "email_taken")
    for wrong in ({"role": "captain"}, {"email": "nobody"}, {"days": 0}, {"days": 31}, {"token": "x"}):
        problem(office.call("POST", "/invitations", json={**NOOR, **wrong}), 422)
    assert office.get("/invitations")["items"] == []


def test_invitations_are_listed_by_state_and_sent_again(office: Vault, client: FlaskClient) -> None:
    path, token = invited(office)
    invited(office, email="bo@harbour.example")
    good(office.call("POST", f"{path}/mails"), 204)
    assert [order.to.email for order in ordered()].count(NOOR["email"]) == 2
    assert accept(client, token) == 204
    problem(office.call("POST", f"{path}/mails"), 409, "not_open")
    states = {state: [item["email"] for item in office.get("/invitations", query_string={"state": state})["items"]]
              for state in ("open", "accepted", "expired")}  # fmt: skip
    assert states == {"open": ["bo@harbour.example"], "accepted": [NOOR["email"]], "expired": []}
    assert len(office.every("/invitations", limit=1)) == 2
