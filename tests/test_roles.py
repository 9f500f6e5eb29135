"""Roles: what they allow takes hold at once, nobody gives what they lack, the vault keeps an administrator."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import create_engine, delete, insert, select, text, update

from tests.conftest import PASSWORD, csrf_of, make_settings, migrate
from tests.letters import ordered, token_of
from tests.vault import Vault, good, problem
from webapp.app import create_app
from webapp.db import db, tally, transaction
from webapp.errors import Conflict, Invalid, Refused
from webapp.models.audit import AuditEntry
from webapp.models.users import User, UserRole
from webapp.policies import ADMIN, BUILT_IN, PERMISSIONS, Actor, default_permissions
from webapp.services import roles, sessions


@pytest.fixture
def office(app: Flask, admin: Actor, bearer: Callable[[Actor], dict[str, str]]) -> Vault:
    return Vault(app, bearer(admin), admin)


def named(office: Vault, slug: str) -> Any:
    return next(role for role in office.get("/roles")["items"] if role["slug"] == slug)


def give(user: Actor, *slugs: str) -> None:
    """The account's roles, as if an administrator had set them."""
    with transaction():
        db.session.execute(delete(UserRole).where(UserRole.user_id == user.id))
        db.session.execute(insert(UserRole), [{"user_id": user.id, "role": slug} for slug in slugs])
    sessions.forget_identities()


def entries(event: str) -> list[Any]:
    found = db.session.scalars(select(AuditEntry).where(AuditEntry.event == event).order_by(AuditEntry.id)).all()
    db.session.rollback()
    return list(found)


def test_the_migrations_plant_what_policies_say(tmp_path: Any) -> None:
    application = create_app(make_settings(tmp_path))
    with application.app_context():
        migrate(application)
    with create_engine(f"sqlite:///{tmp_path / 'holdfast.db'}").connect() as connection:
        planted = {slug: set() for slug in BUILT_IN}  # type: dict[str, set[str]]
        for role, permission in connection.execute(text("SELECT role, permission FROM role_permissions")):
            planted[role].add(permission)
        found = connection.execute(text("SELECT slug, name, about FROM roles WHERE built_in")).all()
    assert {slug: (name, about) for slug, name, about in found} == BUILT_IN
    assert planted == {slug: set() if slug == ADMIN else default_permissions(slug) for slug in BUILT_IN}


def test_built_in_roles_are_listed_first_with_what_they_allow(office: Vault) -> None:
    items = office.get("/roles")["items"]
    assert [role["slug"] for role in items] == ["admin", "manager", "member", "guest"]
    assert set(items[0]["permissions"]) == set(PERMISSIONS)
    assert set(items[2]["permissions"]) == default_permissions("member")
    assert [role["holders"] for role in items] == [1, 0, 0, 0]


def test_an_own_role_is_made_changed_and_removed_and_each_is_audited(office: Vault) -> None:
    wish = {"name": "Überwachung", "about": "Looks after jobs", "permissions": ["queues.read", "jobs.read"]}
    made = good(office.call("POST", "/roles", json=wish), 201)
    assert made.headers["Location"] == f"/api/v1/roles/{made.json['id']}"
    assert (made.json["slug"], made.json["permissions"], made.json["built_in"]) == (
        "uberwachung", ["jobs.read", "queues.read"], False)  # fmt: skip
    path = f"/roles/{made.json['id']}"
    changed = good(office.change(path, 1, name="Watch", permissions=["queues.read"])).json
    assert (changed["name"], changed["slug"], changed["permissions"], changed["version"]) == (
        "Watch", "uberwachung", ["queues.read"], 2)  # fmt: skip
    problem(office.change(path, 1, name="Late"), 412)
    assert good(office.change(path, permissions=[])).json["version"] == 3
    good(office.call("DELETE", path), 204)
    problem(office.call("GET", path), 404)
    assert [len(entries(f"role.{what}")) for what in ("created", "changed", "deleted")] == [1, 2, 1]
    assert entries("role.changed")[0].changes["permissions"] == [["jobs.read", "queues.read"], ["queues.read"]]
    assert good(office.call("POST", "/roles", json=wish), 201).json["slug"] == "uberwachung"


@pytest.mark.parametrize("wish", [
    {"name": ""}, {"name": "x" * 81}, {"name": "a\nb"}, {"name": "Ok", "permissions": ["files.fly"]},
    {"name": "Ok", "about": "x" * 301}, {"name": "Ok", "permissions": "files.read"}, {"name": "Ok", "slug": "admin"},
    {"name": "Ok", "colour": "red"},
])  # fmt: skip
def test_a_role_that_makes_no_sense_is_refused(office: Vault, wish: dict[str, Any]) -> None:
    problem(office.call("POST", "/roles", json=wish), 422)
    assert len(office.get("/roles")["items"]) == 4


def test_names_are_unique_and_any_script_makes_a_slug(office: Vault) -> None:
    problem(office.call("POST", "/roles", json={"name": "mEmber"}), 409, "name_taken")
    assert good(office.call("POST", "/roles", json={"name": "会計"}), 201).json["slug"] == "role"
    assert good(office.call("POST", "/roles", json={"name": "監査"}), 201).json["slug"] == "role-2"


def test_built_in_roles_keep_their_names_and_stay_and_the_administrator_keeps_everything(office: Vault) -> None:
    member, admin = (f"/roles/{named(office, slug)['id']}" for slug in ("member", "admin"))
    problem(office.change(member, name="Crew"), 409, "built_in")
    problem(office.call("DELETE", member), 409, "built_in")
    problem(office.change(admin, permissions=["files.read"]), 409, "built_in")


def test_what_a_role_allows_takes_hold_at_once(office: Vault, vault: Vault) -> None:
    path = f"/roles/{named(office, 'member')['id']}"
    problem(vault.call("GET", "/roles"), 403)
    held = sorted({*default_permissions("member"), "roles.read"} - {"files.write"})
    good(office.change(path, permissions=held))
    good(vault.call("GET", "/roles"))
    problem(vault.try_upload("note.txt", b"hello"), 403)
    good(office.change(path, permissions=[]))
    problem(vault.call("GET", "/files"), 403)


def test_a_role_beyond_ones_own_is_neither_made_nor_widened_nor_given(
    app: Flask, office: Vault, vault: Vault, member: Actor
) -> None:
    wish = {"name": "Clerk", "permissions": [*default_permissions("member"), "roles.read", "roles.write"]}
    clerk = good(office.call("POST", "/roles", json=wish), 201).json
    give(member, "clerk")
    problem(vault.call("POST", "/roles", json={"name": "Big", "permissions": ["queues.write"]}), 403, "beyond_yours")
    path = f"/roles/{clerk['id']}"
    problem(vault.change(path, permissions=[*clerk["permissions"], "settings.write"]), 403, "beyond_yours")
    good(vault.change(path, permissions=[*clerk["permissions"]], about="The same"))
    held = good(vault.call("POST", "/roles", json={"name": "Held", "permissions": ["files.read"]}), 201).json
    give(member, "clerk", "held")
    admin = named(office, "admin")["id"]
    answer = vault.call("DELETE", f"/roles/{held['id']}", query_string={"successor": admin})
    problem(answer, 403, "beyond_yours")
    actor = replace(member, permissions=frozenset(clerk["permissions"]), roles=frozenset({"clerk"}))
    assert {role.slug for role in roles.assignable_roles(actor)} == {"member", "guest", "clerk", "held"}


def test_a_role_that_is_held_goes_only_with_a_successor(office: Vault, vault: Vault, member: Actor) -> None:
    held = good(office.call("POST", "/roles", json={"name": "Held", "permissions": ["files.read"]}), 201).json
    give(member, "held", "guest")
    path = f"/roles/{held['id']}"
    problem(office.call("DELETE", path), 409, "held")
    for unknown in (held["id"], str(UUID(int=7))):
        problem(office.call("DELETE", path, query_string={"successor": unknown}), 422)
    good(office.call("DELETE", path, query_string={"successor": named(office, "guest")["id"]}), 204)
    assert vault.get("/users/me")["roles"] == ["guest"]
    assert entries("role.deleted")[0].changes["successor"] == [None, "guest"]


def test_who_is_invited_with_a_role_that_goes_gets_the_successor(office: Vault, client: FlaskClient) -> None:
    held = good(office.call("POST", "/roles", json={"name": "Held", "permissions": ["files.read"]}), 201).json
    good(office.call("POST", "/invitations", json={"email": "bo@harbour.example", "role": "held"}), 201)
    token = token_of(ordered()[-1])
    path = f"/roles/{held['id']}"
    problem(office.call("DELETE", path), 409, "held")
    good(office.call("DELETE", path, query_string={"successor": named(office, "guest")["id"]}), 204)
    form = {"csrf_token": csrf_of(client.get(f"/invitations/{token}").text), "token": token, "name": "Bo"}
    assert client.post(f"/invitations/{token}", data={**form, "password": PASSWORD}).status_code == 302
    bo = next(user for user in office.get("/users")["items"] if user["name"] == "Bo")
    assert bo["roles"] == ["guest"]


def test_changes_of_an_accounts_roles_are_judged(app: Flask, admin: Actor, member: Actor, person: Any) -> None:
    with transaction():
        with pytest.raises(Conflict) as own:
            roles.check_role_change(admin, admin.id, {"admin"}, {"member"})
        with pytest.raises(Refused):
            roles.check_role_change(member, admin.id, {"admin"}, {"admin", "member", "unheard"} - {"unheard", "admin"})
        with pytest.raises(Refused):
            roles.check_role_change(member, member.id, {"member"}, {"member", "admin"})
        with pytest.raises(Invalid):
            roles.check_role_change(admin, member.id, {"member"}, {"unheard"})
        roles.check_role_change(admin, member.id, {"member"}, {"member", "admin"})
    assert own.value.code == "own_admin_role"
    second = person("second", role="admin")
    with transaction():
        roles.check_role_change(admin, second.id, {"admin"}, {"member"})
        db.session.execute(update(User).where(User.id == admin.id).values(suspended_at=User.created_at))
        with pytest.raises(Conflict) as last:
            roles.check_role_change(admin, second.id, {"admin"}, {"member"})
        with pytest.raises(Conflict):
            roles.refuse_last_admin(second.id)
    assert last.value.code == "last_admin"


def test_a_signed_in_request_costs_one_query_when_cold_and_none_when_warm(vault: Vault) -> None:
    def cost(*, cold: bool) -> int:
        if cold:
            sessions.forget_identities()
        tally.reset()
        vault.get("/users/me")
        return tally.count

    # The settings are read again once a second, by whichever request that is
    assert min(cost(cold=True) for _ in range(3)) == 1
    assert min(cost(cold=False) for _ in range(3)) == 0


def test_pages_make_change_and_remove_roles(
    office: Vault, admin: Actor, member: Actor, signed_in: Callable[[Actor], FlaskClient]
) -> None:
    browser = signed_in(admin)
    page = browser.get("/admin/roles/new").text

    def send(path: str, **form: Any) -> Any:
        return browser.post(path, data={"csrf_token": csrf_of(page), **form})

    assert send("/admin/roles", name="", permissions=["files.read"]).status_code == 422
    taken = send("/admin/roles", name="Member", permissions=["files.read"])
    assert taken.status_code == 409
    assert 'value="files.read" checked' in " ".join(taken.text.split())
    assert send("/admin/roles", name="Auditors", permissions=["files.read", "queues.read"]).status_code == 302
    made = named(office, "auditors")
    here = f"/admin/roles/{made['id']}"
    assert "Auditors" in browser.get("/admin/roles").text
    assert send(here, name="Auditors", permissions=["files.read"], version="1").status_code == 302
    assert named(office, "auditors")["permissions"] == ["files.read"]
    give(member, "auditors")
    assert send(f"{here}/removal", version="2").status_code == 409
    gone = send(f"{here}/removal", version="2", successor=named(office, "member")["id"])
    assert gone.status_code == 302
    assert "Auditors" not in browser.get("/admin/roles").text.partition("</table>")[0]
    assert signed_in(member).get("/admin/roles").status_code == 404
