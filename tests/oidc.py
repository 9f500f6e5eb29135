"""What tests of signing in by a provider share: settings that name it, a browser that goes there and back."""

import re
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import requests
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from tests.conftest import csrf_of
from tests.providers import CLIENT, SECRET
from webapp.config import current_settings, use_settings
from webapp.db import Base, db, transaction
from webapp.infra.idtokens import Claimed
from webapp.infra.providers import forget_providers
from webapp.issuers import Issuer
from webapp.policies import Actor
from webapp.services.identities import link_identity, list_identities

COUNTED = ("users", "identities", "sessions", "user_roles", "credentials")


def offer(url: str, name: str = "work", **extra: Any) -> None:
    """Let the vault of this test know a provider, beside those it knows."""
    wish = {"title": "Harbour ID", "client_id": CLIENT, "client_secret": SecretStr(SECRET), **extra}
    issuer = Issuer(name=name, url=url, **wish)
    settings = current_settings()
    others = tuple(one for one in settings.oidc_issuers if one.name != name)
    use_settings(settings.model_copy(update={"oidc_issuers": (*others, issuer)}))
    forget_providers()


def depart(browser: FlaskClient, query: str = "", name: str = "work") -> str:
    """Press the button: the provider's address."""
    answer = browser.get(f"/auth/oidc/{name}{query}")
    assert answer.status_code == 302, answer.text
    return answer.headers["Location"]


def agree(address: str) -> str:
    """Follow it to the lying provider, which agrees at once: the path and query of the way back."""
    answer = requests.get(address, allow_redirects=False, timeout=10)
    assert answer.status_code == 302
    return path_of(answer.headers["Location"])


def path_of(location: str) -> str:
    parts = urlsplit(location)
    return f"{parts.path}?{parts.query}"


def come(browser: FlaskClient, query: str = "", name: str = "work") -> TestResponse:
    """There and back; the answer to the return."""
    return browser.get(agree(depart(browser, query, name)))


def failed(answer: TestResponse, status: int, words: str) -> None:
    """It is the page that says what went wrong, and nobody is signed in by it."""
    assert answer.status_code == status, answer.text
    assert "That did not work" in answer.text
    assert words in answer.text, re.sub(r"<[^>]+>|\s+", " ", answer.text)
    assert answer.headers["X-Request-ID"] in answer.text


def is_signed_in(browser: FlaskClient) -> str | None:
    """The address of who is signed in."""
    answer = browser.get("/api/v1/users/me")
    return answer.json["email"] if answer.status_code == 200 else None


def counted() -> dict[str, int]:
    """What a refused sign-in must not change."""
    with db.engine.connect() as connection:
        return {name: connection.execute(select(func.count()).select_from(Base.metadata.tables[name])).scalar() or 0
                for name in COUNTED}  # fmt: skip


def refusals() -> list[Any]:
    """Reasons of the refusals in the audit trail."""
    return [changes["reason"][1] for event, changes in audited() if event == "session.refused"]


def audited() -> list[tuple[str, Any]]:
    table = Base.metadata.tables["audit_entries"]
    with db.engine.connect() as connection:
        rows = connection.execute(select(table.c.event, table.c.changes).order_by(table.c.id))
        return [(row.event, row.changes) for row in rows]


def answer_offer(browser: FlaskClient, page: str, **form: str) -> TestResponse:
    """Open the page that asks for consent and post its form."""
    shown = browser.get(page)
    assert shown.status_code == 200, shown.text
    proof = re.search(r'name="proof" value="([^"]+)"', shown.text)
    assert proof
    return browser.post(page.partition("?")[0], data={"proof": proof[1], "csrf_token": csrf_of(shown.text), **form})


def browser_of(app: Flask) -> FlaskClient:
    """One that has been nowhere."""
    return app.test_client()


def link(actor: Actor, url: str = "https://login.harbour.example", subject: str = "u-9") -> UUID:
    """Give the account an identity; its public id."""
    issuer = Issuer(name="work", url=url, client_id=CLIENT)
    with transaction():
        link_identity(actor, issuer, Claimed(subject=subject, email=actor.email, name=actor.name, groups=[]))
    return list_identities(actor).items[-1].id
