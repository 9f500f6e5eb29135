"""Public links as their makers and administrators see them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from tests.conftest import csrf_of
from tests.vault import Vault, good, problem
from webapp.db import db
from webapp.infra.clock import now
from webapp.models.audit import AuditEntry
from webapp.models.shares import Share
from webapp.policies import Actor


@pytest.fixture
def office(app: Flask, admin: Actor, bearer: Callable[[Actor], dict[str, str]]) -> Vault:
    return Vault(app, bearer(admin), admin)


def link(owner: Vault, status: int = 201, **wish: Any) -> Any:
    return good(owner.call("POST", "/shares", json=wish), status).json


def happened() -> list[str]:
    found = select(AuditEntry.event).where(AuditEntry.event.startswith("share.")).order_by(AuditEntry.id)
    events = list(db.session.scalars(found))
    db.session.rollback()
    return events


def in_days(number: int) -> str:
    return (now() + timedelta(days=number)).isoformat()


def test_a_link_is_made_shown_changed_and_removed(vault: Vault) -> None:
    file = vault.upload("plan.txt")
    made = link(
        vault, file_id=file["id"], label="For Ada", password="tell nobody", download_limit=3, expires_at=in_days(3)
    )
    assert made["url"].startswith("http://localhost/s/") or "/s/" in made["url"]
    assert (made["name"], made["state"], made["has_password"], made["downloads"]) == ("plan.txt", "active", True, 0)
    assert vault.get(f"/shares/{made['id']}") == made
    assert vault.get("/shares")["items"] == [made]
    assert vault.get("/shares", query_string={"file_id": file["id"]})["items"] == [made]
    changed = good(vault.change(f"/shares/{made['id']}", 1, password=None, download_limit=None, label="Ada")).json
    assert (changed["has_password"], changed["download_limit"], changed["label"]) == (False, None, "Ada")
    assert changed["url"] == made["url"]
    problem(vault.change(f"/shares/{made['id']}", 1, label="Stale"), 412)
    good(vault.call("DELETE", f"/shares/{made['id']}"), 204)
    problem(vault.call("GET", f"/shares/{made['id']}"), 404)
    assert vault.get("/shares")["items"] == []
    assert happened() == ["share.created", "share.changed", "share.deleted"]


def test_the_token_lies_nowhere_in_the_plain(vault: Vault) -> None:
    made = link(vault, file_id=vault.upload()["id"], password="tell nobody")
    token = made["url"].rsplit("/", 1)[1]
    assert len(token) == 24
    with db.engine.connect() as connection:
        from sqlalchemy import text

        row = connection.execute(text("SELECT token, token_hash, password_hash FROM shares")).one()
    assert token.encode() not in bytes(row.token)
    assert token not in row.token_hash
    assert row.password_hash.startswith("$argon2id$")


@pytest.mark.parametrize(
    "wish",
    [
        {}, {"file_id": "here", "folder_id": "here"}, {"file_id": "here", "upload_only": True},
        {"file_id": "here", "password": "short"}, {"file_id": "here", "download_limit": 0},
        {"file_id": "here", "expires_at": "2020-01-01T00:00:00Z"}, {"file_id": "here", "label": "x" * 121},
        {"file_id": "here", "recipients": ["nobody"]}, {"file_id": "here", "beyond": 1},
    ],
)  # fmt: skip
def test_a_wish_that_makes_no_sense_is_refused(vault: Vault, wish: dict[str, Any]) -> None:
    here = vault.upload()["id"]
    problem(vault.call("POST", "/shares", json={k: here if v == "here" else v for k, v in wish.items()}), 422)
    assert vault.get("/shares")["items"] == []


def test_only_who_may_share_it_makes_and_sees_links(vault: Vault, other_vault: Vault) -> None:
    folder = vault.folder("Shared")["id"]
    made = link(vault, folder_id=folder)
    path = f"/shares/{made['id']}"

    def grant(level: str) -> None:
        wish = {"email": other_vault.actor.email, "level": level}
        good(vault.call("PUT", f"/folders/{folder}/grants", json=wish))

    problem(other_vault.call("POST", "/shares", json={"folder_id": folder}), 404)
    for method in ("GET", "PATCH", "DELETE"):
        problem(other_vault.call(method, path, **({"json": {"label": "x"}} if method == "PATCH" else {})), 404)
    grant("editor")
    problem(other_vault.call("POST", "/shares", json={"folder_id": folder}), 403, "level")
    problem(other_vault.call("GET", path), 404)
    grant("manager")
    seen = other_vault.get(path)
    assert seen["url"] is None, "its maker alone copies it"
    theirs = link(other_vault, folder_id=folder)
    assert vault.get(f"/shares/{theirs['id']}")["url"] is None
    assert [item["id"] for item in vault.get("/shares")["items"]] == [made["id"]]
    both = vault.get("/shares", query_string={"folder_id": folder})["items"]
    assert [item["id"] for item in both] == [theirs["id"], made["id"]]


def test_revoked_and_revived_and_by_whom(vault: Vault, office: Vault, other_vault: Vault) -> None:
    made = link(vault, file_id=vault.upload()["id"])
    path = f"/shares/{made['id']}"
    assert good(vault.call("POST", f"{path}/revocation")).json["state"] == "revoked"
    assert good(vault.call("POST", f"{path}/revocation")).json["version"] == 2, "once is enough"
    assert good(vault.call("POST", f"{path}/restoration")).json["state"] == "active"
    problem(vault.call("POST", f"/vault{path}/revocation"), 403)
    problem(vault.call("GET", "/vault/shares"), 403)
    assert good(office.call("POST", f"/vault{path}/revocation")).json["revoked_by"] == office.actor.name
    problem(vault.call("POST", f"{path}/restoration"), 403, "revoked_by_another")
    listed = office.get("/vault/shares", query_string={"q": "NOTE", "state": "revoked"})["items"]
    assert [(item["id"], item["url"], item["maker"]) for item in listed] == [(made["id"], None, vault.actor.name)]
    assert office.get("/vault/shares", query_string={"q": "elsewhere"})["items"] == []
    good(office.call("POST", f"/vault{path}/restoration"))
    assert vault.get(path)["state"] == "active"
    assert happened() == ["share.created", *["share.revoked", "share.revived"] * 2]


def test_lists_filter_by_state_page_by_page(vault: Vault) -> None:
    file = vault.upload()["id"]
    ids = [link(vault, file_id=file, label=str(n))["id"] for n in range(5)]
    good(vault.call("POST", f"/shares/{ids[0]}/revocation"))
    with db.session.begin():
        share = db.session.scalars(select(Share).where(Share.label == "1")).one()
        share.expires_at = now() - timedelta(minutes=1)
        full = db.session.scalars(select(Share).where(Share.label == "2")).one()
        full.download_limit = full.downloads = 1
    states = {state: [item["label"] for item in vault.every("/shares", 1, state=state)]
              for state in ("active", "revoked", "expired", "exhausted")}  # fmt: skip
    assert states == {"active": ["4", "3"], "revoked": ["0"], "expired": ["1"], "exhausted": ["2"]}
    assert [item["label"] for item in vault.every("/shares", 2)] == ["4", "3", "2", "1", "0"]


def test_a_token_limited_to_a_folder_makes_no_links(vault: Vault, app: Flask) -> None:
    folder = vault.folder("Mine")["id"]
    made = link(vault, folder_id=folder)
    wish = {"name": "Script", "scopes": ["files.read", "files.share"], "folder_id": folder}
    token = good(vault.call("POST", "/tokens", json=wish), 201).json["token"]
    script = Vault(app, {"Authorization": f"Bearer {token}"}, vault.actor)
    problem(script.call("POST", "/shares", json={"folder_id": folder}), 403, "outside_folder")
    problem(script.call("GET", "/shares"), 403, "outside_folder")
    problem(script.call("GET", f"/shares/{made['id']}"), 403, "outside_folder")


def test_who_acts_as_somebody_else_makes_no_links_and_sees_no_addresses(
    vault: Vault, admin: Actor, signed_in: Callable[[Actor], FlaskClient]
) -> None:
    file = vault.upload()["id"]
    made = link(vault, file_id=file)
    browser = signed_in(admin)
    token = csrf_of(browser.get("/account").text)
    good(browser.post(f"/admin/users/{vault.actor.uuid}/impersonation",
                      data={"csrf_token": token, "reason": "They asked for help"}), 302)  # fmt: skip
    page = good(browser.get("/shares")).text
    assert made["url"] not in page
    assert "note.txt" in page
    answer = browser.post("/shares", data={"csrf_token": csrf_of(page), "file_id": file})
    assert answer.status_code == 403
    assert len(vault.get("/shares")["items"]) == 1


def test_pages_make_change_and_close_a_link(vault: Vault, signed_in: Callable[[Actor], FlaskClient]) -> None:
    file = vault.upload("plan.txt")["id"]
    browser = signed_in(vault.actor)
    access = good(browser.get(f"/files/{file}/access")).text
    form = {"csrf_token": csrf_of(access), "file_id": file, "label": "For Ada", "days": "7", "password": "short",
            "download_limit": "", "recipients": ""}  # fmt: skip
    refused = browser.post("/shares", data=form)
    assert (refused.status_code, "at least 8 characters" in refused.text.lower()) == (422, True)
    made = browser.post("/shares", data={**form, "password": "long enough"})
    assert made.status_code == 302
    page = good(browser.get(made.headers["Location"])).text
    share = vault.get("/shares")["items"][0]
    assert share["url"] in page
    assert (share["label"], share["has_password"]) == ("For Ada", True)
    here = f"/shares/{share['id']}"
    saved = browser.post(here, data={"csrf_token": csrf_of(page), "label": "Ada", "no_password": "true", "days": "0",
                                     "download_limit": "4", "version": "1"})  # fmt: skip
    assert saved.status_code == 302
    share = vault.get(here)
    assert (share["label"], share["has_password"], share["expires_at"], share["download_limit"]) == (
        "Ada",
        False,
        None,
        4,
    )
    good(browser.post(f"{here}/revocation", data={"csrf_token": csrf_of(page)}), 302)
    assert "Revive" in good(browser.get("/shares?state=revoked")).text
    good(browser.post(f"{here}/restoration", data={"csrf_token": csrf_of(page)}), 302)
    assert share["url"] in good(browser.get(f"/files/{file}/access")).text
