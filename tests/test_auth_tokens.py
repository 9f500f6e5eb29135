"""Tokens of programs: what is accepted as one, how they are renewed, how a stolen one is found out."""

import base64
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from joserfc import jwt
from joserfc.jwk import OctKey
from pydantic import SecretStr

from webapp.config import current_settings, use_settings
from webapp.db import db
from webapp.infra import clock
from webapp.models.audit import AuditEntry
from webapp.models.record import any_state
from webapp.models.sessions import RefreshToken
from webapp.policies import Actor
from webapp.services import access_tokens as tokens
from webapp.services import refreshes

from .conftest import PASSWORD

Bearer = Callable[[Actor], dict[str, str]]  # headers of a program of that actor
Browser = Callable[[Actor], FlaskClient]  # a browser in which that actor is signed in
LOGIN, REFRESH, ME = "/api/v1/auth/login", "/api/v1/auth/refresh", "/api/v1/users/me"
NOBODY = str(UUID(int=7))


@pytest.fixture
def granted(client: FlaskClient, member: Actor) -> dict[str, Any]:
    answer = client.post(LOGIN, json={"email": member.email, "password": PASSWORD})
    assert answer.status_code == 200
    return dict(answer.json)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Moves the clock of the refreshing on."""

    def move(wait: timedelta) -> None:
        monkeypatch.setattr(refreshes, "now", lambda: clock.now() + wait)

    return move


def status(client: FlaskClient, token: str) -> int:
    return client.get(ME, headers={"Authorization": f"Bearer {token}"}).status_code


def renew(client: FlaskClient, token: str, agent: str = "curl/8") -> Any:
    return client.post(REFRESH, json={"refresh_token": token}, headers={"User-Agent": agent})


def claims_of(token: str) -> dict[str, Any]:
    return dict(json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "==")))


def forged(claims: dict[str, Any], key: str | None = None, algorithm: str = "HS256", **header: Any) -> str:
    secret = key or current_settings().jwt_keys[0].get_secret_value()
    kid = tokens._key_id(current_settings().jwt_keys[0].get_secret_value())
    return jwt.encode(
        {"alg": algorithm, "kid": kid, **header}, claims, OctKey.import_key(secret), algorithms=[algorithm]
    )


def test_a_program_gets_a_pair_of_tokens_and_its_account(
    client: FlaskClient, granted: dict[str, Any], member: Actor
) -> None:
    assert set(granted) == {"access_token", "token_type", "expires_in", "refresh_token", "user"}
    assert (granted["token_type"], granted["expires_in"]) == ("Bearer", 900)
    assert granted["user"]["id"] == str(member.uuid)
    assert status(client, granted["access_token"]) == 200
    claims = claims_of(granted["access_token"])
    assert {"iss", "aud", "exp", "nbf", "iat", "sub", "sid", "typ"} <= set(claims)
    assert "password" not in json.dumps(granted)


def test_an_unchanged_forgery_would_pass_so_the_attacks_below_fail_for_their_own_reason(
    client: FlaskClient, granted: dict[str, Any]
) -> None:
    assert status(client, forged(claims_of(granted["access_token"]))) == 200


@pytest.mark.parametrize(
    "change",
    [{"exp": int(time.time()) - 60}, {"exp": None}, {"exp": "soon"}, {"nbf": int(time.time()) + 600},
     {"typ": "refresh"}, {"typ": None}, {"iss": "https://evil.example"}, {"iss": None},
     {"aud": "another-service"}, {"aud": None},
     {"sid": NOBODY}, {"sid": None}, {"sid": 7}, {"sid": "1' or '1'='1"}, {"sub": NOBODY}, {"sub": None}],
    ids=lambda change: next(iter(change)),  # not the values: processes have to agree on the names of tests
)  # fmt: skip
def test_a_token_with_a_wrong_claim_is_refused(
    client: FlaskClient, granted: dict[str, Any], change: dict[str, Any]
) -> None:
    claims = {
        name: value for name, value in {**claims_of(granted["access_token"]), **change}.items() if value is not None
    }
    assert status(client, forged(claims)) == 401


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_only_the_one_named_algorithm_is_accepted(client: FlaskClient, granted: dict[str, Any], algorithm: str) -> None:
    assert status(client, forged(claims_of(granted["access_token"]), algorithm=algorithm)) == 401


def test_a_token_without_a_signature_is_refused(client: FlaskClient, granted: dict[str, Any]) -> None:
    header, body, signature = granted["access_token"].split(".")
    for none in ("none", "None", "NONE"):
        plain = base64.urlsafe_b64encode(json.dumps({"alg": none, "typ": "JWT"}).encode()).decode().rstrip("=")
        assert status(client, f"{plain}.{body}.") == 401
        assert status(client, f"{plain}.{body}.{signature}") == 401
    assert status(client, f"{header}.{body}.") == 401


def test_a_token_of_another_key_is_refused(client: FlaskClient, granted: dict[str, Any]) -> None:
    claims, other = claims_of(granted["access_token"]), "another key that is long enough for HS256"
    assert status(client, forged(claims, other)) == 401
    assert status(client, forged(claims, other, kid="unknown")) == 401
    carried = {"kty": "oct", "k": base64.urlsafe_b64encode(other.encode()).decode().rstrip("=")}
    assert status(client, forged(claims, other, jwk=carried)) == 401


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        "...",
        "é.é.é",
        "eyJhbGciOiJIUzI1NiJ9..",
        "A" * 5000,
        "hf_not-yet",
        "null",
        "\x7f",
        "W10.W10.W10",
        "bnVsbA.bnVsbA.x",
    ],
)
def test_rubbish_instead_of_a_token_is_a_401(client: FlaskClient, app: Flask, token: str) -> None:
    answer = client.get(ME, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_an_expired_token_says_so_even_when_it_was_verified_before(
    client: FlaskClient, granted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert status(client, granted["access_token"]) == 200
    real = time.time
    monkeypatch.setattr(tokens.time, "time", lambda: real() + 15 * 60 + tokens.LEEWAY + 1)
    answer = client.get(ME, headers={"Authorization": f"Bearer {granted['access_token']}"})
    assert (answer.status_code, answer.json["code"]) == (401, "token_expired")


def test_a_new_signing_key_leaves_older_tokens_valid_until_the_old_key_is_gone(
    client: FlaskClient, granted: dict[str, Any]
) -> None:
    before = current_settings()
    new, old = SecretStr("n" * 20 + "ew signing key of the vault"), before.jwt_keys[0]
    try:
        use_settings(before.model_copy(update={"jwt_keys": (new, old)}))
        tokens._verified.clear()
        assert status(client, granted["access_token"]) == 200
        fresh = renew(client, granted["refresh_token"]).json["access_token"]
        use_settings(before.model_copy(update={"jwt_keys": (new,)}))
        tokens._verified.clear()
        assert status(client, fresh) == 200
        assert status(client, granted["access_token"]) == 401
    finally:
        use_settings(before)
        tokens._verified.clear()


def test_a_token_is_no_cookie_and_a_cookie_no_token(
    app: Flask, granted: dict[str, Any], member: Actor, signed_in: Browser
) -> None:
    browser = signed_in(member)
    with browser.session_transaction() as carried:
        secret = carried["sid"]
    assert status(app.test_client(), secret) == 401
    with app.test_client() as other:
        with other.session_transaction() as carried:
            carried["sid"] = claims_of(granted["access_token"])["sid"]
        assert other.get(ME).status_code == 401


def test_refreshing_gives_a_new_pair_and_uses_the_old_token_up(client: FlaskClient, granted: dict[str, Any]) -> None:
    fresh = renew(client, granted["refresh_token"])
    assert fresh.status_code == 200
    assert set(fresh.json) == set(granted)
    assert fresh.json["refresh_token"] != granted["refresh_token"]
    assert status(client, fresh.json["access_token"]) == 200
    used = [token.used_at is not None for token in db.session.scalars(any_state(RefreshToken))]
    assert sorted(used) == [False, True]


def test_twenty_refreshes_at_once_do_not_sign_the_user_out(app: Flask, granted: dict[str, Any]) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: renew(app.test_client(), granted["refresh_token"]), range(20)))
    assert [answer.status_code for answer in answers] == [200] * 20
    pairs = {answer.json["refresh_token"] for answer in answers}
    assert len(pairs) == 20
    assert status(app.test_client(), granted["access_token"]) == 200
    assert renew(app.test_client(), pairs.pop()).status_code == 200


def test_a_token_replayed_after_the_grace_ends_the_whole_family(
    client: FlaskClient, granted: dict[str, Any], later: Callable[[timedelta], None]
) -> None:
    stolen = granted["refresh_token"]
    fresh = renew(client, stolen).json
    later(timedelta(seconds=11))
    replay = renew(client, stolen)
    assert (replay.status_code, replay.json["code"]) == (401, "refresh_token_invalid")
    assert status(client, fresh["access_token"]) == 401
    assert status(client, granted["access_token"]) == 401
    assert renew(client, fresh["refresh_token"]).status_code == 401
    (entry,) = db.session.scalars(any_state(AuditEntry).where(AuditEntry.event == "session.ended"))
    assert "twice" in entry.changes["reason"][1]


def test_a_token_replayed_by_another_client_ends_the_family_within_the_grace_too(
    client: FlaskClient, granted: dict[str, Any]
) -> None:
    fresh = renew(client, granted["refresh_token"]).json
    assert renew(client, granted["refresh_token"], agent="thief/1").status_code == 401
    assert status(client, fresh["access_token"]) == 401


def test_one_family_s_end_leaves_the_user_s_other_sessions(
    client: FlaskClient, granted: dict[str, Any], member: Actor, later: Callable[[timedelta], None]
) -> None:
    other = client.post(LOGIN, json={"email": member.email, "password": PASSWORD}).json
    renew(client, granted["refresh_token"])
    later(timedelta(seconds=11))
    assert renew(client, granted["refresh_token"]).status_code == 401
    assert status(client, other["access_token"]) == 200


def test_a_refresh_token_runs_out(
    client: FlaskClient, granted: dict[str, Any], later: Callable[[timedelta], None]
) -> None:
    later(timedelta(hours=current_settings().session_idle_hours) + timedelta(seconds=1))
    assert renew(client, granted["refresh_token"]).status_code == 401


@pytest.mark.parametrize(
    ("body", "expected"),
    [({"refresh_token": "not-one-of-ours"}, 401), ({"refresh_token": ""}, 422), ({"refresh_token": "x" * 1000}, 422),
     ({"refresh_token": "nul\0"}, 422), ({"refresh_token": None}, 422), ({}, 422), ([], 422)],
)  # fmt: skip
def test_rubbish_instead_of_a_refresh_token(client: FlaskClient, body: object, expected: int) -> None:
    assert client.post(REFRESH, json=body).status_code == expected


def test_signing_out_ends_access_and_refresh_token_at_once(client: FlaskClient, granted: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {granted['access_token']}"}
    assert client.get(ME, headers=headers).status_code == 200
    assert client.post("/api/v1/auth/logout", headers=headers).status_code == 204
    assert client.get(ME, headers=headers).status_code == 401
    assert renew(client, granted["refresh_token"]).status_code == 401
    assert client.post("/api/v1/auth/logout", headers=headers).status_code == 401


def test_signing_out_everywhere_ends_every_browser_and_program(
    client: FlaskClient, granted: dict[str, Any], member: Actor, stranger: Actor, bearer: Bearer,
    signed_in: Browser,
) -> None:  # fmt: skip
    browser, other = signed_in(member), bearer(stranger)
    headers = {"Authorization": f"Bearer {granted['access_token']}"}
    assert client.post("/api/v1/auth/logout-all", headers=headers).status_code == 204
    assert client.get(ME, headers=headers).status_code == browser.get(ME).status_code == 401
    assert client.get(ME, headers=other).status_code == 200
