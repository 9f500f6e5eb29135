"""One's own account, and what an address may be."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr, ValidationError

from webapp.db import db, tally
from webapp.errors import Conflict, HoldfastError
from webapp.models.audit import AuditEntry
from webapp.models.record import any_state, live
from webapp.models.users import Quota, User
from webapp.policies import Actor
from webapp.services import sessions, users
from webapp.services.sessions import Origin
from webapp.services.users import NewUser

from .conftest import PASSWORD, csrf_of

Bearer = Callable[[Actor], dict[str, str]]  # headers of a program of that actor
Browser = Callable[[Actor], FlaskClient]  # a browser in which that actor is signed in
ME = "/api/v1/users/me"


def new(email: str, name: str = "Somebody") -> NewUser:
    return NewUser(email=email, name=name, password=SecretStr(PASSWORD))


def test_my_account_has_no_inner_numbers_and_no_secrets(client: FlaskClient, member: Actor, bearer: Bearer) -> None:
    answer = client.get(ME, headers=bearer(member))
    assert answer.json["id"] == str(member.uuid)
    assert set(answer.json) == {"id", "email", "name", "roles", "locale", "time_zone", "created_at", "version"}
    assert str(member.id) not in answer.text
    assert answer.headers["ETag"] == '"1"'


def test_reading_oneself_again_costs_no_query(client: FlaskClient, member: Actor, bearer: Bearer) -> None:
    headers = bearer(member)
    client.get(ME, headers=headers)
    tally.reset()
    assert client.get(ME, headers=headers).status_code == 200
    assert tally.count == 0


def test_a_known_version_is_not_sent_again(client: FlaskClient, member: Actor, bearer: Bearer) -> None:
    assert client.get(ME, headers={**bearer(member), "If-None-Match": '"1"'}).status_code == 304


def test_a_change_shows_at_once_and_names_what_changed(client: FlaskClient, member: Actor, bearer: Bearer) -> None:
    headers = bearer(member)
    client.get(ME, headers=headers)
    answer = client.patch(
        ME, json={"name": "Mira Ødegård", "time_zone": "Europe/Oslo"}, headers={**headers, "If-Match": '"1"'}
    )
    assert (answer.status_code, answer.json["version"]) == (200, 2)
    shown = client.get(ME, headers=headers).json
    assert (shown["name"], shown["time_zone"], shown["locale"]) == ("Mira Ødegård", "Europe/Oslo", None)
    (entry,) = db.session.scalars(any_state(AuditEntry).where(AuditEntry.event == "user.changed"))
    assert entry.changes == {"name": ["Mira", "Mira Ødegård"], "time_zone": [None, "Europe/Oslo"]}
    assert client.patch(ME, json={"time_zone": None}, headers=headers).json["time_zone"] is None


def test_a_change_that_changes_nothing_leaves_version_and_trail_alone(
    client: FlaskClient, member: Actor, bearer: Bearer
) -> None:
    assert client.patch(ME, json={"name": member.name}, headers=bearer(member)).json["version"] == 1
    assert list(db.session.scalars(any_state(AuditEntry).where(AuditEntry.event == "user.changed"))) == []


def test_a_stale_change_is_refused(client: FlaskClient, member: Actor, bearer: Bearer) -> None:
    headers = bearer(member)
    client.patch(ME, json={"name": "First"}, headers={**headers, "If-Match": '"1"'})
    assert client.patch(ME, json={"name": "Second"}, headers={**headers, "If-Match": '"1"'}).status_code == 412
    assert client.get(ME, headers=headers).json["name"] == "First"


def test_of_twenty_parallel_changes_one_wins_a_version(app: Flask, member: Actor, bearer: Bearer) -> None:
    headers = {**bearer(member), "If-Match": '"1"'}

    def change(number: int) -> int:
        return app.test_client().patch(ME, json={"name": f"Mira {number}"}, headers=headers).status_code

    with ThreadPoolExecutor(20) as pool:
        assert sorted(pool.map(change, range(20))) == [200] + [412] * 19


@pytest.mark.parametrize(
    "body",
    [{"name": ""}, {"name": None}, {"name": "x" * 121}, {"name": "a\0b"}, {"name": "two\nlines"}, {"name": 7},
     {"time_zone": "Mars/Olympus"}, {"time_zone": "localtime"}, {"time_zone": "../../etc/passwd"},
     {"locale": "english"},     {"email": "new@harbour.example"}, {"roles": ["admin"]}, {"version": 7}, [], "text"],
    ids=str,
)  # fmt: skip
def test_a_change_that_makes_no_sense_is_a_422(
    client: FlaskClient, member: Actor, bearer: Bearer, body: object
) -> None:
    headers = bearer(member)
    assert client.patch(ME, json=body, headers=headers).status_code == 422
    assert client.get(ME, headers=headers).json["version"] == 1


def test_nobody_has_no_account(client: FlaskClient) -> None:
    answer = client.get(ME)
    assert answer.status_code == 401
    assert answer.content_type == "application/problem+json"
    assert client.get("/account").location.startswith("/sign-in?next=/account")


def test_the_account_page_saves_what_is_typed(member: Actor, signed_in: Browser) -> None:
    browser = signed_in(member)
    form = {"csrf_token": csrf_of(browser.get("/account").text), "version": "1", "time_zone": "Asia/Tokyo"}
    answer = browser.post("/account", data={**form, "name": "Mira <b>Sato</b>"}, follow_redirects=True)
    assert answer.status_code == 200
    assert "Mira &lt;b&gt;Sato&lt;/b&gt;" in answer.text
    assert browser.get(ME).json["time_zone"] == "Asia/Tokyo"
    browser.post("/account", data={**form, "version": "2", "name": "Mira", "time_zone": ""})
    assert browser.get(ME).json["time_zone"] is None


def test_the_account_page_says_beside_the_field_what_is_wrong(member: Actor, signed_in: Browser) -> None:
    browser = signed_in(member)
    form = {"csrf_token": csrf_of(browser.get("/account").text), "version": "1", "name": "x" * 500}
    answer = browser.post("/account", data=form)
    assert answer.status_code == 422
    assert 'id="error-name"' in answer.text
    assert "x" * 500 in answer.text


def test_a_profile_changed_elsewhere_is_merged_field_by_field(member: Actor, signed_in: Browser) -> None:
    browser, elsewhere = signed_in(member), signed_in(member)
    token = csrf_of(browser.get("/account").text)
    elsewhere.post(
        "/account", data={"csrf_token": csrf_of(elsewhere.get("/account").text), "version": "1", "name": "Theirs"}
    )
    answer = browser.post("/account", data={"csrf_token": token, "version": "1", "name": "Mine", "time_zone": "UTC"})
    assert answer.status_code == 409
    assert "Theirs" in answer.text
    assert "Mine" in answer.text
    assert 'name="version" value="2"' in answer.text
    browser.post("/account", data={"csrf_token": token, "version": "2", "name": "Mine", "time_zone": "UTC"})
    assert browser.get(ME).json["name"] == "Mine"


def test_an_account_has_role_quota_and_audit_entry(app: Flask) -> None:
    actor = users.create_user(None, new("ana@harbour.example"), role="manager")
    assert actor.roles == frozenset({"manager"})
    assert db.session.scalars(any_state(Quota, Quota.user_id)).all() == [actor.id]
    (entry,) = db.session.scalars(any_state(AuditEntry))
    assert (entry.event, entry.target_uuid, entry.changes) == ("user.created", actor.uuid, {"role": [None, "manager"]})


@pytest.mark.parametrize("again", ["ana@harbour.example", "ANA@Harbour.Example", "ａna@harbour.example"])
def test_an_address_is_taken_whatever_its_case(app: Flask, again: str) -> None:
    users.create_user(None, new("Ana@harbour.example"))
    with pytest.raises(Conflict) as refusal:
        users.create_user(None, new(again))
    assert refusal.value.code == "email_taken"


def test_of_two_accounts_of_one_address_made_at_once_one_is_made(app: Flask) -> None:
    def make(_: int) -> bool:
        with app.app_context():
            try:
                users.create_user(None, new("ana@harbour.example"))
            except HoldfastError as error:
                assert isinstance(error, Conflict)
                return False
            return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(make, range(4))) == [False, False, False, True]
    assert len(db.session.scalars(live(User)).all()) == 1


@pytest.mark.parametrize(
    "email", ["ana@vault.local", "root@localhost", "ana+files@b.test", "ünï@exämple.org", "a@x.invalid"]
)
def test_addresses_of_private_networks_are_addresses(app: Flask, email: str) -> None:
    assert users.create_user(None, new(email)).email == email


@pytest.mark.parametrize(
    "email", ["", "ana", "@b.example", "ana@", "a b@c.example", "ana@b..example", "a\0@b.example", "x" * 260,
              "ana@[127.0.0.1]", "Ana <ana@b.example>", "ana@b.example\nBcc: c@d.example", "a@-b.example"],
)  # fmt: skip
def test_what_is_no_address_is_refused(email: str) -> None:
    with pytest.raises(ValidationError):
        new(email)


def test_an_actor_without_a_session_sees_itself_too(member: Actor) -> None:
    assert member.session_id is None
    assert users.show_me(member).roles == ["member"]
    assert sessions.actor_of_cookie("nobody", Origin()) is None
