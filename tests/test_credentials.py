"""Changing one's own password; sign-ins from devices that nobody has seen before."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import PASSWORD, csrf_of
from tests.letters import ordered, told
from tests.vault import good, problem
from webapp.policies import Actor

NEW = "Another-Horse-8-Battery"
CHANGE, LOGIN, ME = "/api/v1/auth/change-password", "/api/v1/auth/login", "/api/v1/users/me"
WISH = {"current_password": PASSWORD, "password": NEW}
Browser = Callable[[Actor], FlaskClient]


def log_in(client: FlaskClient, actor: Actor, password: str = PASSWORD, agent: str = "tool/1") -> dict[str, str]:
    wish = {"email": actor.email, "password": password}
    answer = client.application.test_client().post(LOGIN, json=wish, headers={"User-Agent": agent})
    return {"Authorization": f"Bearer {good(answer).json['access_token']}"}


def test_a_changed_password_ends_every_session_and_the_page_goes_on(
    client: FlaskClient, member: Actor, signed_in: Browser
) -> None:
    here, there, program = signed_in(member), signed_in(member), log_in(client, member)
    copy = client.application.test_client()
    cookie = here.get_cookie("session")
    assert cookie is not None
    copy.set_cookie("session", cookie.value)
    token = csrf_of(good(here.get("/account/security")).text)
    answer = here.post("/account/password", data={**WISH, "csrf_token": token})
    assert (answer.status_code, answer.location) == (302, "/account/security")
    assert here.get(ME).status_code == 200
    assert [other.get(ME).status_code for other in (there, copy)] == [401, 401]
    assert client.get(ME, headers=program).status_code == 401
    assert told(member.email)[-1] == "password_changed"
    log_in(client, member, NEW)
    problem(client.post(LOGIN, json={"email": member.email, "password": PASSWORD}), 401)


def test_a_program_that_changes_it_signs_in_again(client: FlaskClient, member: Actor) -> None:
    program = log_in(client, member)
    good(client.post(CHANGE, json=WISH, headers=program), 204)
    assert client.get(ME, headers=program).status_code == 401
    log_in(client, member, NEW)


@pytest.mark.parametrize(
    ("wish", "field", "code"),
    [({"current_password": "not-my-password"}, "current_password", "wrong_password"),
     ({"password": "short"}, "password", "too_short"),
     ({"password": "mira-mira-mira"}, "password", "too_weak"),
     ({"password": "correcthorsebatterystaple"}, "password", "too_weak"),
     ({"password": "x" * 129}, "password", "string_too_long")],
)  # fmt: skip
def test_a_wrong_or_weak_password_is_named_and_nothing_changes(
    client: FlaskClient, member: Actor, wish: dict[str, str], field: str, code: str
) -> None:
    program = log_in(client, member)
    refusal = problem(client.post(CHANGE, json={**WISH, **wish}, headers=program), 422)
    assert [(fault["field"], fault["code"]) for fault in refusal["errors"]] == [(field, code)]
    assert client.get(ME, headers=program).status_code == 200
    log_in(client, member)


def test_whoever_found_a_browser_open_may_not_guess_on(client: FlaskClient, member: Actor, signed_in: Browser) -> None:
    browser = signed_in(member)
    token = csrf_of(browser.get("/account/security").text)
    wish = {"current_password": "a-wrong-password", "password": NEW, "csrf_token": token}
    codes = [browser.post("/account/password", data=wish).status_code for _ in range(11)]
    assert codes == [422] * 10 + [429]
    assert "Too many failed" in browser.post("/account/password", data={**wish, **WISH}).text
    log_in(client, member)  # the owner elsewhere feels nothing of it


def test_a_new_device_is_told_of_and_a_known_one_is_not(client: FlaskClient, member: Actor) -> None:
    log_in(client, member)
    assert told(member.email) == [], "the first sign-in of all surprises nobody"
    log_in(client, member)
    assert told(member.email) == [], "the same program from the same network"
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    log_in(client, member, agent=agent)
    (mail,) = ordered()
    assert (mail.template, mail.variables["browser"], mail.variables["system"]) == ("new_device", "Firefox", "Linux")


def test_a_browser_that_keeps_its_cookie_stays_known_when_it_is_updated(
    app: Flask, member: Actor, client: FlaskClient
) -> None:
    log_in(client, member)
    browser, wish = app.test_client(), {"email": member.email, "password": PASSWORD}
    for version in (1, 2):
        good(browser.post(LOGIN, json=wish, headers={"User-Agent": f"Firefox/{version}"}))
    assert told(member.email) == ["new_device"]
