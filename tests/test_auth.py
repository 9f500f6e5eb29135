"""Signing in and out, for people and for programs."""

import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr
from sqlalchemy import update

from webapp.app import create_app
from webapp.config import use_settings
from webapp.db import db, tally, transaction
from webapp.errors import Invalid, Unauthenticated, Unavailable
from webapp.infra.clock import now
from webapp.models.audit import AuditEntry
from webapp.models.record import any_state
from webapp.models.sessions import Session
from webapp.models.users import Credential, User
from webapp.policies import Actor
from webapp.services import auth, passwords, sessions, users
from webapp.services.sessions import Origin

from .conftest import PASSWORD, csrf_of, make_settings, make_tables

Bearer = Callable[[Actor], dict[str, str]]  # headers of a program of that actor
Browser = Callable[[Actor], FlaskClient]  # a browser in which that actor is signed in
LOGIN = "/api/v1/auth/login"
ME = "/api/v1/users/me"


class CountingHasher(PasswordHasher):
    """As cheap as the suite's, and knows how often it worked."""

    def __init__(self, time_cost: int = 1) -> None:
        super().__init__(time_cost=time_cost, memory_cost=8, parallelism=1)
        self.verified = self.made = 0

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # noqa: A002
        self.verified += 1
        return super().verify(hash, password)

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self.made += 1
        return super().hash(password, salt=salt)


@pytest.fixture
def hasher(monkeypatch: pytest.MonkeyPatch) -> CountingHasher:
    counting = CountingHasher()
    monkeypatch.setattr(passwords, "hasher", counting)
    return counting


def post_sign_in(client: FlaskClient, email: str, password: str = PASSWORD, **fields: str):
    token = csrf_of(client.get("/sign-in").text)
    return client.post("/sign-in", data={"email": email, "password": password, "csrf_token": token, **fields})


def session_cookie(answer) -> str:
    return next(cookie for cookie in answer.headers.getlist("Set-Cookie") if cookie.startswith("session="))


def cookie_of(client: FlaskClient) -> str:
    cookie = client.get_cookie("session")
    assert cookie is not None
    return cookie.value


def events(*names: str) -> list[AuditEntry]:
    return list(db.session.scalars(any_state(AuditEntry).where(AuditEntry.event.in_(names)).order_by(AuditEntry.id)))


def test_a_person_signs_in_and_goes_where_she_wanted(client: FlaskClient, member: Actor) -> None:
    answer = post_sign_in(client, member.email.upper(), next="/trash?sort=size")
    assert (answer.status_code, answer.location) == (302, "/trash?sort=size")
    assert client.get(ME).json["email"] == member.email
    assert [entry.actor_id for entry in events("session.started")] == [member.id]


def test_who_is_signed_in_does_not_see_the_sign_in_page(signed_in: Browser, member: Actor) -> None:
    browser = signed_in(member)
    assert browser.get("/sign-in").location == "/files"
    assert browser.get("/").location == "/files"


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "https://evil.example/", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)",
     "evil.example", "/a\r\nSet-Cookie:x=1", "/\t/evil.example", "///evil.example", "http:evil.example", ""],
)  # fmt: skip
def test_next_never_leads_off_the_site(client: FlaskClient, member: Actor, target: str) -> None:
    answer = post_sign_in(client, member.email, next=target)
    assert (answer.status_code, answer.location) == (302, "/files")


def test_a_wrong_password_keeps_the_form_and_says_what_is_wrong(client: FlaskClient, member: Actor) -> None:
    answer = post_sign_in(client, member.email, "not-the-password")
    assert answer.status_code == 401
    assert "E-mail or password is wrong." in answer.text
    assert member.email in answer.text
    assert "not-the-password" not in answer.text
    assert client.get(ME).status_code == 401


def test_unknown_and_known_addresses_get_the_same_answer_for_the_same_work(
    client: FlaskClient, member: Actor, hasher: CountingHasher
) -> None:
    def attempt(email: str) -> tuple[object, ...]:
        hasher.verified = hasher.made = 0
        answer = client.post(LOGIN, json={"email": email, "password": "a-wrong-password"})
        body = {name: value for name, value in answer.json.items() if name != "request_id"}
        tally.reset()
        with pytest.raises(Unauthenticated):
            auth.sign_in(auth.SignIn(email=email, password=SecretStr("a-wrong-password")), Origin("127.0.0.1"))
        return answer.status_code, body, dict(answer.headers.items()).keys(), hasher.verified, hasher.made, tally.count

    attempt("warming@harbour.example")
    known, unknown = attempt(member.email), attempt("nobody@harbour.example")
    assert known == unknown
    assert known[0] == 401
    assert known[3:5] == (2, 0)


def test_a_stand_in_hash_costs_what_a_real_one_costs() -> None:
    with passwords.turn() as hashing:
        real = hashing.make(SecretStr("whatever it may be"))
    parameters = real.rsplit("$", 2)[0]
    stand_in = passwords.unusable_hash()
    assert stand_in.startswith(parameters)
    assert len(stand_in) == len(real)


def test_a_refused_sign_in_is_in_the_audit_trail(client: FlaskClient, member: Actor) -> None:
    client.post(LOGIN, json={"email": member.email, "password": "a-wrong-password"})
    (entry,) = events("session.refused")
    assert (entry.target_uuid, entry.actor_id) == (member.uuid, None)


def test_without_a_csrf_token_nobody_is_signed_in(client: FlaskClient, member: Actor) -> None:
    answer = client.post("/sign-in", data={"email": member.email, "password": PASSWORD})
    assert answer.status_code in {400, 403}
    assert "Reload" in answer.text
    assert client.get(ME).status_code == 401
    assert events("session.started") == []


def test_the_cookie_ends_with_the_browser_unless_she_asks_to_stay(client: FlaskClient, member: Actor) -> None:
    brief = session_cookie(post_sign_in(client, member.email))
    assert brief.startswith("session=")
    assert "HttpOnly" in brief
    assert "SameSite=Lax" in brief
    assert "Path=/" in brief
    assert "Expires" not in brief
    assert "Secure" not in brief
    lasting = session_cookie(post_sign_in(client.application.test_client(), member.email, keep="1"))
    assert "Expires" in lasting


def test_on_https_the_cookie_has_the_host_prefix_and_is_secure(tmp_path: Path, app: Flask) -> None:
    secure = create_app(make_settings(tmp_path, PUBLIC_URL="https://vault.example.org"))
    try:
        with secure.app_context():
            make_tables()
            users.create_user(None, users.NewUser(email="a@b.example", name="A", password=SecretStr(PASSWORD)))
            client = secure.test_client()
            base = "https://vault.example.org"
            token = csrf_of(client.get("/sign-in", base_url=base).text)
            answer = client.post("/sign-in", base_url=base, headers={"Referer": f"{base}/sign-in"},
                                 data={"email": "a@b.example", "password": PASSWORD, "csrf_token": token})  # fmt: skip
            db.session.remove()
            db.engine.dispose()
    finally:
        use_settings(app.config["HOLDFAST_SETTINGS"])
    assert answer.status_code == 302
    cookies = answer.headers.getlist("Set-Cookie")
    assert sorted(cookie.partition("=")[0] for cookie in cookies) == ["__Host-device", "__Host-session"]
    for cookie in cookies:
        assert {"Secure", "HttpOnly", "Path=/"} <= set(cookie.split("; "))
        assert "Domain" not in cookie


def test_signing_in_changes_secret_and_csrf_token_and_ends_the_session_before(
    client: FlaskClient, member: Actor
) -> None:
    before = csrf_of(client.get("/sign-in").text)
    post_sign_in(client, member.email)
    first, first_csrf = cookie_of(client), csrf_of(client.get("/account").text)
    token = {"csrf_token": first_csrf}
    client.post("/sign-in", data={"email": member.email, "password": PASSWORD, **token})
    second_csrf = csrf_of(client.get("/account").text)
    assert len({before, first_csrf, second_csrf}) == 3
    thief = client.application.test_client()
    thief.set_cookie("session", first)
    assert thief.get(ME).status_code == 401
    assert client.get(ME).status_code == 200


def test_a_session_that_an_attacker_planted_is_not_adopted(app: Flask, member: Actor) -> None:
    victim, attacker = app.test_client(), app.test_client()
    attacker.get("/sign-in")
    victim.set_cookie("session", cookie_of(attacker))
    post_sign_in(victim, member.email)
    assert victim.get(ME).status_code == 200
    assert attacker.get(ME).status_code == 401


def test_a_copied_cookie_is_dead_at_once_after_signing_out(signed_in: Browser, member: Actor) -> None:
    browser = signed_in(member)
    copy = browser.application.test_client()
    copy.set_cookie("session", cookie_of(browser))
    assert copy.get(ME).status_code == 200
    answer = browser.post("/sign-out", data={"csrf_token": csrf_of(browser.get("/account").text)})
    assert (answer.status_code, answer.location) == (302, "/sign-in")
    assert copy.get(ME).status_code == 401
    assert browser.get(ME).status_code == 401
    assert len(events("session.ended")) == 1


def test_signing_out_needs_the_csrf_token(signed_in: Browser, member: Actor) -> None:
    browser = signed_in(member)
    assert browser.post("/sign-out").status_code in {400, 403}
    assert browser.get(ME).status_code == 200


@pytest.mark.parametrize("change", ["ended", "suspended", "deleted"])
def test_what_another_process_ends_is_dead_here_within_a_second(
    client: FlaskClient, member: Actor, bearer: Bearer, signed_in: Browser,
    change: str,
) -> None:  # fmt: skip
    headers, browser = bearer(member), signed_in(member)
    assert client.get(ME, headers=headers).status_code == browser.get(ME).status_code == 200
    statement = {
        "ended": update(Session).values(deleted_at=now()),
        "suspended": update(User).values(suspended_at=now()),
        "deleted": update(User).values(deleted_at=now()),
    }[change]
    with transaction():
        db.session.execute(statement)  # past the services: this process hears nothing of it
    time.sleep(1.05)
    assert client.get(ME, headers=headers).status_code == 401
    assert browser.get(ME).status_code == 401
    if change != "ended":
        assert client.post(LOGIN, json={"email": member.email, "password": PASSWORD}).status_code == 401


def test_a_slow_reader_does_not_bring_back_a_session_that_ended_meanwhile(member: Actor) -> None:
    secret = auth.sign_in(auth.SignIn(email=member.email, password=SecretStr(PASSWORD)), Origin()).secret
    actor = sessions.actor_of_cookie(secret, Origin())
    assert actor
    mark = sessions._identities.mark()
    identity = sessions.identity_of(actor)
    assert identity
    sessions.end_own_session(actor)
    sessions._identities.put(sessions.hash_of(secret), identity, mark)
    assert sessions.actor_of_cookie(secret, Origin()) is None


def test_twenty_sign_ins_of_one_account_at_once_all_succeed(app: Flask, member: Actor) -> None:
    barrier = threading.Barrier(20)

    def sign_in(_: int) -> int:
        barrier.wait()
        return app.test_client().post(LOGIN, json={"email": member.email, "password": PASSWORD}).status_code

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(sign_in, range(20))) == [200] * 20
    assert len(events("session.started")) == 20


def test_a_password_is_the_same_however_the_keyboard_composes_it(app: Flask) -> None:
    password = "Grüße-aus-Ørebro-ﬁnal-Ω-鍵"
    users.create_user(None, users.NewUser(email="u@harbour.example", name="U", password=SecretStr(password)))
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        typed = SecretStr(unicodedata.normalize(form, password))
        assert auth.sign_in(auth.SignIn(email="u@harbour.example", password=typed), Origin()).secret


@pytest.mark.parametrize("password", ["x" * 129, "x" * 900_000, "ﷺ" * 20, "nul\0in-the-middle", ""])
def test_a_password_nobody_can_have_is_refused_before_any_hashing(
    client: FlaskClient, member: Actor, hasher: CountingHasher, password: str
) -> None:
    answer = client.post(LOGIN, json={"email": member.email, "password": password})
    assert answer.status_code == 422
    assert answer.json["errors"][0]["field"] == "password"
    assert password not in answer.text or not password
    assert (hasher.verified, hasher.made) == (0, 0)


@pytest.mark.parametrize(
    "body",
    [{"email": "a\0b@harbour.example", "password": PASSWORD}, {"email": "x" * 300, "password": PASSWORD},
     {"email": "a@b.example"}, {"email": ["a"], "password": PASSWORD}, {"email": None, "password": None}, [], "text", 7,
     {"email": "a@b.example", "password": PASSWORD, "admin": True}],
)  # fmt: skip
def test_sign_in_input_that_makes_no_sense_is_a_422(client: FlaskClient, body: object) -> None:
    assert client.post(LOGIN, json=body).status_code == 422


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaaaaaa", "Passwort1234", "mira-harbour"])
def test_a_weak_new_password_is_refused_with_advice(app: Flask, password: str) -> None:
    wish = users.NewUser(email="mira@harbour.example", name="Mira Harbour", password=SecretStr(password))
    with pytest.raises(Invalid) as refusal:
        users.create_user(None, wish)
    assert refusal.value.errors[0].field == "password"
    assert refusal.value.errors[0].message.strip()


def test_the_hash_is_renewed_at_sign_in_when_its_cost_was_raised(
    member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stored() -> str:
        db.session.expire_all()
        return db.session.scalars(any_state(Credential, Credential.password_hash)).one()

    wish = auth.SignIn(email=member.email, password=SecretStr(PASSWORD))
    before = stored()
    auth.sign_in(wish, Origin())
    assert stored() == before
    monkeypatch.setattr(passwords, "hasher", CountingHasher(time_cost=2))
    auth.sign_in(wish, Origin())
    assert "t=2" in stored()
    assert auth.sign_in(wish, Origin()).secret


def test_production_hashes_with_the_profile_of_rfc_9106() -> None:
    code = "from webapp.services.passwords import hasher as h; print(h.type.name, h.time_cost, h.memory_cost, end=' ');"
    code += "print(h.parallelism)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["ID", "3", "65536", "4"]


def test_who_waits_too_long_for_the_hash_is_asked_to_come_back(client: FlaskClient, member: Actor,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(passwords, "PATIENCE", 0.05)
    with passwords.turn(), passwords.turn():
        with pytest.raises(Unavailable), passwords.turn():
            pass
        answer = client.post(LOGIN, json={"email": member.email, "password": PASSWORD})
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) >= 1
        assert client.get("/sign-in").status_code == 200
    assert client.post(LOGIN, json={"email": member.email, "password": PASSWORD}).status_code == 200


def test_no_secret_of_a_sign_in_is_stored_in_the_clear(client: FlaskClient, member: Actor) -> None:
    secret = auth.sign_in(
        auth.SignIn(email=member.email, password=SecretStr(PASSWORD)), Origin("192.0.2.7", "Firefox/1")
    ).secret
    granted = client.post(LOGIN, json={"email": member.email, "password": PASSWORD}).json
    with db.engine.connect() as connection:
        rows = [
            str([bytes(v) if isinstance(v, memoryview) else v for v in row])
            for table in ("sessions", "refresh_tokens", "credentials", "audit_entries")
            for row in connection.exec_driver_sql(f"select * from {table}")
        ]
    everything = "\n".join(rows)
    for hidden in (secret, granted["refresh_token"], granted["access_token"], PASSWORD, "192.0.2.7", "Firefox/1"):
        assert hidden not in everything
