"""Roles that ask for a second factor: who holds one and has none does nothing but set one up."""

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import PASSWORD, csrf_of
from tests.factors import app_code, set_up_app
from tests.test_confirmations import age
from tests.vault import Vault, good, problem
from webapp.policies import Actor

Bearer = Callable[[Actor], dict[str, str]]
Browser = Callable[[Actor], FlaskClient]


@pytest.fixture
def office(app: Flask, admin: Actor, bearer: Bearer) -> Vault:
    return Vault(app, bearer(admin), admin)


def role_of(office: Vault, slug: str) -> str:
    return next(f"/roles/{role['id']}" for role in office.get("/roles")["items"] if role["slug"] == slug)


def ask_members(office: Vault) -> str:
    """An app of the administrator, who then asks members for a factor; the app's secret."""
    secret, _ = set_up_app(office)
    changed = good(office.change(role_of(office, "member"), requires_second_factor=True)).json
    assert changed["requires_second_factor"] is True
    return secret


def test_nobody_asks_others_for_what_they_have_not(office: Vault) -> None:
    for slug in ("admin", "member"):
        problem(office.change(role_of(office, slug), requires_second_factor=True), 409, "no_factor")
    wish = {"name": "Careful", "requires_second_factor": True}
    problem(office.call("POST", "/roles", json=wish), 409, "no_factor")
    set_up_app(office)
    assert good(office.call("POST", "/roles", json=wish), 201).json["requires_second_factor"] is True
    good(office.change(role_of(office, "admin"), requires_second_factor=True))
    good(office.call("GET", "/users"))


def test_a_role_beyond_ones_own_is_not_loosened(
    app: Flask, office: Vault, bearer: Bearer, person: Callable[..., Actor]
) -> None:
    set_up_app(office)
    good(office.change(role_of(office, "admin"), requires_second_factor=True))
    good(office.call("POST", "/roles", json={"name": "Clerk", "permissions": ["roles.read", "roles.write"]}), 201)
    clerk = person("cleo", role="clerk")
    program = Vault(app, bearer(clerk), clerk)
    problem(program.change(role_of(office, "admin"), requires_second_factor=False), 403, "beyond_yours")


def test_a_program_without_a_factor_only_sets_one_up(office: Vault, vault: Vault) -> None:
    vault.upload("before.txt")
    ask_members(office)
    for method, path in (("GET", "/files"), ("GET", "/users/me"), ("POST", "/exports"), ("GET", "/sessions")):
        problem(vault.call(method, path), 403, "second_factor_required")
    assert vault.get("/factors")["items"] == []
    _, made = set_up_app(vault)
    assert len(vault.get("/files")["items"]) == 1
    problem(vault.call("DELETE", f"/factors/{made['factor']['id']}"), 409, "factor_required")


def test_a_session_from_before_shows_the_factor_once(
    app: Flask, office: Vault, vault: Vault, bearer: Bearer, member: Actor
) -> None:
    other = Vault(app, bearer(member), member)
    ask_members(office)
    secret, _ = set_up_app(vault)
    vault.get("/files")
    problem(other.call("GET", "/files"), 403, "step_up_required")
    good(other.call("POST", "/auth/confirm", json={"method": "totp", "code": app_code(secret)}), 204)
    other.get("/files")


def test_a_person_is_led_to_the_set_up_and_on_from_there(
    office: Vault, signed_in: Browser, vault: Vault, member: Actor
) -> None:
    browser = signed_in(member)
    ask_members(office)
    led = browser.get("/files")
    assert (led.status_code, led.location) == (303, "/account/security")
    page = browser.get("/account/security").text
    assert "A role of yours asks for a second factor" in page
    token = csrf_of(page)
    assert browser.post("/account/email", data={"csrf_token": token}).location == "/account/security"
    assert browser.post("/account/security/app", data={"csrf_token": token}).location == "/account/security/app"
    assert browser.get("/account/security/app").status_code == 200
    secret, _ = set_up_app(vault)
    shown = browser.get("/files?sort=size")
    assert parse_qs(urlsplit(shown.location).query)["next"] == ["/files?sort=size"]
    page = browser.get(shown.location).text
    assert 'name="password"' not in page
    form = {"csrf_token": token, "method": "totp", "code": app_code(secret), "next": "/files?sort=size"}
    assert browser.post("/confirm-identity", data=form).location == "/files?sort=size"
    assert browser.get("/files").status_code == 200
    signed_out = browser.post("/sign-out", data={"csrf_token": csrf_of(browser.get("/files").text)})
    assert signed_out.location == "/sign-in"


def test_the_form_of_a_role_asks_and_the_list_shows_it(office: Vault, signed_in: Browser, admin: Actor) -> None:
    browser = signed_in(admin)
    set_up_app(office)
    here = f"/admin{role_of(office, 'guest')}"
    page = browser.get(here).text
    token = csrf_of(page)
    age(admin)
    form = {"csrf_token": token, "name": "Guest", "about": "Sees and downloads files, changes none", "version": "1",
            "permissions": "files.read", "requires_second_factor": "true"}  # fmt: skip
    assert browser.post(here, data=form, headers={"Referer": f"http://localhost{here}"}).status_code == 303
    good(office.call("GET", "/users"))
    browser.post("/confirm-identity", data={"csrf_token": token, "method": "password", "password": PASSWORD})
    saved = browser.post(here, data=form)
    assert (saved.status_code, saved.location) == (302, here), saved.text
    assert '<option value="true" selected>' in browser.get(here).text
    assert "Second factor" in browser.get("/admin/roles").text
