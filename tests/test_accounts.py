"""Everybody's accounts: lists, changes, suspension, deletion, and what nobody may take from the vault."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import PASSWORD, csrf_of
from tests.letters import ordered, token_of, told
from tests.vault import Vault, good, problem
from webapp.db import db
from webapp.models.audit import AuditEntry
from webapp.models.record import any_state
from webapp.policies import Actor

Bearer = Callable[[Actor], dict[str, str]]
Browser = Callable[[Actor], FlaskClient]
LOGIN, ME = "/api/v1/auth/login", "/api/v1/users/me"


@pytest.fixture
def office(app: Flask, admin: Actor, bearer: Bearer) -> Vault:
    return Vault(app, bearer(admin), admin)


def events(name: str) -> list[Any]:
    return list(db.session.scalars(any_state(AuditEntry).where(AuditEntry.event == name)))


def log_in(client: FlaskClient, actor: Actor, password: str = PASSWORD) -> Any:
    return client.application.test_client().post(LOGIN, json={"email": actor.email, "password": password})


def names(page: Any) -> list[str]:
    return [item["name"] for item in page["items"]]


def test_accounts_are_listed_searched_filtered_and_paged(office: Vault, person: Callable[..., Actor]) -> None:
    for name in ("bo", "cy", "di"):
        person(name)
    boss = person("zoe", role="manager")
    good(office.call("POST", f"/users/{boss.uuid}/suspension"))
    assert names(office.get("/users")) == ["Ana", "Bo", "Cy", "Di", "Zoe"]
    assert [item["name"] for item in office.every("/users", limit=2, sort="-email")] == ["Zoe", "Di", "Cy", "Bo", "Ana"]
    assert office.every("/users", limit=1, sort="created_at")[0]["name"] == "Ana"
    assert names(office.get("/users", query_string={"q": "HARBOUR.example", "role": "manager"})) == ["Zoe"]
    assert names(office.get("/users", query_string={"q": "y@", "state": "active"})) == ["Cy"]
    assert names(office.get("/users", query_string={"q": "%"})) == []
    assert names(office.get("/users", query_string={"state": "suspended"})) == ["Zoe"]
    first = office.get("/users", query_string={"limit": 1})
    problem(office.call("GET", "/users", query_string={"cursor": first["next_cursor"], "sort": "email"}), 422)


def test_an_administrator_makes_an_account_whose_owner_chooses_the_password(office: Vault, client: FlaskClient) -> None:
    wish = {"email": "noor@harbour.example", "name": "Noor", "roles": ["member", "manager"]}
    answer = good(office.call("POST", "/users", json=wish), 201)
    assert office.get(answer.headers["Location"].removeprefix("/api/v1"))["roles"] == ["manager", "member"]
    (mail,) = ordered()
    assert (mail.template, mail.to.email) == ("welcome", "noor@harbour.example")
    reset = {"token": token_of(mail), "password": "Another-Horse-8-Battery"}
    good(client.post("/api/v1/auth/reset-password", json=reset), 204)
    good(client.post(LOGIN, json={"email": "noor@harbour.example", "password": reset["password"]}))
    problem(office.call("POST", "/users", json=wish), 409, "email_taken")
    problem(office.call("POST", "/users", json={**wish, "email": "x@y.de", "password": "short"}), 422)
    problem(office.call("POST", "/users", json={**wish, "email": "x@y.de", "roles": ["captain"]}), 422)
    problem(office.call("POST", "/users", json={**wish, "email": "x@y.de", "roles": []}), 422)


def test_a_change_is_in_force_at_once_audited_and_told(office: Vault, member: Actor, bearer: Bearer) -> None:
    theirs = Vault(office.app, bearer(member), member)
    wish = {"name": "Mira V.", "email": "new@harbour.example", "roles": ["manager"], "byte_limit": 10}
    changed = good(office.change(f"/users/{member.uuid}", 1, **wish)).json
    assert {name: changed[name] for name in wish} == wish
    assert changed["version"] == 2
    assert theirs.get("/users/me")["roles"] == ["manager"]
    assert told(member.email) == ["email_changed"]
    (entry,) = events("user.changed")
    assert (entry.actor_id, entry.changes["roles"]) == (office.actor.id, [["member"], ["manager"]])
    again = good(office.change(f"/users/{member.uuid}", 2, roles=["manager"])).json
    assert again["version"] == 2, "nothing changed"
    assert good(office.change(f"/users/{member.uuid}", 2, byte_limit=11)).json["version"] == 3
    problem(office.change(f"/users/{member.uuid}", email=office.actor.email.upper()), 409, "email_taken")
    problem(office.change(f"/users/{member.uuid}", roles=["captain"]), 422)


@pytest.mark.parametrize("deed", ["suspension", "deletion"])
def test_suspension_and_deletion_end_every_session_at_once_and_can_be_taken_back(
    office: Vault, client: FlaskClient, member: Actor, signed_in: Browser, deed: str
) -> None:
    browser, grant = signed_in(member), log_in(client, member).json
    path = f"/users/{member.uuid}"
    assert browser.get(ME).status_code == 200
    if deed == "suspension":
        assert good(office.call("POST", f"{path}/suspension")).json["state"] == "suspended"
    else:
        good(office.call("DELETE", path), 204)
        assert told(member.email) == ["account_deleted"]
        assert (names(office.get("/users")), office.get(path)["state"]) == (["Ana"], "deleted")
    program = {"Authorization": f"Bearer {grant['access_token']}"}
    assert browser.get(ME).status_code == 401
    assert client.get(ME, headers=program).status_code == 401
    problem(client.post("/api/v1/auth/refresh", json={"refresh_token": grant["refresh_token"]}), 401)
    assert log_in(client, member).status_code == 401
    assert good(office.call("POST", f"{path}/restoration")).json["state"] == "active"
    assert client.get(ME, headers=program).status_code == 401, "what was ended stays ended"
    assert log_in(client, member).status_code == 200
    assert len(events("user.restored")) == 1


def test_a_deleted_account_s_address_is_free_and_then_it_is_not_restored(
    office: Vault, member: Actor, person: Callable[..., Actor]
) -> None:
    good(office.call("DELETE", f"/users/{member.uuid}"), 204)
    person("mira")
    problem(office.call("POST", f"/users/{member.uuid}/restoration"), 409, "email_taken")
    problem(office.call("DELETE", f"/users/{member.uuid}"), 404)
    problem(office.change(f"/users/{member.uuid}", name="X"), 409, "deleted")


def test_the_last_administrator_stays_and_nobody_takes_that_role_from_herself(
    office: Vault, admin: Actor, person: Callable[..., Actor], bearer: Bearer
) -> None:
    mine = f"/users/{admin.uuid}"
    problem(office.change(mine, roles=["member"]), 409, "own_admin_role")
    problem(office.call("POST", f"{mine}/suspension"), 409, "own_account")
    problem(office.call("DELETE", mine), 409, "own_account")
    second = person("zoe", role="admin")
    good(office.change(f"/users/{second.uuid}", roles=["member"]))
    assert office.get(mine)["roles"] == ["admin"]


def test_two_administrators_who_take_the_role_from_each_other_at_once_leave_one(
    office: Vault, admin: Actor, person: Callable[..., Actor], bearer: Bearer
) -> None:
    second = person("zoe", role="admin")
    other = Vault(office.app, bearer(second), second)
    deeds = [(office, second, "roles"), (other, admin, "roles"), (office, second, "delete"), (other, admin, "delete")]

    def take(deed: tuple[Vault, Actor, str]) -> int:
        vault, target, how = deed
        path = f"/users/{target.uuid}"
        call = vault.twin()
        return (call.change(path, roles=["guest"]) if how == "roles" else call.call("DELETE", path)).status_code

    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(take, deeds))
    assert set(codes) <= {200, 204, 401, 403, 404, 409, 503}, codes
    from webapp.db import read_rows
    from webapp.models.mails import live_holders_of

    assert len(read_rows(live_holders_of("admin"))) == 1


def test_who_may_less_changes_nobody_and_invites_no_administrator(
    office: Vault, admin: Actor, member: Actor, person: Callable[..., Actor], bearer: Bearer
) -> None:
    boss = person("zoe", role="manager")
    manager, ordinary = Vault(office.app, bearer(boss), boss), Vault(office.app, bearer(member), member)
    assert names(manager.get("/users")) == ["Ana", "Mira", "Zoe"]
    problem(manager.change(f"/users/{member.uuid}", name="X"), 403)
    problem(manager.call("POST", f"/users/{member.uuid}/suspension"), 403)
    problem(manager.call("POST", "/invitations", json={"email": "a@b.de", "role": "admin"}), 403, "beyond_yours")
    good(manager.call("POST", "/invitations", json={"email": "a@b.de", "role": "manager"}), 201)
    for path in ("/users", f"/users/{admin.uuid}", "/invitations"):
        problem(ordinary.call("GET", path), 403)


def test_sign_ins_of_others_are_seen_and_ended(office: Vault, client: FlaskClient, member: Actor) -> None:
    for _ in range(3):
        log_in(client, member)
    path = f"/users/{member.uuid}/sessions"
    first, *rest = office.get(path)["items"]
    assert len(rest) == 2
    assert not first["current"]
    good(office.call("DELETE", f"{path}/{first['id']}"), 204)
    problem(office.call("DELETE", f"{path}/{first['id']}"), 404)
    problem(office.call("DELETE", f"/users/{office.actor.uuid}/sessions/{rest[0]['id']}"), 404)
    assert len(office.get(path)["items"]) == 2
    good(office.call("DELETE", path), 204)
    assert office.get(path)["items"] == []
    assert {entry.actor_id for entry in events("session.ended")} == {office.actor.id}


def test_an_administrator_has_a_reset_link_sent(office: Vault, client: FlaskClient, member: Actor) -> None:
    good(office.call("POST", f"/users/{member.uuid}/password-resets"), 204)
    reset = {"token": token_of(ordered()[-1]), "password": "Another-Horse-8-Battery"}
    good(client.post("/api/v1/auth/reset-password", json=reset), 204)
    good(office.call("POST", f"/users/{member.uuid}/suspension"))
    problem(office.call("POST", f"/users/{member.uuid}/password-resets"), 409, "no_password")


def test_the_pages_do_the_same(admin: Actor, member: Actor, signed_in: Browser) -> None:
    browser = signed_in(admin)
    assert "Mira" in good(browser.get("/admin/users?q=mira&role=&sort=-created_at")).text
    page = good(browser.get(f"/admin/users/{member.uuid}")).text
    token = {"csrf_token": csrf_of(page)}
    form = {**token, "version": "1", "name": "Mira V.", "email": member.email, "roles": ["guest", "member"],
            "gigabytes": "1.5"}  # fmt: skip
    assert browser.post(f"/admin/users/{member.uuid}", data=form).status_code == 302
    seen = browser.get(f"/api/v1/users/{member.uuid}").json
    assert (seen["name"], seen["roles"], seen["byte_limit"]) == ("Mira V.", ["guest", "member"], 1_500_000_000)
    own = {**form, "name": "Ana", "email": admin.email, "roles": ["member"], "version": "1"}
    refused = browser.post(f"/admin/users/{admin.uuid}", data=own)
    assert (refused.status_code, "You cannot take the administrator" in refused.text) == (409, True)
    for deed, state in (("suspension", "suspended"), ("restoration", "active"), ("removal", "deleted")):
        assert browser.post(f"/admin/users/{member.uuid}/{deed}", data=token).status_code == 302
        assert browser.get(f"/api/v1/users/{member.uuid}").json["state"] == state
    made = browser.post("/admin/users", data={**token, "name": "Bo", "email": "bo@b.de", "roles": "member"})
    assert made.status_code == 302
    assert "Bo" in browser.get(made.location).text
    wrong = browser.post("/admin/users", data={**token, "name": "Bo", "email": "bo@b.de", "roles": "member"})
    assert (wrong.status_code, "already an account" in wrong.text) == (409, True)


def test_strangers_to_the_office_do_not_learn_that_there_is_one(member: Actor, signed_in: Browser) -> None:
    browser = signed_in(member)
    assert [browser.get(path).status_code for path in ("/admin/users", "/admin/invitations")] == [404, 404]


def test_a_command_suspends_an_account(app: Flask, admin: Actor, member: Actor, client: FlaskClient) -> None:
    run = app.test_cli_runner()
    done = run.invoke(args=["users", "suspend", member.email.upper()])
    assert (done.exit_code, member.email in done.output) == (0, True)
    assert log_in(client, member).status_code == 401
    last = run.invoke(args=["users", "suspend", admin.email])
    assert (last.exit_code, "There has to be an administrator" in last.output) == (1, True)
    nobody = run.invoke(args=["users", "suspend", "nobody@harbour.example"])
    assert (nobody.exit_code, "There is no account" in nobody.output) == (1, True)
