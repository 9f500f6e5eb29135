"""Sharing: what each level may do, how far a grant reaches, and that it ends at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from tests.conftest import csrf_of
from tests.letters import ordered
from tests.vault import Vault, differences, good, problem, raw
from webapp.db import db
from webapp.infra.clock import now
from webapp.models.audit import AuditEntry
from webapp.models.files import FileVersion
from webapp.models.grants import Grant
from webapp.models.users import Quota
from webapp.policies import Actor

LEVELS = ("viewer", "editor", "manager")


@pytest.fixture
def office(app: Flask, admin: Actor, bearer: Callable[[Actor], dict[str, str]]) -> Vault:
    return Vault(app, bearer(admin), admin)


def share(owner: Vault, path: str, to: Vault, level: str = "viewer", **wish: Any) -> Any:
    return good(owner.call("PUT", f"{path}/grants", json={"email": to.actor.email, "level": level, **wish})).json


def unshare(owner: Vault, path: str, to: Vault) -> None:
    good(owner.call("DELETE", f"{path}/grants", query_string={"user_id": str(to.actor.uuid)}), 204)


@pytest.fixture
def tree(vault: Vault) -> dict[str, str]:
    """Addresses of the member's: /Top/Mid/Low with a file in Mid and one in Low, and one aside."""
    top = vault.folder("Top")["id"]
    mid = vault.folder("Mid", top)["id"]
    low = vault.folder("Low", mid)["id"]
    aside = vault.folder("Aside")["id"]
    files = {name: vault.upload(f"{name}.txt", b"text", folder_id=place)["id"]
             for name, place in (("in_mid", mid), ("in_low", low), ("in_aside", aside))}  # fmt: skip
    folders = {"top": top, "mid": mid, "low": low, "aside": aside}
    return {**{k: f"/folders/{v}" for k, v in folders.items()}, **{k: f"/files/{v}" for k, v in files.items()}}


def happened() -> list[str]:
    found = db.session.scalars(
        select(AuditEntry.event).where(AuditEntry.event.startswith("grant.")).order_by(AuditEntry.id)
    ).all()
    db.session.rollback()
    return list(found)


def uid(path: str) -> str:
    return path.rsplit("/", 1)[1]


def test_a_grant_reaches_down_the_tree_and_no_further(vault: Vault, other_vault: Vault, tree: dict[str, str]) -> None:
    for path in tree.values():
        problem(other_vault.call("GET", path), 404)
    share(vault, tree["mid"], other_vault)
    for name, path in tree.items():
        status = 200 if name in {"mid", "low", "in_mid", "in_low"} else 404
        assert other_vault.call("GET", path).status_code == status, name
    assert other_vault.content(uid(tree["in_low"])).data == b"text"
    listed = other_vault.get("/files", query_string={"folder_id": uid(tree["mid"])})["items"]
    assert [file["name"] for file in listed] == ["in_mid.txt"]
    inside = other_vault.get("/folders", query_string={"parent_id": uid(tree["mid"])})["items"]
    assert [folder["name"] for folder in inside] == ["Low"]
    problem(other_vault.call("GET", "/files", query_string={"folder_id": uid(tree["top"])}), 404)
    assert other_vault.get("/files")["items"] == other_vault.get("/folders")["items"] == []
    unshare(vault, tree["mid"], other_vault)
    for path in tree.values():
        problem(other_vault.call("GET", path), 404)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("spot", ["in_low", "low", "top"], ids=["the file", "its folder", "the top"])
def test_what_each_level_may_do(
    vault: Vault, other_vault: Vault, tree: dict[str, str], level: str, spot: str, admin: Actor
) -> None:
    share(vault, tree[spot], other_vault, level)
    file, low = tree["in_low"], tree["low"]
    writes, shares = level != "viewer", level == "manager"
    assert good(other_vault.call("GET", f"{file}/content")).data == b"text"
    wish = {"email": admin.email, "level": "manager"}
    attempts = [
        (writes, other_vault.change(file, name="renamed.txt")),
        (writes, other_vault.call("PUT", f"{file}/content", **raw(b"theirs"))),
        (shares, other_vault.call("GET", f"{file}/grants")),
        (shares, other_vault.call("PUT", f"{file}/grants", json=wish)),
        (shares, other_vault.call("DELETE", f"{file}/grants", query_string={"email": admin.email})),
    ]
    if spot != "in_low":
        attempts += [
            (writes, other_vault.try_upload("new.txt", b"new", folder_id=uid(low))),
            (writes, other_vault.call("POST", "/folders", json={"name": "New", "parent_id": uid(low)})),
            (writes, other_vault.change(low, name="Lower")),
        ]
    attempts.append((writes, other_vault.call("DELETE", file)))
    for number, (allowed, answer) in enumerate(attempts):
        if allowed:
            assert answer.status_code < 300, (number, answer.text)
        else:
            problem(answer, 403, "level")
    restored = other_vault.call("POST", f"{file}/restoration")
    assert restored.status_code == (200 if shares else 404)
    assert differences() == []


def test_the_owner_pays_and_is_told_and_the_author_is_recorded(
    vault: Vault, other_vault: Vault, tree: dict[str, str]
) -> None:
    share(vault, tree["mid"], other_vault, "editor")

    def used() -> list[int]:
        found = db.session.execute(select(Quota.user_id, Quota.byte_used)).all()
        db.session.rollback()
        return [dict(map(tuple, found))[actor.id] for actor in (vault.actor, other_vault.actor)]

    before = used()
    made = other_vault.upload("theirs.txt", b"12345", folder_id=uid(tree["mid"]))
    good(other_vault.call("PUT", f"{tree['in_mid']}/content", **raw(b"1234567")))
    assert used() == [before[0] + 12, before[1]]
    assert vault.get(f"/files/{made['id']}")["name"] == "theirs.txt"
    authors = db.session.scalars(select(FileVersion.author_id).order_by(FileVersion.id)).all()[-2:]
    entries = db.session.scalars(select(AuditEntry.actor_id).where(AuditEntry.event == "file.created")).all()
    db.session.rollback()
    assert set(authors) == {other_vault.actor.id}
    assert other_vault.actor.id in entries
    assert differences() == []


def test_an_upload_that_does_not_fit_into_the_owners_storage_is_refused(
    vault: Vault, other_vault: Vault, tree: dict[str, str], quota: Callable[[Actor, int], None]
) -> None:
    share(vault, tree["mid"], other_vault, "editor")
    quota(vault.actor, 20)
    problem(other_vault.try_upload("big.txt", b"x" * 100, folder_id=uid(tree["mid"])), 413, "quota_exceeded")
    quota(vault.actor, 1000)
    quota(other_vault.actor, 0)
    good(other_vault.try_upload("big.txt", b"x" * 100, folder_id=uid(tree["mid"])), 201)


def test_what_an_editor_trashes_lies_in_the_owners_trash(
    vault: Vault, other_vault: Vault, tree: dict[str, str]
) -> None:
    share(vault, tree["mid"], other_vault, "editor")
    good(other_vault.call("DELETE", tree["in_low"]), 204)
    assert other_vault.get("/trash")["items"] == []
    assert [file["name"] for file in vault.get("/trash")["items"]] == ["in_low.txt"]
    problem(other_vault.call("DELETE", f"/trash/{uid(tree['in_low'])}"), 404)
    problem(other_vault.call("POST", f"{tree['in_low']}/restoration"), 404)
    share(vault, tree["mid"], other_vault, "manager")
    good(other_vault.call("POST", f"{tree['in_low']}/restoration"))
    assert vault.get("/trash")["items"] == []


def test_a_move_changes_what_is_inherited_at_once(vault: Vault, other_vault: Vault, tree: dict[str, str]) -> None:
    share(vault, tree["mid"], other_vault)
    good(vault.change(tree["low"], parent_id=uid(tree["aside"])))
    problem(other_vault.call("GET", tree["in_low"]), 404)
    good(vault.change(tree["in_mid"], folder_id=uid(tree["low"])))
    problem(other_vault.call("GET", tree["in_mid"]), 404)
    good(vault.change(tree["aside"], parent_id=uid(tree["mid"])))
    for name in ("low", "in_low", "in_mid", "in_aside"):
        good(other_vault.call("GET", tree[name]))


def test_nothing_moves_between_owners_nor_out_of_what_is_shared(
    vault: Vault, other_vault: Vault, tree: dict[str, str]
) -> None:
    share(vault, tree["mid"], other_vault, "manager")
    own, note = other_vault.folder("Own")["id"], other_vault.upload("note.txt", b"note")["id"]
    problem(other_vault.change(tree["in_low"], folder_id=own), 409, "other_owner")
    problem(other_vault.change(tree["low"], parent_id=own), 409, "other_owner")
    problem(other_vault.change(f"/files/{note}", folder_id=uid(tree["mid"])), 409, "other_owner")
    problem(other_vault.change(f"/folders/{own}", parent_id=uid(tree["mid"])), 409, "other_owner")
    problem(other_vault.change(tree["in_low"], folder_id=None), 403, "level")
    problem(other_vault.change(tree["low"], parent_id=None), 403, "level")
    problem(other_vault.change(tree["in_low"], folder_id=uid(tree["top"])), 422)
    good(other_vault.change(tree["in_low"], folder_id=uid(tree["mid"])))
    good(other_vault.change(tree["low"], name="Lower", parent_id=uid(tree["mid"])))


def test_the_highest_of_several_grants_counts_and_none_takes_away(
    office: Vault, vault: Vault, other_vault: Vault, tree: dict[str, str]
) -> None:
    group = good(office.call("POST", "/groups", json={"name": "Pilots"}), 201).json["id"]
    for who in (vault, other_vault):
        good(office.call("PUT", f"/groups/{group}/members/{who.actor.uuid}", json={}))
    share(vault, tree["in_low"], other_vault, "viewer")
    good(vault.call("PUT", f"{tree['top']}/grants", json={"group_id": group, "level": "editor"}))
    good(other_vault.change(tree["in_low"], description="theirs"))
    good(office.call("DELETE", f"/groups/{group}/members/{other_vault.actor.uuid}"), 204)
    problem(other_vault.change(tree["in_low"], description="again"), 403)
    problem(other_vault.call("GET", tree["top"]), 404)
    good(office.call("PUT", f"/groups/{group}/members/{other_vault.actor.uuid}", json={}))
    good(other_vault.call("GET", tree["top"]))
    good(office.call("DELETE", f"/groups/{group}"), 204)
    problem(other_vault.call("GET", tree["top"]), 404)
    assert vault.get(f"{tree['top']}/grants")["items"] == []


def test_a_grant_ends_when_it_is_over(
    vault: Vault, other_vault: Vault, tree: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    end = now() + timedelta(hours=1)
    made = share(vault, tree["mid"], other_vault, expires_at=end.isoformat())
    assert made["expires_at"] == end.isoformat().replace("+00:00", "Z")
    good(other_vault.call("GET", tree["in_low"]))
    for module in ("access", "shared", "audiences"):
        monkeypatch.setattr(f"webapp.services.{module}.now", lambda: end)
    problem(other_vault.call("GET", tree["in_low"]), 404)
    assert other_vault.get("/shared")["items"] == []
    names = [person["name"] for person in vault.get(f"{tree['mid']}/access")["items"]]
    assert names == ["Mira"]


@pytest.mark.parametrize("wish", [
    {}, {"level": "viewer"}, {"email": "stranger@harbour.example"}, {"email": "stranger@harbour.example", "level": 1},
    {"email": "stranger@harbour.example", "level": "owner"}, {"email": "stranger@harbour.example", "level": "none"},
    {"email": "ghost@harbour.example", "level": "viewer"}, {"email": "mira@harbour.example", "level": "viewer"},
    {"user_id": "00000000-0000-7000-8000-000000000000", "level": "viewer"},
    {"group_id": "00000000-0000-7000-8000-000000000000", "level": "viewer"},
    {"email": "stranger@harbour.example", "user_id": "00000000-0000-7000-8000-000000000000", "level": "viewer"},
    {"email": "stranger@harbour.example", "level": "viewer", "expires_at": "2020-01-01T00:00:00Z"},
    {"email": "stranger@harbour.example", "level": "viewer", "expires_at": "soon"},
    {"email": "stranger@harbour.example", "level": "viewer", "expires_at": "2099-01-01T00:00:00"},
])  # fmt: skip
def test_a_grant_that_makes_no_sense_is_refused(
    vault: Vault, stranger: Actor, tree: dict[str, str], wish: dict[str, Any]
) -> None:
    problem(vault.call("PUT", f"{tree['mid']}/grants", json=wish), 422)
    assert vault.get(f"{tree['mid']}/grants")["items"] == []


def test_only_ones_own_groups_are_named(office: Vault, vault: Vault, other_vault: Vault, tree: dict[str, str]) -> None:
    group = good(office.call("POST", "/groups", json={"name": "Board"}), 201).json["id"]
    wish = {"group_id": group, "level": "viewer"}
    problem(vault.call("PUT", f"{tree['mid']}/grants", json=wish), 422)
    good(office.call("PUT", f"/groups/{group}/members/{vault.actor.uuid}", json={}))
    good(vault.call("PUT", f"{tree['mid']}/grants", json=wish))
    good(office.call("DELETE", f"/groups/{group}/members/{vault.actor.uuid}"), 204)
    good(vault.call("DELETE", f"{tree['mid']}/grants", query_string={"group_id": group}), 204)


def test_a_grant_is_made_changed_and_removed_and_each_is_audited_and_the_first_is_mailed(
    vault: Vault, other_vault: Vault, tree: dict[str, str]
) -> None:
    made = share(vault, tree["mid"], other_vault)
    assert (made["level"], made["name"], made["by"], made["version"]) == ("viewer", "Stranger", "Mira", 1)
    assert share(vault, tree["mid"], other_vault)["version"] == 1, "the same once more changes nothing"
    changed = share(vault, tree["mid"], other_vault, "editor")
    assert (changed["id"], changed["version"]) == (made["id"], 2)
    assert vault.get(f"{tree['mid']}/grants")["items"] == [changed]
    unshare(vault, tree["mid"], other_vault)
    problem(vault.call("DELETE", f"{tree['mid']}/grants", query_string={"email": other_vault.actor.email}), 404)
    assert happened() == ["grant.made", "grant.changed", "grant.removed"]
    mails = [order for order in ordered() if order.template == "shared_with_you"]
    assert [(mail.to.email, mail.variables["name"], mail.variables["noun"]) for mail in mails] == [
        (other_vault.actor.email, "Mid", "folder")
    ]


def test_twenty_who_share_with_one_person_at_once_make_one_grant(
    vault: Vault, other_vault: Vault, tree: dict[str, str]
) -> None:
    def put(number: int) -> int:
        wish = {"email": other_vault.actor.email, "level": LEVELS[number % 3]}
        return vault.twin().call("PUT", f"{tree['mid']}/grants", json=wish).status_code

    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(put, range(20)))
    assert set(statuses) <= {200, 503}
    assert 200 in statuses
    assert db.session.scalar(select(func.count()).select_from(Grant)) == 1
    db.session.rollback()


def test_a_file_that_is_removed_for_good_takes_its_grants_along(
    vault: Vault, other_vault: Vault, tree: dict[str, str]
) -> None:
    share(vault, tree["in_mid"], other_vault)
    good(vault.call("DELETE", tree["in_mid"]), 204)
    problem(other_vault.call("GET", tree["in_mid"]), 404)
    assert other_vault.get("/shared")["items"] == []
    good(vault.call("POST", f"{tree['in_mid']}/restoration"))
    good(other_vault.call("GET", tree["in_mid"]))
    good(vault.call("DELETE", tree["in_mid"]), 204)
    good(vault.call("DELETE", f"/trash{tree['in_mid'].removeprefix('/files')}"), 204)
    assert db.session.scalar(select(func.count()).select_from(Grant)) == 0
    db.session.rollback()


def test_shared_with_me_lists_each_thing_once_with_the_level_that_counts(
    office: Vault, vault: Vault, other_vault: Vault, tree: dict[str, str]
) -> None:
    group = good(office.call("POST", "/groups", json={"name": "Pilots"}), 201).json["id"]
    for who in (vault, other_vault):
        good(office.call("PUT", f"/groups/{group}/members/{who.actor.uuid}", json={}))
    share(vault, tree["mid"], other_vault)
    share(vault, tree["in_aside"], other_vault)
    good(vault.call("PUT", f"{tree['mid']}/grants", json={"group_id": group, "level": "editor"}))
    share(vault, tree["in_low"], other_vault)
    found = other_vault.every("/shared", 2)
    assert [(i["kind"], i["name"], i["level"], i["owner"]) for i in found] == [
        ("file", "in_low.txt", "editor", "Mira"), ("folder", "Mid", "editor", "Mira"),
        ("file", "in_aside.txt", "viewer", "Mira"),
    ]  # fmt: skip
    assert [item["id"] for item in found] == [uid(tree[name]) for name in ("in_low", "mid", "in_aside")]
    assert vault.get("/shared")["items"] == [], "what is one's own is not shared with one"
    problem(other_vault.call("GET", "/shared", query_string={"cursor": "x"}), 422)


def test_who_has_access_is_named_with_every_way_that_leads_there(
    office: Vault, vault: Vault, other_vault: Vault, tree: dict[str, str]
) -> None:
    group = good(office.call("POST", "/groups", json={"name": "Pilots"}), 201).json["id"]
    good(office.call("PUT", f"/groups/{group}/members/{vault.actor.uuid}", json={}))
    good(office.call("PUT", f"/groups/{group}/members/{other_vault.actor.uuid}", json={}))
    good(vault.call("PUT", f"{tree['top']}/grants", json={"group_id": group, "level": "editor"}))
    share(vault, tree["in_low"], other_vault, "viewer")
    share(vault, tree["low"], other_vault, "manager")
    answer = vault.get(f"{tree['in_low']}/access")
    assert answer["level"] == "owner"
    people = {person["name"]: person for person in answer["items"]}
    assert list(people) == ["Mira", "Ana", "Stranger"]
    top, low = ({"id": uid(tree[name]), "name": name.title()} for name in ("top", "low"))
    pilots = {"id": group, "name": "Pilots"}

    def ways(name: str) -> list[dict[str, Any]]:
        return [{k: v for k, v in way.items() if v} for way in people[name]["ways"]]

    through = {"kind": "group", "level": "editor", "group": pilots, "inherited": True, "folder": top}
    assert ways("Mira") == [{"kind": "owner", "level": "owner"}, through]
    assert ways("Ana") == [{"kind": "role", "level": "manager", "role": "admin"}]
    assert ways("Stranger") == [
        through, {"kind": "grant", "level": "viewer"},
        {"kind": "grant", "level": "manager", "inherited": True, "folder": low},
    ]  # fmt: skip
    assert [people[name]["level"] for name in people] == ["owner", "manager", "manager"]
    assert people["Stranger"]["email"] == other_vault.actor.email
    paged = vault.get(f"{tree['in_low']}/access", query_string={"limit": "2"})
    rest = vault.get(f"{tree['in_low']}/access", query_string={"limit": "2", "cursor": paged["next_cursor"]})
    assert paged["items"] + rest["items"] == answer["items"]


def test_a_viewer_learns_neither_addresses_nor_the_names_of_folders_above(
    vault: Vault, other_vault: Vault, tree: dict[str, str], person: Callable[..., Actor]
) -> None:
    jon = person("jon")
    good(vault.call("PUT", f"{tree['top']}/grants", json={"email": jon.email, "level": "viewer"}))
    share(vault, tree["low"], other_vault)
    people = other_vault.get(f"{tree['in_low']}/access")["items"]
    assert {person["email"] for person in people} == {None}
    way = next(person for person in people if person["name"] == "Jon")["ways"][0]
    assert (way["inherited"], way["folder"]) == (True, None)
    problem(other_vault.call("GET", f"{tree['top']}/access"), 404)


def test_administrators_reach_everything_and_list_only_what_is_theirs(
    office: Vault, vault: Vault, tree: dict[str, str]
) -> None:
    assert office.get("/files")["items"] == office.get("/folders")["items"] == office.get("/shared")["items"] == []
    good(office.call("GET", tree["in_low"]))
    good(office.change(tree["in_low"], description="by the office"))
    good(office.change(tree["low"], parent_id=None))
    assert vault.get(tree["low"])["parent_id"] is None
    problem(office.call("DELETE", f"/trash{tree['in_low'].removeprefix('/files')}"), 404)


def test_an_account_that_is_gone_is_not_named_and_reaches_nothing(
    office: Vault, vault: Vault, other_vault: Vault, tree: dict[str, str]
) -> None:
    share(vault, tree["mid"], other_vault)
    good(office.call("DELETE", f"/users/{other_vault.actor.uuid}"), 204)
    assert vault.get(f"{tree['mid']}/grants")["items"] == []
    assert "Stranger" not in [person["name"] for person in vault.get(f"{tree['mid']}/access")["items"]]
    problem(other_vault.call("GET", tree["mid"]), 401)


@pytest.fixture
def browsers(
    vault: Vault, other_vault: Vault, signed_in: Callable[[Actor], FlaskClient]
) -> tuple[FlaskClient, FlaskClient]:
    return signed_in(vault.actor), signed_in(other_vault.actor)


def test_pages_show_truly_what_one_may_do(
    vault: Vault, other_vault: Vault, tree: dict[str, str], browsers: tuple[FlaskClient, FlaskClient]
) -> None:
    mine, theirs = browsers
    assert "Nothing is shared with you" in theirs.get("/shared").text
    page = mine.get(f"{tree['mid']}/access").text
    form = {"csrf_token": csrf_of(page), "email": other_vault.actor.email, "level": "viewer"}
    unknown = mine.post(f"{tree['mid']}/grants", data={**form, "email": "ghost@harbour.example"})
    assert (unknown.status_code, "Nobody here has this e-mail" in unknown.text) == (422, True)
    assert mine.post(f"{tree['mid']}/grants", data=form).location == f"{tree['mid']}/access"
    assert "Stranger" in mine.get(f"{tree['mid']}/access").text
    assert "Mid" in theirs.get("/shared").text
    controls = ("data-writes", "data-upload", "data-new-folder", "Rename folder")
    folder, file = theirs.get(tree["mid"]).text, theirs.get(tree["in_mid"]).text
    assert [word for word in controls if word in folder] == []
    assert 'href="/shared"' in folder
    assert ">Top<" not in folder
    assert [deed for deed in ("name", "folder", "trash") if f"{tree['in_mid']}/{deed}" in file] == []
    assert ">Share<" not in file
    assert "Shared directly on the folder" in file
    assert "Mira" in file
    refused = theirs.post(f"{tree['mid']}/grants", data={**form, "csrf_token": csrf_of(folder)})
    assert refused.status_code == 403
    mine.post(f"{tree['mid']}/grants", data={**form, "level": "editor"})
    folder, file = theirs.get(tree["mid"]).text, theirs.get(tree["in_mid"]).text
    assert [word for word in controls if word not in folder] == []
    assert "data-restores" not in folder
    renamed = theirs.post(f"{tree['in_mid']}/name", data={"csrf_token": csrf_of(file), "name": "new.txt"})
    assert renamed.location == tree["mid"]
    token = csrf_of(mine.get("/account").text)
    gone = {"csrf_token": token, "user_id": str(other_vault.actor.uuid)}
    assert mine.post(f"{tree['mid']}/grants/removal", data=gone).location == f"{tree['mid']}/access"
    assert theirs.get(tree["mid"]).status_code == 404


def test_a_file_that_is_shared_alone_leads_back_to_what_is_shared(
    vault: Vault, other_vault: Vault, tree: dict[str, str], browsers: tuple[FlaskClient, FlaskClient]
) -> None:
    _mine, theirs = browsers
    share(vault, tree["in_mid"], other_vault, "editor")
    page = theirs.get(tree["in_mid"]).text
    assert 'href="/shared"' in page
    assert ">Mid<" not in page
    assert f"{tree['in_mid']}/folder" not in page, "there is nowhere to move it"
    token = csrf_of(page)
    renamed = theirs.post(f"{tree['in_mid']}/name", data={"csrf_token": token, "name": "new.txt"})
    assert renamed.location == "/shared"
    assert theirs.post(f"{tree['in_mid']}/trash", data={"csrf_token": token}).location == "/shared"
