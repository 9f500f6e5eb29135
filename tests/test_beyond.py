"""Nobody gives, takes or takes over more than they hold themselves: by token, by role, by invitation, by acting."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import PASSWORD
from tests.factors import set_up_app
from tests.letters import ordered, token_of
from tests.vault import Vault, good, problem
from webapp.policies import PERMISSIONS, SCOPES, Actor
from webapp.services import users
from webapp.services.users import NewUser

Bearer = Callable[[Actor], dict[str, str]]
GUEST = ["account.read", "account.write", "files.read", "jobs.read"]


@pytest.fixture
def office(app: Flask, admin: Actor, bearer: Bearer) -> Vault:
    return Vault(app, bearer(admin), admin)


def with_token(office: Vault, *scopes: str) -> Vault:
    made = good(office.call("POST", "/tokens", json={"name": "Script", "scopes": list(scopes)}), 201).json
    return Vault(office.app, {"Authorization": f"Bearer {made['token']}"}, office.actor)


def holder(office: Vault, bearer: Bearer, name: str, permissions: list[str]) -> Vault:
    """Somebody whose only role, which bears this name, allows these."""
    role = good(office.call("POST", "/roles", json={"name": name, "permissions": permissions}), 201).json
    email = f"{role['slug']}@harbour.example"
    actor = users.create_user(None, NewUser(email=email, name=name, password=PASSWORD), role["slug"])
    return Vault(office.app, bearer(actor), actor)


def somebody(**more: object) -> dict[str, object]:
    return {"email": "evil@harbour.example", "name": "Evil", **more}


def refused_to_touch(program: Vault, administrator: Actor) -> None:
    """What would make an administrator of somebody, or somebody of an administrator."""
    person = f"/users/{administrator.uuid}"
    for method, path, body in (
        ("POST", "/users", somebody(roles=["admin"])),
        ("POST", "/invitations", {"email": "evil@harbour.example", "role": "admin"}),
        ("PATCH", person, {"email": "mine@harbour.example"}),
        ("PATCH", person, {"roles": ["guest"]}),
        ("DELETE", f"{person}/factors", None),
        ("POST", f"{person}/password-resets", None),
        ("POST", f"{person}/suspension", None),
        ("DELETE", person, None),
    ):
        answer = program.call(method, path, **({} if body is None else {"json": body}))
        problem(answer, 403, "beyond_yours")


def test_an_administrators_token_makes_and_takes_over_no_administrator(
    office: Vault, person: Callable[..., Actor]
) -> None:
    refused_to_touch(with_token(office, *sorted(SCOPES)), person("bea", role="admin"))


def test_a_token_makes_accounts_of_no_more_than_its_scopes(office: Vault) -> None:
    narrow = with_token(office, "users.read", "users.write", "invitations.write")
    problem(narrow.call("POST", "/users", json=somebody(roles=["guest"])), 403, "beyond_yours")
    problem(narrow.call("POST", "/invitations", json={"email": "a@harbour.example", "role": "guest"}), 403)
    wide = with_token(office, "users.read", "users.write", *GUEST)
    made = good(wide.call("POST", "/users", json=somebody(roles=["guest"])), 201).json
    good(wide.call("POST", f"/users/{made['id']}/suspension"))
    problem(wide.call("PATCH", f"/users/{made['id']}", json={"roles": ["member"]}), 403, "beyond_yours")


def test_a_role_of_every_permission_is_no_administrator(office: Vault, bearer: Bearer, admin: Actor) -> None:
    refused_to_touch(holder(office, bearer, "Deputy", sorted(PERMISSIONS)), admin)


def test_who_changes_roles_takes_nothing_from_roles_beyond_their_own(office: Vault, bearer: Bearer) -> None:
    keeper = holder(office, bearer, "Keeper", [*GUEST, "account.secure", "roles.read", "roles.write"])
    strict = good(office.call("POST", "/roles", json={"name": "Strict", "permissions": ["users.read"]}), 201).json
    roles = {role["slug"]: role["id"] for role in office.get("/roles")["items"]}
    for role, permissions in (("manager", ["files.read"]), ("member", []), ("strict", [])):
        answer = keeper.call("PATCH", f"/roles/{roles[role]}", json={"permissions": permissions})
        problem(answer, 403, "beyond_yours")
    gone = keeper.call("DELETE", f"/roles/{strict['id']}?successor={roles['keeper']}")
    problem(gone, 403, "beyond_yours")
    good(keeper.call("POST", "/roles", json={"name": "Small", "permissions": ["files.read"]}), 201)


def test_an_invitation_ends_with_the_rights_of_who_gave_it(office: Vault, bearer: Bearer, client: FlaskClient) -> None:
    host = holder(office, bearer, "Host", [*GUEST, "account.secure", "events.read", "invitations.write"])
    good(host.call("POST", "/invitations", json={"email": "late@harbour.example", "role": "guest"}), 201)
    token = token_of([order for order in ordered() if order.template == "invitation"][-1])
    accept = {"token": token, "name": "Late", "password": PASSWORD}
    good(office.call("POST", f"/users/{host.actor.uuid}/suspension"))
    problem(client.post("/api/v1/auth/accept-invitation", json=accept), 410, "link_over")
    good(office.call("POST", f"/users/{host.actor.uuid}/restoration"))
    good(client.post("/api/v1/auth/accept-invitation", json=accept), 204)


def test_a_reset_of_factors_ends_the_sessions_that_a_lost_device_has(office: Vault, vault: Vault) -> None:
    set_up_app(vault)
    good(office.call("DELETE", f"/users/{vault.actor.uuid}/factors"), 204)
    problem(vault.call("GET", "/users/me"), 401)


def test_a_token_of_a_folder_sees_nothing_of_the_trash(vault: Vault) -> None:
    inside = vault.folder("In")
    good(vault.call("DELETE", f"/files/{vault.upload('elsewhere.txt')['id']}"), 204)
    wish = {"name": "t", "scopes": ["files.read"], "folder_id": inside["id"]}
    made = good(vault.call("POST", "/tokens", json=wish), 201).json
    program = Vault(vault.app, {"Authorization": f"Bearer {made['token']}"}, vault.actor)
    problem(program.call("GET", "/files?trashed=true"), 403, "outside_folder")


def test_who_acts_as_somebody_gains_nothing_that_stays(
    office: Vault, vault: Vault, admin: Actor, member: Actor
) -> None:
    folder = vault.folder("Hers")
    grant = good(office.call("POST", f"/users/{member.uuid}/impersonation", json={"reason": "help"})).json
    program = Vault(office.app, {"Authorization": f"Bearer {grant['access_token']}"}, member)
    wish = {"email": admin.email, "level": "manager"}
    problem(program.call("PUT", f"/folders/{folder['id']}/grants", json=wish), 403, "acting")
    good(program.call("POST", "/auth/logout-all"), 204)
    problem(program.call("GET", "/users/me"), 401)
    vault.get("/users/me")
