"""Personal tokens: shown once, hashed, limited in what, where and how long, dead when they should be."""

import logging
import re
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import structlog
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from tests.conftest import PASSWORD, csrf_of
from tests.letters import ordered, token_of, told
from tests.vault import Vault, empty_store, good, problem, raw
from webapp.config import current_settings
from webapp.db import db
from webapp.errors import Refused
from webapp.infra.clock import now
from webapp.infra.logs import configure_logging
from webapp.policies import NO_SCOPES, SCOPES, Actor
from webapp.services import presence, tokens
from webapp.services.sessions import Origin, forget_identities
from webapp.services.tokens import new_secret, well_formed, within

Bearer = Callable[[Actor], dict[str, str]]
Browser = Callable[[Actor], FlaskClient]


def made(vault: Vault, **wish: Any) -> Any:
    return good(vault.call("POST", "/tokens", json={"name": "Backup", "scopes": ["files.read"], **wish}), 201).json


def by(vault: Vault, token: str) -> Vault:
    """A program that has this token."""
    return Vault(vault.app, {"Authorization": f"Bearer {token}"}, vault.actor)


def events(kind: str = "token.%") -> list[str]:
    with db.engine.connect() as connection:
        found = connection.execute(text("SELECT event FROM audit_entries WHERE event LIKE :k ORDER BY id"), {"k": kind})
        return list(found.scalars())


def dead(program: Vault) -> None:
    problem(program.call("GET", "/files"), 401, "token_invalid")


# Shape ----------------------------------------------------------------------------------------------------------------


def test_a_token_has_a_shape_that_scanners_find_and_a_checksum() -> None:
    token = new_secret()
    assert re.fullmatch(r"hf_[0-9A-Za-z]{38}", token)
    assert well_formed(token)
    for other in (token[:-1], token + "0", token.replace("hf_", "hg_"), "hf_", "", "hf_" + "é" * 38,
                  token[:10] + ("a" if token[10] != "a" else "b") + token[11:]):  # fmt: skip
        assert not well_formed(other), other


def test_the_token_is_shown_once_and_stored_as_a_hash(vault: Vault) -> None:
    answer = vault.call("POST", "/tokens", json={"name": "Backup", "scopes": ["files.read"]})
    token = good(answer, 201).json
    assert answer.headers["Location"] == f"/api/v1/tokens/{token['id']}"
    secret = token.pop("token")
    assert token["prefix"] == secret[:8]
    assert (token["scopes"], token["networks"], token["folder_id"], token["last_used_at"]) == (["files.read"], [], None,
                                                                                               None)  # fmt: skip
    listed = vault.get("/tokens")["items"]
    assert listed == [vault.get(f"/tokens/{token['id']}")] == [token]
    with db.engine.connect() as connection:
        assert secret not in str(connection.execute(text("SELECT * FROM api_tokens")).all())
        assert secret not in str(connection.execute(text("SELECT * FROM audit_entries")).all())
    assert events() == ["token.created"]
    assert good(by(vault, secret).call("GET", "/files")).json["items"] == []


def test_logs_never_hold_a_token() -> None:
    token, stream = new_secret(), StringIO()
    configure_logging(current_settings().model_copy(update={"log_level": "info", "log_format": "json"}), stream)
    try:
        structlog.get_logger("t").info("seen", header=f"Bearer {token}", path=f"/files?q={token}", words=f"a {token} b")
        logging.getLogger("t").warning("said %s", token)
    finally:
        configure_logging(current_settings())
    assert "seen" in stream.getvalue()
    assert token not in stream.getvalue()


# Scopes ---------------------------------------------------------------------------------------------------------------


def test_a_token_does_what_its_scopes_say_and_no_more(vault: Vault) -> None:
    reads = by(vault, made(vault)["token"])
    writes = by(vault, made(vault, scopes=["files.read", "files.write"])["token"])
    good(reads.call("GET", "/files"))
    problem(reads.call("POST", "/folders", json={"name": "Quay"}), 403)
    good(writes.call("POST", "/folders", json={"name": "Quay"}), 201)
    problem(writes.call("GET", "/users/me"), 403)


@pytest.mark.parametrize(
    ("wish", "field", "code"),
    [
        ({"scopes": ["files.raed"]}, "scopes.0", "unknown_scope"),
        ({"scopes": []}, "scopes", "too_short"),
        ({"scopes": ["account.secure"]}, "scopes.0", "unknown_scope"),
        ({"scopes": ["events.read"]}, "scopes.0", "unknown_scope"),
        ({"scopes": ["users.write"]}, "scopes", "beyond_yours"),
        ({"networks": ["192.0.2.0/33"]}, "networks.0", "network"),
        ({"networks": ["harbour"]}, "networks.0", "network"),
        ({"days": 0}, "days", "greater_than_equal"),
        ({"days": 367}, "days", "less_than_equal"),
        ({"folder_id": str(uuid.uuid4())}, "folder_id", "unknown_folder"),
        ({"name": ""}, "name", "string_too_short"),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(vault: Vault, wish: Any, field: str, code: str) -> None:
    answer = vault.call("POST", "/tokens", json={"name": "Backup", "scopes": ["files.read"], **wish})
    errors = problem(answer, 422)["errors"]
    assert [(error["field"], error["code"]) for error in errors] == [(field, code)]
    assert vault.get("/tokens")["items"] == []


def test_a_token_makes_no_token_whatever_its_scopes(app: Flask, admin: Actor, bearer: Bearer) -> None:
    office = Vault(app, bearer(admin), admin)
    everything = by(office, made(office, scopes=sorted(SCOPES))["token"])
    one = f"/tokens/{uuid.uuid4()}"
    for method, path in (("POST", "/tokens"), ("PATCH", one), ("DELETE", one), ("POST", "/auth/change-password"),
                         ("POST", "/exports"), ("GET", "/events")):  # fmt: skip
        problem(everything.call(method, path, json={"name": "x", "scopes": ["files.read"]} if "P" in method else None),
                403)  # fmt: skip
    good(everything.call("GET", "/users"))
    with pytest.raises(Refused):
        tokens.create_token(replace(admin, token_id=7), tokens.NewToken(name="x", scopes=["files.read"]))


def test_what_the_owner_loses_the_token_loses(app: Flask, admin: Actor, person: Any, bearer: Bearer) -> None:
    manager = person("max", role="manager")
    office, own = Vault(app, bearer(admin), admin), Vault(app, bearer(manager), manager)
    program = by(own, made(own, scopes=["users.read", "files.read"])["token"])
    good(program.call("GET", "/users"))
    good(office.change(f"/users/{manager.uuid}", roles=["member"]))
    problem(program.call("GET", "/users"), 403)
    good(program.call("GET", "/files"))


# Ends -----------------------------------------------------------------------------------------------------------------


def test_a_revoked_token_is_dead_at_once(vault: Vault, other_vault: Vault) -> None:
    token = made(vault)
    program = by(vault, token["token"])
    good(program.call("GET", "/files"))
    problem(other_vault.call("DELETE", f"/tokens/{token['id']}"), 404)
    problem(other_vault.call("GET", f"/tokens/{token['id']}"), 404)
    good(vault.call("DELETE", f"/tokens/{token['id']}"), 204)
    dead(program)
    problem(vault.call("DELETE", f"/tokens/{token['id']}"), 404)
    assert events() == ["token.created", "token.revoked"]


def test_it_runs_out(vault: Vault) -> None:
    program = by(vault, made(vault, days=7)["token"])
    with time_machine.travel(now() + timedelta(days=7, seconds=-5)):
        good(program.call("GET", "/files"))
    with time_machine.travel(now() + timedelta(days=7, seconds=5)):
        dead(program)


def test_a_changed_password_ends_every_token_and_the_mail_names_them(
    vault: Vault, member: Actor, bearer: Bearer
) -> None:
    programs = [by(vault, made(vault, name=name)["token"]) for name in ("Backup", "Scanner")]
    good(programs[0].call("GET", "/files"))
    wish = {"current_password": PASSWORD, "password": "Another-Horse-8-Battery"}
    good(vault.call("POST", "/auth/change-password", json=wish), 204)
    for program in programs:
        dead(program)
    assert told(member.email) == ["password_changed"]
    assert ordered()[0].variables["tokens"] == ["Backup", "Scanner"]


def test_a_reset_suspension_and_deletion_end_them_too(app: Flask, admin: Actor, person: Any, bearer: Bearer) -> None:
    office = Vault(app, bearer(admin), admin)

    def owner(name: str) -> tuple[Actor, Vault]:
        who = person(name)
        own = Vault(app, bearer(who), who)
        program = by(own, made(own)["token"])
        good(program.call("GET", "/files"))
        return who, program

    one, program = owner("one")
    good(office.call("POST", "/auth/forgot-password", json={"email": one.email}), 204)
    wish = {"token": token_of(ordered()[-1]), "password": "Another-Horse-8-Battery"}
    good(office.call("POST", "/auth/reset-password", json=wish), 204)
    dead(program)
    two, program = owner("two")
    good(office.call("POST", f"/users/{two.uuid}/suspension"))
    dead(program)
    good(office.call("POST", f"/users/{two.uuid}/restoration"))
    dead(program)
    three, program = owner("three")
    good(office.call("DELETE", f"/users/{three.uuid}"), 204)
    dead(program)


def test_administrators_see_tokens_without_secrets_and_revoke_them(
    app: Flask, vault: Vault, admin: Actor, member: Actor, bearer: Bearer, signed_in: Browser
) -> None:
    office, token = Vault(app, bearer(admin), admin), made(vault)
    program = by(vault, token["token"])
    assert [item["name"] for item in office.get(f"/users/{member.uuid}/tokens")["items"]] == ["Backup"]
    problem(vault.call("GET", f"/users/{member.uuid}/tokens"), 403)
    browser = signed_in(admin)
    page = browser.get(f"/admin/users/{member.uuid}").text
    assert token["prefix"] in page
    assert token["token"] not in page
    data = {"csrf_token": csrf_of(page)}
    assert browser.post(f"/admin/users/{member.uuid}/tokens/revocation", data=data).status_code == 302
    dead(program)
    again = by(vault, made(vault)["token"])
    good(office.call("DELETE", f"/users/{member.uuid}/tokens"), 204)
    dead(again)


# Addresses ------------------------------------------------------------------------------------------------------------


def test_ranges_hold_for_both_kinds_of_addresses() -> None:
    networks = ("192.0.2.0/24", "2001:db8::/32")
    for address in ("192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1", "2001:db8::1%eth0"):
        assert within(address, networks), address
    for address in ("192.0.3.7", "::ffff:192.0.3.7", "2001:db9::1", "", None, "harbour"):
        assert not within(address, networks), address


def test_from_elsewhere_it_is_refused_and_the_trail_says_so_once(vault: Vault) -> None:
    token = made(vault, networks=["192.0.2.0/24", "10.1.2.3"])
    assert token["networks"] == ["10.1.2.3/32", "192.0.2.0/24"]
    program = by(vault, token["token"])
    for _ in range(3):
        problem(program.call("GET", "/files"), 403, "token_address")
    good(program.call("GET", "/files", environ_overrides={"REMOTE_ADDR": "192.0.2.200"}))
    problem(program.call("GET", "/files", environ_overrides={"REMOTE_ADDR": "198.51.100.1"}), 403, "token_address")
    assert events() == ["token.created", "token.refused", "token.refused"], "one an hour for each address"
    good(vault.change(f"/tokens/{token['id']}", networks=[]))
    good(program.call("GET", "/files"))


def test_its_last_use_is_noted_without_raising_its_version(vault: Vault) -> None:
    token = made(vault)
    by(vault, token["token"]).call("GET", "/files", environ_overrides={"REMOTE_ADDR": "192.0.2.9"})
    presence._writers[0].submit(lambda: None).result()
    seen = vault.get(f"/tokens/{token['id']}")
    assert (seen["last_used_address"], seen["version"]) == ("192.0.2.9", 1)
    with db.engine.connect() as connection:
        assert "192.0.2.9" not in str(connection.execute(text("SELECT last_used_address FROM api_tokens")).all())
    forget_identities()
    by(vault, token["token"]).call("GET", "/files", environ_overrides={"REMOTE_ADDR": "192.0.2.10"})
    presence._writers[0].submit(lambda: None).result()
    assert vault.get(f"/tokens/{token['id']}")["last_used_address"] == "192.0.2.9", "at most once a minute"


def test_a_request_with_a_token_that_is_remembered_costs_no_statement_for_it(vault: Vault) -> None:
    from webapp.db import tally

    secret = made(vault)["token"]
    with vault.app.app_context():
        tokens.actor_of_secret(secret, Origin())
        tally.reset()
        tokens.actor_of_secret(secret, Origin())
        assert tally.count == 0


# A folder -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(vault: Vault) -> dict[str, Any]:
    """A folder with things in it, and a token that is limited to it; the same things outside."""
    inner = vault.folder("Inner")
    deeper, other = vault.folder("Deeper", inner["id"]), vault.folder("Other")
    return {
        "inner": inner, "deeper": deeper, "other": other,
        "in": vault.upload("in.txt", b"in", folder_id=deeper["id"]), "out": vault.upload("out.txt", b"out"),
        "beside": vault.upload("beside.txt", b"beside", folder_id=other["id"]),
        "program": by(vault, made(vault, scopes=["files.read", "files.write"], folder_id=inner["id"])["token"]),
    }  # fmt: skip


def test_inside_its_folder_a_token_works(tree: dict[str, Any]) -> None:
    program, deeper, inner = tree["program"], tree["deeper"]["id"], tree["inner"]["id"]
    assert [f["name"] for f in program.get("/files", query_string={"folder_id": deeper})["items"]] == ["in.txt"]
    assert [f["name"] for f in program.get("/folders", query_string={"parent_id": inner})["items"]] == ["Deeper"]
    assert program.get(f"/folders/{deeper}")["name"] == "Deeper"
    assert program.content(tree["in"]["id"]).data == b"in"
    new = program.upload("new.txt", b"new", folder_id=inner)
    good(program.change(f"/files/{new['id']}", folder_id=deeper, name="moved.txt"))
    good(program.call("PUT", f"/files/{new['id']}/content", **raw(b"newer")))
    good(program.call("POST", "/folders", json={"name": "More", "parent_id": deeper}), 201)
    good(program.call("DELETE", f"/files/{new['id']}"), 204)


def test_outside_there_is_nothing_and_nothing_goes_out_or_comes_in(vault: Vault, tree: dict[str, Any]) -> None:
    program, before = tree["program"], vault.get("/files", query_string={"folder_id": "root"})
    for name in ("out", "beside"):
        path = f"/files/{tree[name]['id']}"
        for method, at, options in (
            ("GET", path, {}), ("GET", f"{path}/content", {}), ("GET", f"{path}/thumbnail?size=64", {}),
            ("PATCH", path, {"json": {"name": "x"}}), ("DELETE", path, {}), ("PUT", f"{path}/content", raw(b"x")),
            ("PATCH", path, {"json": {"folder_id": tree["inner"]["id"]}}), ("GET", f"{path}/versions", {}),
            ("GET", f"{path}/versions/1", {}), ("GET", f"{path}/versions/1/content", {}),
            ("POST", f"{path}/versions/1/restoration", {}), ("DELETE", f"{path}/versions/1", {}),
            ("PATCH", f"{path}/versions/1", {"json": {"label": "x"}}),
            ("GET", f"{path}/versions/1/differences?with=1", {}),
        ):  # fmt: skip
            problem(program.call(method, at, **options), 404)
    other = tree["other"]["id"]
    problem(program.call("GET", f"/folders/{other}"), 404)
    problem(program.call("PATCH", f"/folders/{other}", json={"parent_id": tree["inner"]["id"]}), 404)
    problem(program.call("GET", "/files", query_string={"folder_id": other}), 404)
    problem(program.call("GET", "/folders", query_string={"parent_id": other}), 404)
    for place in ({}, {"folder_id": "root"}):
        problem(program.call("GET", "/files", query_string=place), 403, "outside_folder")
    problem(program.call("GET", "/folders"), 403, "outside_folder")
    problem(program.try_upload("x.txt", b"x"), 403, "outside_folder")
    problem(program.send_form(("x.txt", b"x")), 403, "outside_folder")
    problem(program.send_form(("x.txt", b"x"), folder_id=other), 422)
    good(program.send_form(("form.txt", b"x"), folder_id=tree["inner"]["id"]), 201)
    problem(program.try_upload("x.txt", b"x", folder_id=other), 422)
    problem(program.call("POST", "/folders", json={"name": "x"}), 403, "outside_folder")
    problem(program.call("POST", "/folders", json={"name": "x", "parent_id": other}), 422)
    problem(program.change(f"/files/{tree['in']['id']}", folder_id=None), 403, "outside_folder")
    problem(program.change(f"/files/{tree['in']['id']}", folder_id=other), 422)
    problem(program.change(f"/folders/{tree['deeper']['id']}", parent_id=None), 403, "outside_folder")
    problem(program.change(f"/folders/{tree['inner']['id']}", parent_id=other), 422)
    assert vault.get("/files", query_string={"folder_id": "root"}) == before


def test_what_is_moved_out_of_the_folder_is_out_of_reach(vault: Vault, tree: dict[str, Any]) -> None:
    good(vault.change(f"/folders/{tree['deeper']['id']}", parent_id=None))
    problem(tree["program"].call("GET", f"/files/{tree['in']['id']}"), 404)
    problem(tree["program"].call("GET", f"/folders/{tree['deeper']['id']}"), 404)
    problem(tree["program"].call("GET", "/files", query_string={"folder_id": tree["deeper"]["id"]}), 404)


def test_every_route_keeps_such_a_token_out_unless_it_says_otherwise(app: Flask, admin: Actor, bearer: Bearer) -> None:
    """From the URL map: a new route refuses it by default, and one that is opened has to be in the tests above."""
    empty_store()
    office = Vault(app, bearer(admin), admin)
    inner = office.folder("Inner")
    program = by(office, made(office, scopes=sorted(SCOPES), folder_id=inner["id"])["token"])
    opened = set()
    for rule in app.url_map.iter_rules():
        view: Any = app.view_functions[rule.endpoint]
        if getattr(view, "permission", None) is None:
            continue
        if view.subtree:
            opened.add(rule.endpoint)
            continue
        path = re.sub(r"<(\w+):\w+>", lambda m: {"uuid": str(uuid.uuid4()), "int": "1"}.get(m[1], "x"), rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            answer = program.client.open(path, method=method, headers=program.headers)
            assert answer.status_code == 403, f"{method} {path}: {answer.status}"
            if view.permission not in NO_SCOPES and rule.rule.startswith("/api/"):
                assert answer.json["code"] == "outside_folder", path
    assert opened == {
        "files_api.list_files", "files_api.create_files", "files_api.show_file", "files_api.change_file",
        "files_api.trash_file", "files_api.download_content", "files_api.replace_content",
        "previews_api.show_thumbnail", "previews_api.show_page", "folders_api.list_folders",
        "folders_api.create_folder", "folders_api.show_folder", "folders_api.change_folder",
        "archives_api.download_folder", "archives_api.download_several", "imports_api.create_import",
        "folders_api.trash_folder", "restorations_api.list_folder_past", "search_api.list_hits",
        "uploads_api.create_upload", "uploads_api.show_upload", "uploads_api.write_upload",
        "uploads_api.delete_upload", "versions_api.list_versions", "versions_api.show_version",
        "versions_api.download_version", "versions_api.restore_version", "versions_api.change_version",
        "versions_api.delete_version", "versions_api.compare_versions",
    }  # fmt: skip


def test_a_token_goes_with_its_folder_and_never_reaches_more_without_it(vault: Vault, tree: dict[str, Any]) -> None:
    with db.engine.connect().execution_options(write=True) as line, line.begin():
        line.execute(text("UPDATE folders SET deleted_at = created_at WHERE name = 'Inner'"))
    forget_identities()
    problem(tree["program"].call("GET", "/files"), 403, "outside_folder")
    problem(tree["program"].call("GET", f"/files/{tree['out']['id']}"), 404)
    with db.engine.connect().execution_options(write=True) as line, line.begin():
        line.execute(text("UPDATE files SET folder_id = NULL"))
        line.execute(text("UPDATE folders SET parent_id = NULL"))
        line.execute(text("DELETE FROM folders WHERE name = 'Inner'"))
    forget_identities()
    dead(tree["program"])


# Pages ----------------------------------------------------------------------------------------------------------------


def test_a_person_makes_sees_and_revokes_a_token_in_pages(vault: Vault, member: Actor, signed_in: Browser) -> None:
    inner = vault.folder("Quay", vault.folder("Harbour")["id"])
    browser = signed_in(member)
    page = browser.get("/account/tokens/new").text
    assert "Harbour / Quay" in page
    assert "account.secure" not in page
    assert "users.read" not in page, "nothing that one does not hold"
    form = {"csrf_token": csrf_of(page), "name": "Backup", "scopes": ["files.read", "jobs.read"], "days": "30",
            "folder_id": inner["id"], "networks": "127.0.0.0/8, ::1"}  # fmt: skip
    shown = browser.post("/account/tokens", data=form)
    assert shown.headers["Cache-Control"] == "no-store"
    secret = re.search(r"hf_[0-9A-Za-z]{38}", shown.text)
    assert secret
    program = by(vault, secret[0])
    good(program.call("GET", "/files", query_string={"folder_id": inner["id"]}))
    listed = browser.get("/account/tokens").text
    assert secret[0] not in listed
    assert all(words in listed for words in ("Backup", "2 scopes", "only in Quay", secret[0][:8]))
    where = re.search(r'action="(/account/tokens/[^"]+/revocation)"', listed)
    assert where
    assert browser.post(where[1], data={"csrf_token": csrf_of(listed)}).status_code == 302
    dead(program)


def test_a_form_that_lacks_something_comes_back_with_what_was_typed(member: Actor, signed_in: Browser) -> None:
    browser = signed_in(member)
    form = {"csrf_token": csrf_of(browser.get("/account/tokens/new").text), "name": "Backup", "networks": "nowhere"}
    answer = browser.post("/account/tokens", data=form)
    assert answer.status_code == 422
    assert 'value="Backup"' in answer.text
    assert "Write an address or a range" in answer.text
    assert 'href="#field-scopes"' in answer.text


def test_the_document_names_the_scope_of_every_operation(client: FlaskClient) -> None:
    document = client.get("/api/v1/openapi.json").json
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    for path, ways in document["paths"].items():
        for operation in ways.values():
            permission = operation.get("x-permission")
            named = [way["token"] for way in operation["security"] if "token" in way]
            assert named == ([[permission]] if permission in SCOPES else []), path
