"""Groups: who may make them, who may say who is in them, and that a change takes hold at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from tests.conftest import csrf_of
from tests.vault import Vault, good, problem
from webapp.db import db
from webapp.models.audit import AuditEntry
from webapp.models.groups import GroupMember
from webapp.policies import Actor
from webapp.services import sessions


@pytest.fixture
def office(app: Flask, admin: Actor, bearer: Callable[[Actor], dict[str, str]]) -> Vault:
    return Vault(app, bearer(admin), admin)


@pytest.fixture
def pilots(office: Vault) -> str:
    return str(good(office.call("POST", "/groups", json={"name": "Pilots"}), 201).json["id"])


def take_in(office: Vault, group: str, actor: Actor, manager: bool = False) -> Any:
    return good(office.call("PUT", f"/groups/{group}/members/{actor.uuid}", json={"manager": manager})).json


def happened() -> list[str]:
    found = db.session.scalars(
        select(AuditEntry.event).where(AuditEntry.event.startswith("group.")).order_by(AuditEntry.id)
    ).all()
    db.session.rollback()
    return list(found)


def test_a_group_is_made_changed_and_removed_and_each_is_audited(office: Vault) -> None:
    made = good(office.call("POST", "/groups", json={"name": "Pilots", "about": "Bring ships in"}), 201)
    path = f"/groups/{made.json['id']}"
    assert made.headers["Location"] == f"/api/v1{path}"
    assert (made.json["name"], made.json["members"], made.json["manages"]) == ("Pilots", 0, True)
    assert good(office.change(path, 1, name="Pilots of the north")).json["version"] == 2
    problem(office.change(path, 1, name="Late"), 412)
    assert good(office.change(path, 2, name="Pilots of the north")).json["version"] == 2, "nothing changed"
    good(office.call("DELETE", path), 204)
    problem(office.call("GET", path), 404)
    problem(office.call("DELETE", path), 404)
    assert happened() == ["group.created", "group.changed", "group.deleted"]


def test_names_are_unique_whatever_their_case_and_free_again_after_a_removal(office: Vault) -> None:
    first = good(office.call("POST", "/groups", json={"name": "Élan"}), 201).json
    for same in ("élan", "ÉLAN", "E\u0301lan"):
        problem(office.call("POST", "/groups", json={"name": same}), 409, "name_taken")
    other = good(office.call("POST", "/groups", json={"name": "Elan"}), 201).json
    problem(office.change(f"/groups/{other['id']}", name="élan"), 409, "name_taken")
    assert good(office.change(f"/groups/{first['id']}", name="ÉLAN")).json["name"] == "ÉLAN"
    good(office.call("DELETE", f"/groups/{first['id']}"), 204)
    good(office.call("POST", "/groups", json={"name": "élan"}), 201)


@pytest.mark.parametrize("wish", [
    {}, {"name": ""}, {"name": " "}, {"name": "x" * 81}, {"name": "a\nb"}, {"name": "Ok", "about": "x" * 301},
    {"name": "Ok", "members": []}, {"name": None}, {"name": "\u0000"},
])  # fmt: skip
def test_a_group_that_makes_no_sense_is_refused(office: Vault, wish: dict[str, Any]) -> None:
    problem(office.call("POST", "/groups", json=wish), 422)
    assert office.get("/groups")["items"] == []


def test_the_longest_names_of_any_script_fit(office: Vault) -> None:
    for letter in ("ΐ", "\ufb2c", "\U0001d160", "ß", "船"):
        good(office.call("POST", "/groups", json={"name": letter * 80}), 201)


def test_groups_are_listed_by_name_page_by_page_and_found_by_a_part_of_it(office: Vault) -> None:
    names = ["apron", "Basin", "Chandlers", "dredgers", "Émigrés", "100% crew"]
    for name in names:
        good(office.call("POST", "/groups", json={"name": name}), 201)
    assert [g["name"] for g in office.every("/groups", 2)] == ["100% crew", *names[:5]]
    assert [g["name"] for g in office.every("/groups", q="DRE")] == ["dredgers"]
    assert [g["name"] for g in office.every("/groups", q="0%")] == ["100% crew"]
    problem(office.call("GET", "/groups", query_string={"cursor": "x"}), 422)


def test_one_sees_the_groups_one_is_in_and_no_other(
    office: Vault, vault: Vault, other_vault: Vault, pilots: str
) -> None:
    problem(vault.call("GET", f"/groups/{pilots}"), 404)
    problem(vault.call("GET", f"/groups/{pilots}/members"), 404)
    problem(vault.call("GET", f"/groups/{pilots}/members/{vault.actor.uuid}"), 404)
    take_in(office, pilots, vault.actor)
    assert [(g["name"], g["members"], g["manages"]) for g in vault.get("/groups")["items"]] == [("Pilots", 1, False)]
    assert [m["name"] for m in vault.get(f"/groups/{pilots}/members")["items"]] == ["Mira"]
    assert other_vault.get("/groups")["items"] == []
    assert office.get("/groups", query_string={"whose": "mine"})["items"] == []


def test_a_manager_of_a_group_says_who_is_in_it_and_nothing_else(
    office: Vault, vault: Vault, other_vault: Vault, pilots: str, admin: Actor
) -> None:
    theirs, path = f"/groups/{pilots}/members/{other_vault.actor.uuid}", f"/groups/{pilots}"
    take_in(office, pilots, vault.actor)
    problem(vault.call("PUT", theirs, json={"manager": False}), 403)
    problem(vault.call("POST", f"{path}/members", json={"email": admin.email}), 403)
    assert take_in(office, pilots, vault.actor, manager=True)["version"] == 2
    assert vault.get(path)["manages"] is True
    added = good(vault.call("POST", f"{path}/members", json={"email": other_vault.actor.email.upper()}), 201)
    assert added.headers["Location"] == f"/api/v1{theirs}"
    assert vault.get(theirs) == added.json
    problem(other_vault.call("DELETE", f"{path}/members/{vault.actor.uuid}"), 403)
    for refused in (vault.change(path, name="Mine"), vault.call("DELETE", path), vault.call("POST", "/groups", json={
            "name": "Another"})):  # fmt: skip
        problem(refused, 403)
    good(vault.call("DELETE", theirs), 204)
    problem(vault.call("DELETE", theirs), 404)
    problem(other_vault.call("GET", path), 404)
    assert happened() == ["group.created", "group.member_added", "group.member_changed", "group.member_added",
                          "group.member_removed"]  # fmt: skip


def test_who_is_nobody_here_is_not_taken_in(office: Vault, pilots: str, stranger: Actor) -> None:
    problem(office.call("POST", f"/groups/{pilots}/members", json={"email": "ghost@harbour.example"}), 422)
    nobody = "00000000-0000-7000-8000-000000000000"
    problem(office.call("PUT", f"/groups/{pilots}/members/{nobody}", json={}), 404)
    problem(office.call("PUT", f"/groups/{nobody}/members/{stranger.uuid}", json={}), 404)
    good(office.call("DELETE", f"/users/{stranger.uuid}"), 204)
    problem(office.call("PUT", f"/groups/{pilots}/members/{stranger.uuid}", json={}), 404)
    assert office.get(f"/groups/{pilots}/members")["items"] == []


def test_twenty_who_take_in_one_person_at_once_make_one_membership(office: Vault, pilots: str, stranger: Actor) -> None:
    def put(number: int) -> int:
        path = f"/groups/{pilots}/members/{stranger.uuid}"
        return office.twin().call("PUT", path, json={"manager": bool(number % 2)}).status_code

    with ThreadPoolExecutor(20) as pool:
        statuses = set(pool.map(put, range(20)))
    assert statuses <= {200, 503}
    assert 200 in statuses
    rows = db.session.scalars(select(GroupMember)).all()
    assert len(rows) == 1
    db.session.rollback()


def test_the_identity_knows_its_groups_at_once_and_without_a_query_of_its_own(
    office: Vault, vault: Vault, pilots: str
) -> None:
    def groups() -> frozenset[int]:
        known = [identity for _, identity in sessions._identities._values.values()]
        return next(identity.groups for identity in known if identity.uuid == vault.actor.uuid)

    def cost() -> int:
        timing = good(vault.call("GET", "/users/me")).headers["Server-Timing"]
        return int(timing.partition('desc="')[2].partition('"')[0])

    def cold() -> int:
        sessions.forget_identities()
        return cost()

    take_in(office, pilots, vault.actor)
    cost()
    assert len(groups()) == 1
    # Settings are read again once a second, and an identity after one, by whichever request that is
    assert min(cold() for _ in range(4)) == 1
    assert min(cost() for _ in range(4)) == 0
    good(office.call("DELETE", f"/groups/{pilots}"), 204)
    cost()
    assert groups() == frozenset()


def test_the_pages_show_what_one_may_do(
    office: Vault, vault: Vault, pilots: str, admin: Actor, signed_in: Callable[[Actor], FlaskClient], stranger: Actor
) -> None:
    browser, theirs = signed_in(admin), signed_in(vault.actor)
    token = csrf_of(browser.get("/account").text)
    refused = browser.post("/admin/groups", data={"csrf_token": token, "name": "pilots"})
    assert (refused.status_code, 'value="pilots"' in refused.text) == (409, True)
    made = browser.post("/admin/groups", data={"csrf_token": token, "name": "Board", "about": ""})
    assert made.status_code == 302
    page = browser.get(made.location).text
    assert "Nobody is in this group" in page
    added = browser.post(f"/groups/{pilots}/members", data={"csrf_token": token, "email": vault.actor.email,
                                                             "manager": "true"})  # fmt: skip
    assert added.status_code == 302
    assert theirs.get("/admin/groups").status_code == 404
    assert "Pilots" in theirs.get("/groups").text
    page = theirs.get(f"/groups/{pilots}").text
    assert "Add somebody" in page
    assert "Remove group" not in page
    own = csrf_of(page)
    unknown = theirs.post(f"/groups/{pilots}/members", data={"csrf_token": own, "email": "ghost@harbour.example"})
    assert (unknown.status_code, "Nobody here has this e-mail" in unknown.text) == (422, True)
    good(vault.call("PUT", f"/groups/{pilots}/members/{stranger.uuid}", json={}))
    member = f"/groups/{pilots}/members/{stranger.uuid}"
    assert theirs.post(member, data={"csrf_token": own, "manager": "true"}).status_code == 302
    assert vault.get(member)["manager"] is True
    assert theirs.post(member, data={"csrf_token": own}).status_code == 302
    assert vault.get(member)["manager"] is False
    me = f"/groups/{pilots}/members/{vault.actor.uuid}"
    assert theirs.post(f"{me}/removal", data={"csrf_token": own}).location == "/groups"
    assert theirs.get(f"/groups/{pilots}").status_code == 404
