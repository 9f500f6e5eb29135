"""Second factors of tests: set up by the API, with the codes that an app would show."""

import re
from typing import Any

import pyotp
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conftest import PASSWORD, csrf_of
from tests.vault import Vault, good
from webapp.policies import Actor
from webapp.services import totp

LOGIN, MFA = "/api/v1/auth/login", "/api/v1/auth/mfa"


def app_code(secret: str, steps: int = 0) -> str:
    """What an app shows, so many half minutes from now."""
    return pyotp.TOTP(secret).at(totp.now(), counter_offset=steps)


def set_up_app(program: Vault) -> tuple[str, dict[str, Any]]:
    """An app of the program's person; its secret, and what the confirmation answered. Uses the code before now's."""
    secret = good(program.call("POST", "/factors/totp")).json["secret"]
    made = good(program.call("POST", "/factors/totp/confirmation", json={"code": app_code(secret, -1)}))
    return secret, made.json


def log_in(client: FlaskClient, actor: Actor) -> dict[str, Any]:
    """What the password alone is answered."""
    answer: dict[str, Any] = good(client.post(LOGIN, json={"email": actor.email, "password": PASSWORD})).json
    return answer


def second_step(client: FlaskClient, token: str, method: str = "totp", **proof: str) -> TestResponse:
    """The second step of a program."""
    return client.post(MFA, json={"mfa_token": token, "method": method, **proof})


def sign_in(client: FlaskClient, actor: Actor, **fields: str) -> TestResponse:
    """The form of the sign-in page."""
    token = csrf_of(client.get("/sign-in").text)
    return client.post("/sign-in", data={"email": actor.email, "password": PASSWORD, "csrf_token": token, **fields})


def codes_in(page: str) -> list[str]:
    """Recovery codes that a page shows."""
    return re.findall(r"<li>([0-9a-z]{4}(?:-[0-9a-z]{4})+)</li>", page)
