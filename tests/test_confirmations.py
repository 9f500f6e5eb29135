"""Step-up: sensitive deeds ask again after a quarter of an hour, and only those."""

from collections.abc import Callable
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import delete, update

from tests.conftest import PASSWORD, csrf_of
from tests.factors import app_code, set_up_app
from tests.vault import Vault, good, problem
from webapp.db import db
from webapp.infra.clock import now
from webapp.models.audit import AuditEntry
from webapp.models.record import any_state
from webapp.models.sessions import Session
from webapp.models.users import Credential
from webapp.policies import Actor
from webapp.services import sessions

Bearer = Callable[[Actor], dict[str, str]]
Browser = Callable[[Actor], FlaskClient]
NOBODY = "00000000-0000-7000-8000-000000000000"
# every deed that asks again: (method, path, body)
DEEDS = [
    ("POST", "/auth/change-email", {"email": "new@harbour.example", "current_password": PASSWORD}),
    ("POST", "/auth/delete-account", {"current_password": PASSWORD}),
    ("POST", "/exports", None),
    ("GET", f"/exports/{NOBODY}/content", None),
    ("DELETE", f"/identities/{NOBODY}", None),
    ("POST", "/factors/totp", None),
    ("POST", "/factors/passkeys", None),
    ("POST", "/factors/recovery-codes", None),
    ("DELETE", f"/factors/{NOBODY}", None),
    ("POST", "/tokens", {"name": "Mine", "scopes": ["files.read"]}),
    ("PATCH", f"/tokens/{NOBODY}", {"name": "Other"}),
    ("POST", "/users", {"name": "Zoe", "email": "zoe@harbour.example"}),
    ("PATCH", f"/users/{NOBODY}", {"roles": ["admin"]}),
    ("POST", f"/users/{NOBODY}/suspension", None),
    ("POST", f"/users/{NOBODY}/restoration", None),
    ("DELETE", f"/users/{NOBODY}", None),
    ("DELETE", f"/users/{NOBODY}/factors", None),
    ("DELETE", f"/users/{NOBODY}/sessions", None),
    ("POST", f"/users/{NOBODY}/password-resets", None),
    ("POST", f"/users/{NOBODY}/impersonation", {"reason": "help"}),
    ("POST", "/roles", {"name": "Mine", "permissions": []}),
    ("PATCH", f"/roles/{NOBODY}", {"permissions": []}),
    ("DELETE", f"/roles/{NOBODY}", None),
    ("PATCH", "/settings", {"webhook_log_days": 5}),
    ("POST", f"/webhooks/{NOBODY}/secrets", None),
    ("POST", "/invitations", {"email": "bo@harbour.example", "role": "admin"}),
]


def age(actor: Actor, by: timedelta = timedelta(minutes=15, seconds=1)) -> None:
    """Let the last proof of all sessions of the actor lie so far back."""
    with db.engine.connect().execution_options(write=True) as connection, connection.begin():
        connection.execute(update(Session).where(Session.user_id == actor.id).values(proven_at=now() - by))
    sessions.forget_identities()


@pytest.fixture
def office(app: Flask, admin: Actor, bearer: Bearer) -> Vault:
    return Vault(app, bearer(admin), admin)


def call(program: Vault, method: str, path: str, body: object):
    return program.call(method, path, **({} if body is None else {"json": body}))


@pytest.mark.parametrize(("method", "path", "body"), DEEDS)
def test_a_sensitive_deed_asks_again_after_a_quarter_of_an_hour(
    office: Vault, admin: Actor, method: str, path: str, body: object
) -> None:
    age(admin)
    problem(call(office, method, path, body), 403, "step_up_required")
    good(office.call("POST", "/auth/confirm", json={"password": PASSWORD}), 204)
    answer = call(office, method, path, body)
    assert answer.status_code not in {401, 403}, answer.text


def test_the_table_above_is_whole(app: Flask) -> None:
    """Whoever lets another route ask again says so here, and the reverse."""
    adapter = app.url_map.bind("localhost")
    known = {adapter.match(f"/api/v1{path}", method=method)[0] for method, path, _ in DEEDS}
    known |= {"factors_api.confirm_totp", "factors_api.create_passkey", "accounts_api.end_user_session"}
    asking = {e for e, view in app.view_functions.items() if "_api." in e and getattr(view, "fresh", False)}
    assert asking - known == set()
    assert known - asking == {"invitations_api.create_invitation"}  # for roles beyond a member's


def test_just_before_nothing_is_asked_and_everyday_deeds_never_ask(office: Vault, admin: Actor) -> None:
    age(admin, timedelta(minutes=14))
    good(office.call("POST", "/roles", json={"name": "Mine"}), 201)
    age(admin, timedelta(days=20))
    office.upload("mine.txt")
    good(office.call("PATCH", "/users/me", json={"name": "Ana B"}))
    good(office.call("POST", "/invitations", json={"email": "bo@harbour.example"}), 201)
    good(office.call("GET", "/users"))


def test_a_page_comes_back_and_a_form_to_the_page_it_stood_on(
    app: Flask, signed_in: Browser, admin: Actor, member: Actor
) -> None:
    browser = signed_in(admin)
    here = f"/admin/users/{member.uuid}"
    token = csrf_of(browser.get(here).text)
    age(admin)
    asked = browser.get("/account/email?x=1")
    assert asked.status_code == 303
    assert parse_qs(urlsplit(asked.location).query)["next"] == ["/account/email?x=1"]
    posted = browser.post(
        f"{here}/suspension", data={"csrf_token": token}, headers={"Referer": f"http://localhost{here}"}
    )
    assert posted.status_code == 303
    page = browser.get(posted.location)
    assert "the last proof is more than 15 minutes old" in page.text
    form = {"csrf_token": token, "method": "password", "next": here}
    wrong = browser.post("/confirm-identity", data={**form, "password": "not this one"})
    assert (wrong.status_code, "This is not your password." in wrong.text) == (422, True)
    done = browser.post("/confirm-identity", data={**form, "password": PASSWORD})
    assert (done.status_code, done.location) == (302, here)
    assert browser.post(f"{here}/suspension", data={"csrf_token": token}).location == here
    with app.app_context():
        events = [entry.event for entry in db.session.scalars(any_state(AuditEntry).order_by(AuditEntry.id))]
    assert [e for e in events if e.startswith(("session.c", "user.s"))] == ["session.confirmed", "user.suspended"]


def test_a_cookie_copied_before_is_dead_after(app: Flask, signed_in: Browser, admin: Actor) -> None:
    browser, thief = signed_in(admin), app.test_client()
    before = browser.get_cookie("session")
    assert before is not None
    form = {"csrf_token": csrf_of(browser.get("/account").text), "method": "password", "password": PASSWORD}
    assert browser.post("/confirm-identity", data=form).status_code == 302
    thief.set_cookie("session", before.value)
    assert thief.get("/account").status_code in {302, 303}
    assert browser.get("/account").status_code == 200


@pytest.mark.parametrize("referer", ["https://evil.example/x", "//evil.example", "", "http://localhost//evil.example"])
def test_no_referer_leads_off_the_site(signed_in: Browser, admin: Actor, referer: str) -> None:
    browser = signed_in(admin)
    token = csrf_of(browser.get("/account").text)
    age(admin)
    posted = browser.post("/account/security/app", data={"csrf_token": token}, headers={"Referer": referer})
    onward = parse_qs(urlsplit(posted.location).query)["next"][0]
    form = {"csrf_token": token, "method": "password", "password": PASSWORD, "next": onward}
    assert browser.post("/confirm-identity", data=form).location in {"/files", "/evil.example"}


def test_a_factor_confirms_too_each_code_once(office: Vault, admin: Actor) -> None:
    secret, made = set_up_app(office)
    age(admin)
    wish = {"method": "totp", "code": app_code(secret)}
    good(office.call("POST", "/auth/confirm", json=wish), 204)
    good(office.call("POST", "/roles", json={"name": "Mine"}), 201)
    age(admin)
    assert problem(office.call("POST", "/auth/confirm", json=wish), 422)["errors"][0]["code"] == "used_code"
    problem(office.call("POST", "/roles", json={"name": "Other"}), 403, "step_up_required")
    wish = {"method": "recovery_code", "code": made["recovery_codes"][0]}
    good(office.call("POST", "/auth/confirm", json=wish), 204)
    for nothing in ({}, {"method": "totp"}, {"method": "passkey"}, {"password": ""}):
        problem(office.call("POST", "/auth/confirm", json=nothing), 422)


def test_whoever_comes_by_a_provider_alone_signs_in_once_more_or_shows_a_factor(
    office: Vault, signed_in: Browser, admin: Actor
) -> None:
    browser = signed_in(admin)
    with db.engine.connect().execution_options(write=True) as connection, connection.begin():
        connection.execute(delete(Credential).where(Credential.user_id == admin.id))
    assert "Do that once more" in browser.get("/confirm-identity?next=/account/email").text
    assert "current_password" not in browser.get("/account/email").text
    good(office.call("POST", "/auth/change-email", json={"email": "new@harbour.example"}), 204)
    age(admin)
    problem(office.call("POST", "/auth/change-email", json={"email": "new@harbour.example"}), 403, "step_up_required")
    problem(office.call("POST", "/auth/confirm", json={"password": PASSWORD}), 422)


def test_where_there_is_a_password_it_has_to_be_given(office: Vault) -> None:
    for path, more in (("/auth/change-email", {"email": "new@harbour.example"}), ("/auth/delete-account", {})):
        assert problem(office.call("POST", path, json=more), 422)["errors"][0]["field"] == "current_password"
