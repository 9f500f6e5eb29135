"""Where one is signed in: the list, ending a session, and noting when it was last used."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr
from sqlalchemy import update

from webapp.config import current_settings, use_settings
from webapp.db import db, tally, transaction
from webapp.infra.clock import now
from webapp.models.record import live
from webapp.models.sessions import Session
from webapp.policies import Actor, permissions_of
from webapp.services import auth, presence, sessions, settings
from webapp.services.sessions import Origin, SessionFilter

from .conftest import PASSWORD, csrf_of

Bearer = Callable[[Actor], dict[str, str]]  # headers of a program of that actor
Browser = Callable[[Actor], FlaskClient]  # a browser in which that actor is signed in
ME, SESSIONS = "/api/v1/users/me", "/api/v1/sessions"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def sign_in(actor: Actor, origin: Origin = Origin("192.0.2.1", FIREFOX)) -> str:  # noqa: B008
    return auth.sign_in(auth.SignIn(email=actor.email, password=SecretStr(PASSWORD)), origin).secret


def age(by: timedelta) -> None:
    """Make every session look as if it was last used that long ago."""
    with transaction():
        db.session.execute(update(Session).values(seen_at=now() - by))
    sessions.forget_identities()
    presence._noted.clear()


def seen() -> list[Session]:
    for writer in presence._writers:
        writer.submit(lambda: None).result()  # the one thread has written what came before
    db.session.rollback()
    return list(db.session.scalars(live(Session)))


def test_the_list_shows_every_sign_in_and_which_one_asks(
    client: FlaskClient, member: Actor, stranger: Actor, bearer: Bearer
) -> None:
    sign_in(member)
    sign_in(stranger)
    answer = client.get(SESSIONS, headers=bearer(member))
    items = answer.json["items"]
    assert [(item["kind"], item["current"]) for item in items] == [("program", True), ("browser", False)]
    assert (items[1]["address"], items[1]["agent"]) == ("192.0.2.1", FIREFOX)
    assert not {"secret", "secret_hash", "user_id"} & set(items[0])


def test_the_list_is_paged_by_key(client: FlaskClient, member: Actor, bearer: Bearer) -> None:
    for _ in range(6):
        sign_in(member)
    headers, found, cursor = bearer(member), [], ""
    for _ in range(4):
        page = client.get(f"{SESSIONS}?limit=2{cursor}", headers=headers).json
        found += [item["id"] for item in page["items"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert page["next_cursor"] is None
    assert len(found) == len(set(found)) == 7


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "cursor=rubbish", "cursor=W10", "sort=agent"])
def test_a_list_query_that_makes_no_sense_is_a_422(
    client: FlaskClient, member: Actor, bearer: Bearer, query: str
) -> None:
    assert client.get(f"{SESSIONS}?{query}", headers=bearer(member)).status_code == 422


def test_ending_a_session_signs_that_browser_out_at_once(
    client: FlaskClient,
    member: Actor,
    bearer: Bearer,
    signed_in: Browser,
) -> None:
    browser, headers = signed_in(member), bearer(member)
    assert browser.get(ME).status_code == 200
    other = next(item for item in client.get(SESSIONS, headers=headers).json["items"] if not item["current"])
    assert client.delete(f"{SESSIONS}/{other['id']}", headers=headers).status_code == 204
    assert browser.get(ME).status_code == 401
    assert client.get(ME, headers=headers).status_code == 200
    assert client.delete(f"{SESSIONS}/{other['id']}", headers=headers).status_code == 404


def test_somebody_else_s_session_is_not_found_and_lives_on(
    client: FlaskClient, member: Actor, stranger: Actor, bearer: Bearer
) -> None:
    theirs, mine = bearer(stranger), bearer(member)
    target = client.get(SESSIONS, headers=theirs).json["items"][0]["id"]
    assert client.delete(f"{SESSIONS}/{target}", headers=mine).status_code == 404
    assert client.delete(f"{SESSIONS}/{uuid4()}", headers=mine).status_code == 404
    assert client.get(ME, headers=theirs).status_code == 200


def test_a_cookie_s_deletion_needs_the_csrf_token(member: Actor, signed_in: Browser) -> None:
    browser = signed_in(member)
    target = browser.get(SESSIONS).json["items"][0]["id"]
    assert browser.delete(f"{SESSIONS}/{target}").status_code in {400, 403}
    token = csrf_of(browser.get("/account").text)
    assert browser.delete(f"{SESSIONS}/{target}", headers={"X-CSRF-Token": token}).status_code == 204
    assert browser.get(ME).status_code == 401


def test_the_page_names_devices_and_ends_one(member: Actor, signed_in: Browser) -> None:
    browser = signed_in(member)
    secret = sign_in(member)
    page = browser.get("/account/sessions").text
    assert "Firefox on Linux" in page
    assert "This device" in page
    other = next(item for item in browser.get(SESSIONS).json["items"] if not item["current"])
    answer = browser.post(
        f"/account/sessions/{other['id']}/end", data={"csrf_token": csrf_of(page)}, follow_redirects=True
    )
    assert answer.status_code == 200
    assert "Firefox on Linux" not in answer.text
    assert sessions.actor_of_cookie(secret, Origin()) is None


def test_a_warm_request_asks_the_database_nothing_and_a_cold_one_once(member: Actor) -> None:
    secret = sign_in(member)
    for expected in (1, 0, 0):
        tally.reset()
        assert sessions.actor_of_cookie(secret, Origin())
        assert tally.count == expected


def test_the_actor_carries_user_roles_and_origin(admin: Actor) -> None:
    actor = sessions.actor_of_cookie(sign_in(admin), Origin("192.0.2.9", "agent/1", "request-7"))
    assert actor is not None
    assert (actor.id, actor.uuid, actor.email, actor.roles) == (admin.id, admin.uuid, admin.email, frozenset({"admin"}))
    assert (actor.address, actor.agent, actor.request_id) == ("192.0.2.9", "agent/1", "request-7")
    assert actor.permissions == permissions_of(frozenset({"admin"}))


@pytest.mark.parametrize("secret", ["", "guess", "é", "\ud800", "x" * 100_000, "nul\0"])
def test_a_made_up_secret_is_nobody(app: Flask, secret: str) -> None:
    assert sessions.actor_of_cookie(secret, Origin()) is None


def test_last_use_is_noted_once_a_minute_and_moves_the_end_on(member: Actor) -> None:
    secret = sign_in(member)
    age(timedelta(minutes=5))
    before = seen()[0]
    version, ends = before.version, before.expires_at
    assert sessions.actor_of_cookie(secret, Origin())
    (noted,) = seen()
    assert now() - noted.seen_at < timedelta(seconds=10)
    assert noted.expires_at >= ends
    assert noted.version == version
    first = noted.seen_at
    sessions.forget_identities()
    assert sessions.actor_of_cookie(secret, Origin())
    assert seen()[0].seen_at == first


def test_a_request_succeeds_though_its_use_cannot_be_noted(member: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = sign_in(member)
    age(timedelta(minutes=5))
    monkeypatch.setattr(
        presence, "session_seen", lambda *_: db.metadata.tables["credentials"].insert().values(user_id=1)
    )
    assert sessions.actor_of_cookie(secret, Origin())
    assert now() - seen()[0].seen_at > timedelta(minutes=4)


def test_a_session_nobody_uses_runs_out(member: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = sign_in(member)
    idle = timedelta(hours=current_settings().session_brief_hours)
    monkeypatch.setattr(sessions, "now", lambda: now() + idle - timedelta(seconds=5))
    assert sessions.actor_of_cookie(secret, Origin())
    monkeypatch.setattr(sessions, "now", lambda: now() + idle + timedelta(seconds=5))
    assert sessions.actor_of_cookie(secret, Origin()) is None


def test_use_never_stretches_a_session_beyond_its_longest_life(member: Actor) -> None:
    secret = sign_in(member)
    life = timedelta(days=current_settings().session_life_days)
    with transaction():
        db.session.execute(update(Session).values(created_at=now() - life + timedelta(minutes=3)))
    age(timedelta(minutes=5))
    assert sessions.actor_of_cookie(secret, Origin())
    assert seen()[0].expires_at - now() <= timedelta(minutes=3)


# Time-outs ------------------------------------------------------------------------------------------------------------

HOURS, DAYS = timedelta(hours=1), timedelta(days=1)


def use(secret: str, after: timedelta) -> bool:
    """Whether the session is there so long from now; where it is, it is used."""
    sessions.forget_identities()
    with time_machine.travel(now() + after, tick=True):
        found = sessions.actor_of_cookie(secret, Origin()) is not None
        if presence._writers:
            presence._writers[0].submit(lambda: None).result()
        presence._noted.clear()
    return found


def start(member: Actor, *, keep: bool) -> str:
    with transaction():
        return sessions.start_browser_session(member, keep=keep)


def choose(**values: int) -> None:
    use_settings(current_settings().model_copy(update=values))
    settings.forget_values()


@pytest.fixture(autouse=True)
def usual_times(app: Flask) -> Iterator[None]:
    before = current_settings()
    yield
    use_settings(before)
    settings.forget_values()


@pytest.mark.parametrize(("keep", "hours"), [(True, 336), (False, 24)])
def test_a_browser_that_is_not_remembered_is_signed_out_sooner(member: Actor, keep: bool, hours: int) -> None:
    secret = start(member, keep=keep)
    assert use(secret, hours * HOURS - timedelta(minutes=2)), "each use begins the time anew"
    assert use(secret, 2 * hours * HOURS - timedelta(minutes=9))
    assert not use(secret, 3 * hours * HOURS)


def test_a_session_in_daily_use_ends_with_its_longest_life(member: Actor) -> None:
    secret = start(member, keep=True)
    assert [use(secret, day * DAYS) for day in (*range(10, 90, 10), 89.9, 90.1)] == [True] * 9 + [False]


def test_a_shorter_time_counts_at_once_and_a_longer_one_from_the_next_use(member: Actor) -> None:
    kept, brief = start(member, keep=True), start(member, keep=False)
    choose(session_idle_hours=2)
    assert not use(kept, 3 * HOURS)
    assert not use(brief, 3 * HOURS), "one that is not remembered never lives longer than one that is"
    with time_machine.travel(now() + 3 * HOURS, tick=True):
        assert sessions.list_sessions(member, SessionFilter()).items == []
    choose(session_idle_hours=1000, session_life_days=1)
    assert not use(kept, 25 * HOURS)
    choose(session_idle_hours=336, session_life_days=90)
    assert use(kept, 25 * HOURS)


def test_refresh_tokens_obey_the_same_times(
    client: FlaskClient, member: Actor, bearer: Callable[[Actor], dict[str, str]]
) -> None:
    said = {"email": member.email, "password": PASSWORD}
    token = client.post("/api/v1/auth/login", json=said).json["refresh_token"]  # type: ignore[index]

    def renew(after: timedelta, token: str) -> Any:
        with time_machine.travel(now() + after, tick=True):
            return client.post("/api/v1/auth/refresh", json={"refresh_token": token})

    first = renew(5 * DAYS, token)
    assert first.status_code == 200
    choose(session_idle_hours=24)
    assert renew(7 * DAYS, first.json["refresh_token"]).status_code == 401
    choose(session_idle_hours=336, session_life_days=6)
    assert renew(7 * DAYS, first.json["refresh_token"]).status_code == 401
    choose(session_idle_hours=336, session_life_days=90)
    assert renew(7 * DAYS, first.json["refresh_token"]).status_code == 200


def test_the_box_of_the_sign_in_page_decides(app: Flask, member: Actor) -> None:
    for box, hours in (({"keep": "true"}, 336), ({}, 24)):
        browser = app.test_client()
        form = {"email": member.email, "password": PASSWORD, "csrf_token": csrf_of(browser.get("/sign-in").text), **box}
        assert browser.post("/sign-in", data=form).status_code == 302
        newest = browser.get("/api/v1/sessions").json["items"][0]  # type: ignore[index]
        ends = datetime.fromisoformat(newest["expires_at"]) - datetime.fromisoformat(newest["created_at"])
        assert round(ends / HOURS) == hours


def test_a_person_signs_out_everywhere_from_the_list(member: Actor, signed_in: Browser) -> None:
    here, there = signed_in(member), signed_in(member)
    page = here.get("/account/sessions").text
    assert "Sign out everywhere" in page
    answer = here.post("/account/sessions/end", data={"csrf_token": csrf_of(page)})
    assert answer.headers["Location"] == "/sign-in"
    assert [browser.get(ME).status_code for browser in (here, there)] == [401, 401]
