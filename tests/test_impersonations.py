"""Acting as somebody else: who may, as whom, how long, without secrets, and both names in the trail."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, text

from tests.conftest import PASSWORD, csrf_of
from tests.letters import ordered, told
from tests.vault import Vault, good, problem
from webapp.config import current_settings, use_settings
from webapp.db import db
from webapp.infra.clock import now
from webapp.models.audit import AuditEntry
from webapp.policies import Actor
from webapp.services import settings
from webapp.services.sessions import forget_identities

Bearer = Callable[[Actor], dict[str, str]]
Browser = Callable[[Actor], FlaskClient]
REASON = {"reason": "She cannot find her invoices"}


@pytest.fixture
def office(app: Flask, admin: Actor, bearer: Bearer) -> Vault:
    return Vault(app, bearer(admin), admin)


def acting(office: Vault, person: Actor) -> Vault:
    """A program of the administrator's that acts as this person."""
    grant: Any = good(office.call("POST", f"/users/{person.uuid}/impersonation", json=REASON)).json
    assert grant["user_id"] == str(person.uuid)
    return Vault(office.app, {"Authorization": f"Bearer {grant['access_token']}"}, person)


def trail() -> list[tuple[str, int | None, int | None]]:
    with db.engine.connect() as connection:
        rows = select(AuditEntry.event, AuditEntry.actor_id, AuditEntry.impersonator_id).order_by(AuditEntry.id)
        return [tuple(row) for row in connection.execute(rows)]


def test_an_administrator_sees_and_does_what_the_person_can_and_both_names_are_noted(
    office: Vault, vault: Vault, admin: Actor, member: Actor
) -> None:
    vault.folder("Invoices")
    program = acting(office, member)
    assert program.get("/users/me")["email"] == member.email
    assert [folder["name"] for folder in program.get("/folders")["items"]] == ["Invoices"]
    program.folder("Found")
    problem(program.call("GET", "/users"), 403)
    assert ("user.impersonated", admin.id, None) in trail()
    assert ("folder.created", member.id, None) in trail()
    assert trail()[-1] == ("folder.created", member.id, admin.id)
    with db.engine.connect() as connection:
        changes = connection.execute(
            text("SELECT changes FROM audit_entries WHERE event = 'user.impersonated'")
        ).scalar()
    assert REASON["reason"] in str(changes)


def test_secrets_are_out_of_reach(office: Vault, member: Actor) -> None:
    program = acting(office, member)
    change = {"current_password": PASSWORD, "password": "Another-Horse-8-Battery"}
    problem(program.call("POST", "/auth/change-password", json=change), 403)
    problem(program.call("POST", "/tokens", json={"name": "x", "scopes": ["files.read"]}), 403)
    problem(program.call("POST", "/exports"), 403)
    problem(program.call("POST", f"/users/{member.uuid}/impersonation", json=REASON), 403)


def test_nobody_acts_as_an_administrator_themselves_somebody_suspended_or_without_a_reason(
    app: Flask, office: Vault, vault: Vault, admin: Actor, member: Actor, person: Callable[..., Actor]
) -> None:
    other = person("olga", role="admin")
    path = "/users/{}/impersonation"
    problem(office.call("POST", path.format(other.uuid), json=REASON), 403, "beyond_yours")
    problem(office.call("POST", path.format(admin.uuid), json=REASON), 409)
    problem(office.call("POST", path.format(member.uuid), json={"reason": " "}), 422)
    problem(office.call("POST", path.format(member.uuid), json={}), 422)
    problem(office.call("POST", path.format("00000000-0000-7000-8000-000000000000"), json=REASON), 404)
    problem(vault.call("POST", path.format(admin.uuid), json=REASON), 403)
    good(office.call("POST", f"/users/{member.uuid}/suspension"))
    problem(office.call("POST", path.format(member.uuid), json=REASON), 409, "inactive")
    assert not [event for event, *_ in trail() if event == "user.impersonated"]


def test_who_may_impersonate_still_gets_nobody_s_permissions_beyond_their_own(
    app: Flask, office: Vault, member: Actor, person: Callable[..., Actor], bearer: Bearer
) -> None:
    wish = {"name": "Helpers", "permissions": ["account.read", "files.read", "users.read", "users.impersonate"]}
    slug = good(office.call("POST", "/roles", json=wish), 201).json["slug"]
    helper = person("hugo")
    good(office.change(f"/users/{helper.uuid}", roles=[slug]))
    desk = Vault(app, bearer(helper), helper)
    problem(desk.call("POST", f"/users/{member.uuid}/impersonation", json=REASON), 403, "beyond_yours")
    guest = person("gita", role="guest")
    guests = next(role for role in office.get("/roles")["items"] if role["slug"] == "guest")
    good(office.change(f"/roles/{guests['id']}", permissions=["account.read", "files.read"]))
    program = acting(desk, guest)
    good(program.call("GET", "/files"))
    good(office.change(f"/roles/{guests['id']}", permissions=["account.read", "files.read", "files.write"]))
    problem(program.call("POST", "/folders", json={"name": "x"}), 403)
    good(office.change(f"/users/{helper.uuid}", roles=["member"]))
    problem(program.call("GET", "/files"), 401)


def test_it_ends_after_half_an_hour_whatever_is_done(office: Vault, member: Actor) -> None:
    program = acting(office, member)
    for minutes in (10, 20, 29):
        forget_identities()
        with time_machine.travel(now() + timedelta(minutes=minutes)):
            good(program.call("GET", "/files"))
    forget_identities()
    with time_machine.travel(now() + timedelta(minutes=30, seconds=1)):
        problem(program.call("GET", "/files"), 401)


@pytest.mark.parametrize("end", ["own session", "suspension", "theirs", "stop", "person"])
def test_it_ends_with_the_session_of_who_acts_and_when_somebody_ends_it(
    office: Vault, vault: Vault, member: Actor, admin: Actor, person: Callable[..., Actor], end: str
) -> None:
    program = acting(office, member)
    good(program.call("GET", "/files"))
    if end == "own session":
        good(office.call("POST", "/auth/logout"), 204)
    elif end == "suspension":
        person("olga", role="admin")
        with db.engine.connect().execution_options(write=True) as line, line.begin():
            line.execute(text("UPDATE users SET suspended_at = created_at WHERE id = :id"), {"id": admin.id})
        forget_identities()
    elif end == "theirs":
        theirs = next(session for session in vault.get("/sessions")["items"] if session["impersonated"])
        good(vault.call("DELETE", f"/sessions/{theirs['id']}"), 204)
    elif end == "stop":
        good(program.call("DELETE", "/impersonation"), 204)
        assert ("user.impersonation_ended", member.id, admin.id) in trail()
        good(office.call("GET", "/users"))
    else:
        good(office.call("POST", f"/users/{member.uuid}/suspension"))
    problem(program.call("GET", "/files"), 401)


def test_who_acts_as_themselves_has_nothing_to_stop(vault: Vault) -> None:
    problem(vault.call("DELETE", "/impersonation"), 404)


def test_no_refresh_token_and_no_personal_token_leads_there(office: Vault, member: Actor) -> None:
    grant: Any = good(office.call("POST", f"/users/{member.uuid}/impersonation", json=REASON)).json
    assert grant.keys() == {"access_token", "token_type", "expires_in", "user_id"}
    assert grant["expires_in"] == 1800
    wish = {"name": "x", "scopes": ["users.impersonate"]}
    assert problem(office.call("POST", "/tokens", json=wish), 422)["errors"][0]["code"] == "unknown_scope"


def test_the_person_is_told_unless_the_vault_is_not_to(office: Vault, member: Actor, admin: Actor) -> None:
    acting(office, member)
    assert told(member.email) == ["impersonated"]
    said = ordered()[-1].variables
    assert (said["who"], said["reason"], said["minutes"]) == (admin.name, REASON["reason"], 30)
    before = current_settings()
    use_settings(before.model_copy(update={"impersonation_mail": "off"}))
    settings.forget_values()
    try:
        acting(office, member)
    finally:
        use_settings(before)
        settings.forget_values()
    assert told(member.email) == ["impersonated"]


def test_webhooks_hear_both_names(office: Vault, member: Actor, admin: Actor) -> None:
    wish = {"name": "Ledger", "url": "https://8.8.8.8/hook", "events": ["folder.created"]}
    hook = good(office.call("POST", "/webhooks", json=wish), 201).json
    acting(office, member).folder("Found")
    delivery = office.get(f"/webhooks/{hook['id']}/deliveries")["items"][0]
    card = office.get(f"/webhooks/{hook['id']}/deliveries/{delivery['id']}")
    assert card["payload"]["data"]["actor"]["name"] == member.name
    assert card["payload"]["data"]["impersonator"] == {"id": str(admin.uuid), "name": admin.name}


def test_in_pages_a_banner_stands_on_every_page_and_stopping_leads_back(
    app: Flask, admin: Actor, member: Actor, signed_in: Browser
) -> None:
    browser = signed_in(admin)
    page = browser.get(f"/admin/users/{member.uuid}").text
    assert "Act as Mira" in page
    path, token = f"/admin/users/{member.uuid}/impersonation", csrf_of(page)
    refused = browser.post(path, data={"csrf_token": token, "reason": ""})
    assert refused.status_code == 422
    assert browser.post(path, data={"csrf_token": token, **REASON}).status_code == 302
    for address in ("/files", "/trash", "/jobs", "/account", "/account/sessions", "/account/security"):
        shown = browser.get(address)
        assert shown.status_code == 200, address
        assert "you act as Mira" in shown.text, address
    assert browser.get("/admin/users").status_code == 404
    assert browser.get("/account/tokens/new").status_code == 403
    assert "An administrator, acting as you" in browser.get("/account/sessions").text
    stopped = browser.post("/impersonation/end", data={"csrf_token": csrf_of(browser.get("/files").text)})
    assert stopped.headers["Location"] == f"/admin/users/{member.uuid}"
    back = browser.get("/admin/users").text
    assert "you act as" not in back
    assert "You are yourself again" in back


def test_a_page_that_outlives_the_half_hour_does_nothing_in_the_administrator_s_name(
    app: Flask, admin: Actor, member: Actor, signed_in: Browser
) -> None:
    browser = signed_in(admin)
    page = browser.get(f"/admin/users/{member.uuid}").text
    browser.post(f"/admin/users/{member.uuid}/impersonation", data={"csrf_token": csrf_of(page), **REASON})
    token = csrf_of(browser.get("/files").text)
    forget_identities()
    with time_machine.travel(now() + timedelta(minutes=31)):
        late = browser.post("/folders", data={"csrf_token": token, "name": "Late"})
        assert late.status_code in {302, 401}
        assert browser.get("/sign-in").headers["Location"] == "/files"
        assert "You are yourself again" in browser.get("/files").text
        assert browser.get("/admin/users").status_code == 200
    assert "folder.created" not in [event for event, *_ in trail()]


def test_signing_out_meanwhile_signs_the_administrator_out_too(
    app: Flask, admin: Actor, member: Actor, signed_in: Browser
) -> None:
    browser = signed_in(admin)
    page = browser.get(f"/admin/users/{member.uuid}").text
    browser.post(f"/admin/users/{member.uuid}/impersonation", data={"csrf_token": csrf_of(page), **REASON})
    browser.post("/sign-out", data={"csrf_token": csrf_of(browser.get("/files").text)})
    with db.engine.connect() as connection:
        living = connection.execute(text("SELECT count(*) FROM sessions WHERE deleted_at IS NULL")).scalar()
    assert living == 0


def test_the_device_of_an_administrator_is_not_taken_for_the_person_s(
    office: Vault, vault: Vault, member: Actor
) -> None:
    seen = office.get(f"/users/{member.uuid}")["seen_at"]
    with time_machine.travel(now() + timedelta(minutes=5), tick=True):
        acting(office, member).call("GET", "/files")
        assert office.get(f"/users/{member.uuid}")["seen_at"] == seen
