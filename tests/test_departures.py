"""Leaving the vault: an archive of one's data, another address, deletion, and what is left of a deleted account."""

import io
import json
import zipfile
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import String, cast, select

from tests.conftest import PASSWORD, csrf_of
from tests.letters import link_of, ordered, token_in, token_of, told
from tests.oidc import link
from tests.test_mail import Mailbox, mail_server
from tests.vault import Vault, differences, empty_store, good, problem
from webapp.db import Base, db
from webapp.errors import Missing
from webapp.infra.clock import now
from webapp.infra.crypto import sealed_column
from webapp.models.exports import DataExport
from webapp.models.record import any_state
from webapp.policies import Actor
from webapp.services import departures, exports

Browser = Callable[[Actor], FlaskClient]
RunJobs = Callable[[], int]
CHANGE, CONFIRM, DELETE = "/auth/change-email", "/auth/confirm-email", "/auth/delete-account"
NEW = {"email": "new@harbour.example", "current_password": PASSWORD}


class Work:
    """A job that nobody watches."""

    args: dict[str, Any] = {}
    request_id = None

    def progress(self, percent: float) -> None: ...


def test_a_person_takes_her_data_away(vault: Vault, member: Actor, run_jobs: RunJobs, signed_in: Browser) -> None:
    link(member)
    folder = vault.folder("Quay")
    vault.upload("berths.txt", b"seven", folder_id=folder["id"])
    token = good(vault.call("POST", "/tokens", json={"name": "Script", "scopes": ["files.read"]}), 201).json["token"]
    made = good(vault.call("POST", "/exports"), 201)
    path = made.headers["Location"].removeprefix("/api/v1")
    problem(vault.call("GET", f"{path}/content"), 404)
    problem(vault.call("POST", "/exports"), 409)
    run_jobs()
    assert vault.get(path)["ready"] is True
    assert told(member.email) == ["export_ready"]
    answer = good(vault.call("GET", f"{path}/content"))
    assert (answer.content_type, answer.headers["Cache-Control"]) == ("application/zip", "no-store")
    archive = zipfile.ZipFile(io.BytesIO(answer.data))
    held = {name: json.loads(archive.read(name)) for name in archive.namelist()}
    assert held["account.json"]["account"]["email"] == member.email
    assert [(file["path"], file["size"]) for file in held["files.json"]] == [("/Quay/berths.txt", 5)]
    assert "file.created" in {entry["event"] for entry in held["activity.json"]}
    assert len(held["account.json"]["sign_ins"]) == 1
    assert [one["issuer"] for one in held["account.json"]["linked_accounts"]] == ["https://login.harbour.example"]
    assert [one["name"] for one in held["account.json"]["personal_tokens"]] == ["Script"]
    assert token not in str(held)
    assert PASSWORD not in str(held)
    assert "argon2" not in str(held)
    page = signed_in(member).get("/account/data").text
    assert page.count("Download") == 1


def test_an_archive_is_its_owner_s_encrypted_and_ends(
    vault: Vault, other_vault: Vault, member: Actor, run_jobs: RunJobs
) -> None:
    path = good(vault.call("POST", "/exports"), 201).headers["Location"].removeprefix("/api/v1")
    run_jobs()
    problem(other_vault.call("GET", path), 404)
    problem(other_vault.call("GET", f"{path}/content"), 404)
    assert b"PK" not in bytes(db.session.scalar(any_state(DataExport, sealed_column(DataExport.content))) or b"PK")[:40]
    second = good(vault.call("POST", "/exports"), 201).headers["Location"].removeprefix("/api/v1")
    problem(vault.call("GET", path), 404)
    run_jobs()
    with time_machine.travel(now() + exports.KEPT, tick=True):
        with pytest.raises(Missing):
            exports.open_export(member, UUID(second.rpartition("/")[2]))
        assert exports.sweep_exports() == 2


def test_a_new_address_is_proven_by_its_mail_and_the_old_one_told(
    client: FlaskClient, member: Actor, signed_in: Browser, run_jobs: RunJobs
) -> None:
    browser, box = signed_in(member), Mailbox()
    form = {**NEW, "csrf_token": csrf_of(browser.get("/account/email").text)}
    wrong = browser.post("/account/email", data={**form, "current_password": "not-my-password"})
    assert (wrong.status_code, "This is not your password" in wrong.text) == (422, True)
    with mail_server(box):
        assert browser.post("/account/email", data=form).status_code == 302
        run_jobs()
    (letter,) = box.kept
    assert letter["To"].addresses[0].addr_spec == NEW["email"]
    assert browser.get("/api/v1/users/me").json["email"] == member.email
    path = link_of(letter).removeprefix("http://127.0.0.1:8000")
    page = good(client.get(path)).text
    answer = client.post("/confirm-email", data={"token": token_in(path), "csrf_token": csrf_of(page)})
    assert answer.status_code == 302
    assert browser.get("/api/v1/users/me").json["email"] == NEW["email"], "at once, and she stays signed in"
    assert told(member.email) == ["email_changed"]
    assert client.get(path).status_code == 410


@pytest.mark.parametrize("fault", ["late", "password", "moved", "tampered", "taken"])
def test_a_link_to_another_address_that_is_not_good_changes_nothing(
    vault: Vault, member: Actor, person: Callable[..., Actor], fault: str
) -> None:
    good(vault.call("POST", CHANGE, json=NEW), 204)
    token, shift, code = token_of(ordered()[-1]), timedelta(), 410
    if fault == "late":
        shift = timedelta(hours=24, seconds=1)
    elif fault == "tampered":
        token = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    elif fault == "taken":
        person("new")
        code = 409
    elif fault == "moved":
        good(vault.call("POST", CHANGE, json={**NEW, "email": "first@harbour.example"}), 204)
        good(vault.call("POST", CONFIRM, json={"token": token_of(ordered()[-1])}), 204)
    else:
        change = {"current_password": PASSWORD, "password": "Another-Horse-8-Battery"}
        good(vault.call("POST", "/auth/change-password", json=change), 204)
    with time_machine.travel(now() + shift, tick=True):
        problem(vault.app.test_client().post(f"/api/v1{CONFIRM}", json={"token": token}), code)


def test_asking_for_a_taken_address_tells_its_owner_and_nobody_else(vault: Vault, stranger: Actor) -> None:
    good(vault.call("POST", CHANGE, json={**NEW, "email": stranger.email}), 204)
    assert told(stranger.email) == ["address_taken"]


def test_a_person_deletes_her_account_and_is_out_everywhere(
    client: FlaskClient, member: Actor, admin: Actor, signed_in: Browser
) -> None:
    browser, other = signed_in(member), signed_in(member)
    form = {"csrf_token": csrf_of(browser.get("/account/data").text)}
    wrong = browser.post("/account/removal", data={**form, "current_password": "not-my-password"})
    assert (wrong.status_code, "This is not your password" in wrong.text) == (422, True)
    answer = browser.post("/account/removal", data={**form, "current_password": PASSWORD})
    assert (answer.status_code, answer.location) == (302, "/sign-in")
    assert [each.get("/api/v1/users/me").status_code for each in (browser, other)] == [401, 401]
    problem(client.post("/api/v1/auth/login", json={"email": member.email, "password": PASSWORD}), 401)
    assert told(member.email) == ["account_deleted"]


def test_the_last_administrator_cannot_leave(
    app: Flask, admin: Actor, bearer: Callable[[Actor], dict[str, str]]
) -> None:
    office = Vault(app, bearer(admin), admin)
    problem(office.call("POST", DELETE, json={"current_password": PASSWORD}), 409, "last_admin")
    assert office.get("/users/me")["email"] == admin.email


def test_of_an_erased_account_nothing_personal_is_left(
    vault: Vault, member: Actor, stranger: Actor, admin: Actor, run_jobs: RunJobs
) -> None:
    link(member)
    folder = vault.folder("Mira's boats")
    vault.upload("mira.txt", b"mine", folder_id=folder["id"])
    vault.upload("shared.txt", b"also theirs")
    good(vault.call("POST", "/exports"), 201)
    run_jobs()
    good(vault.call("POST", DELETE, json={"current_password": PASSWORD}), 204)
    run_jobs()
    assert departures.erase_accounts(Work()) == {"erased": 0, "left": 0}
    with time_machine.travel(now() + timedelta(days=30, seconds=1), tick=True):
        assert departures.erase_accounts(Work()) == {"erased": 1, "left": 0}
        assert departures.erase_accounts(Work()) == {"erased": 0, "left": 0}
    assert differences() == []
    assert db.session.execute(select(Base.metadata.tables["identities"].c.id)).all() == []
    kept = {"jobs", "audit_entries"}  # those go with their own retention, and name nobody but by number
    for table in Base.metadata.sorted_tables:
        columns = [column for column in table.columns if isinstance(column.type, String)]
        for row in db.session.execute(select(*columns)) if columns and table.name not in kept else ():
            assert "mira" not in " ".join(map(str, row)).lower(), table.name
    row = db.session.execute(select(cast(Base.metadata.tables["users"].c.name, String))).scalars().all()
    assert sorted(row) == ["Ana", departures.NOBODY, "Stranger"]


def test_an_account_that_is_restored_is_not_erased(
    app: Flask, vault: Vault, member: Actor, admin: Actor, bearer: Callable[[Actor], dict[str, str]]
) -> None:
    empty_store()
    vault.upload("mine.txt", b"mine")
    good(vault.call("POST", DELETE, json={"current_password": PASSWORD}), 204)
    office = Vault(app, bearer(admin), admin)
    good(office.call("POST", f"/users/{member.uuid}/restoration"))
    with time_machine.travel(now() + timedelta(days=31), tick=True):
        assert departures.erase_accounts(Work()) == {"erased": 0, "left": 0}
    again = Vault(app, bearer(member), member)
    assert [file["name"] for file in again.get("/files")["items"]] == ["mine.txt"]
