"""The audit trail as administrators see it: found by its filters, taken away, checked on demand, for nobody else."""

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event as database_event

from tests.conftest import csrf_of
from tests.vault import Vault, good, problem
from webapp.db import db
from webapp.infra.clock import now
from webapp.infra.ids import first_id_at, next_id
from webapp.policies import Actor
from webapp.services import seals

RunJobs = Callable[[], int]


@pytest.fixture
def office(app: Flask, admin: Actor, bearer: Callable[[Actor], dict[str, str]]) -> Vault:
    return Vault(app, bearer(admin), admin)


def entries(office: Vault, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = office.get(f"/audit?{query}")["items"]
    return found


def test_an_entry_says_who_did_what_to_what_and_what_changed(office: Vault, vault: Vault) -> None:
    folder = vault.folder("Harbour")
    good(vault.call("PATCH", f"/folders/{folder['id']}", json={"name": "Quay"}))
    newest = entries(office, "event=folder.renamed")[0]
    assert newest["actor"]["email"] == vault.actor.email
    assert (newest["target_type"], newest["target_id"], newest["target_name"]) == ("folder", folder["id"], "Quay")
    assert newest["changes"] == {"name": ["Harbour", "Quay"]}
    assert newest["request_id"]
    assert newest["seal"] is None
    seals.seal_entries()
    assert entries(office, "event=folder.renamed")[0]["seal"] > 0


def test_filters_find_by_event_kind_person_object_request_and_time(office: Vault, vault: Vault) -> None:
    started = now() - timedelta(seconds=1)
    folder = vault.folder("Harbour")
    made = entries(office, f"target_id={folder['id']}")
    assert [entry["event"] for entry in made] == ["folder.created"]
    assert entries(office, f"request_id={made[0]['request_id']}") == made
    assert made[0] in entries(office, "event=folder.*")
    assert entries(office, f"event=file.*&actor_id={vault.actor.uuid}") == []
    assert made[0] in entries(office, f"actor_id={vault.actor.uuid}&event=folder.created")
    later = (now() + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    assert entries(office, f"since={later}") == []
    assert made[0] in entries(office, f"since={started.isoformat().replace('+00:00', 'Z')}&until={later}")
    assert entries(office, "event=nothing.known") == []
    today = now().date().isoformat()  # the vault's zone is UTC here
    assert made[0] in entries(office, f"since={today}&until={today}")
    assert entries(office, f"until={(now() - timedelta(days=1)).date().isoformat()}") == []
    assert made[0] in entries(office, "since=0001-01-01&until=9999-12-31")


@pytest.mark.parametrize(
    "query", ["event=file", "event=*", "since=yesterday", "actor_id=me", "colour=red", "cursor=x", "limit=0"]
)
def test_a_filter_that_means_nothing_is_refused(office: Vault, query: str) -> None:
    problem(office.call("GET", f"/audit?{query}"), 422)


def test_pages_go_on_where_the_last_ended_though_entries_are_added(office: Vault, vault: Vault) -> None:
    for number in range(5):
        vault.folder(f"Folder {number}")
    first = office.get("/audit?event=folder.created&limit=2")
    vault.folder("In between")
    second = office.get(f"/audit?event=folder.created&limit=2&cursor={first['next_cursor']}")
    names = [entry["changes"]["name"][1] for entry in first["items"] + second["items"]]
    assert names == ["Folder 4", "Folder 3", "Folder 2", "Folder 1"]


def test_a_page_takes_few_statements_however_many_entries(office: Vault, vault: Vault) -> None:
    for number in range(30):
        vault.folder(f"Folder {number}")
    entries(office, "limit=5")
    counts = []
    for limit in (5, 30):
        statements: list[str] = []
        hear = lambda *args: statements.append(args[2])  # noqa: E731, B023
        database_event.listen(db.engine, "before_cursor_execute", hear)
        entries(office, f"limit={limit}&event=folder.created")
        database_event.remove(db.engine, "before_cursor_execute", hear)
        counts.append(len(statements))
    assert max(counts) <= 4


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_the_trail_is_taken_away_whole_and_that_is_an_entry_too(office: Vault, vault: Vault, form: str) -> None:
    for number in range(7):
        vault.folder(f"Folder {number}")
    answer = good(office.call("GET", f"/audit/export?format={form}&event=folder.created&actor_id={vault.actor.uuid}"))
    text = answer.get_data(as_text=True)
    rows: list[dict[str, Any]] = (
        list(csv.DictReader(io.StringIO(text))) if form == "csv" else [json.loads(line) for line in text.splitlines()]
    )
    assert [row["event"] for row in rows] == ["folder.created"] * 7
    assert f'filename="audit-{now():%Y-%m-%d}.{form}"' in answer.headers["Content-Disposition"]
    told = entries(office, "event=audit.exported")[0]
    assert told["changes"]["format"] == [None, form]
    assert told["actor"]["id"] == str(office.actor.uuid)


def test_more_entries_than_one_read_holds_are_all_taken_away(
    office: Vault, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.services.audit.BATCH", 3)
    for number in range(8):
        vault.folder(f"Folder {number}")
    text = good(office.call("GET", "/audit/export?event=folder.created")).get_data(as_text=True)
    names = [json.loads(line)["changes"]["name"][1] for line in text.splitlines()]
    assert names[:8] == [f"Folder {number}" for number in reversed(range(8))]


@pytest.mark.parametrize("name", ['=HYPERLINK("x")', "+1", "-1", "@SUM(A1)"])
def test_no_spreadsheet_computes_what_somebody_called_a_folder(office: Vault, vault: Vault, name: str) -> None:
    vault.folder(name)
    text = good(office.call("GET", "/audit/export?format=csv&event=folder.created")).get_data(as_text=True)
    newest = next(csv.DictReader(io.StringIO(text)))
    assert newest["target"] == f"'{name}"


def test_the_chain_is_checked_on_demand_and_the_page_says_what_was_found(
    office: Vault, admin: Actor, signed_in: Callable[[Actor], FlaskClient], run_jobs: RunJobs
) -> None:
    browser = signed_in(admin)
    assert "Never checked yet" in browser.get("/admin/audit").text
    assert office.get("/audit/seal")["state"] is None
    job = good(office.call("POST", "/audit/checks"), 201).json
    problem(office.call("POST", "/audit/checks"), 409)
    run_jobs()
    trail = office.get("/audit/seal")
    assert (trail["state"], trail["check_id"], trail["found"]) == ("done", job["id"], None)
    assert trail["links"] > 0
    assert [entry["event"] for entry in entries(office, "event=audit.*")] == ["audit.check_asked"]
    page = browser.get("/admin/audit").text
    assert "Whole" in page
    again = browser.post("/admin/audit/checks", data={"csrf_token": csrf_of(page)})
    assert again.location.startswith("/jobs/")


def test_the_page_shows_names_as_text_and_keeps_its_filters_in_the_address(
    vault: Vault, admin: Actor, signed_in: Callable[[Actor], FlaskClient]
) -> None:
    vault.folder("<img src=x onerror=alert(1)>")
    browser = signed_in(admin)
    page = browser.get("/admin/audit?event=folder.created&since=&until=").text
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page
    assert re.search(r'<option value="folder.created"\s+selected', page)
    file = browser.get("/admin/audit/export?event=folder.created&format=csv")
    assert file.mimetype == "text/csv"


def test_only_who_may_read_the_trail_sees_that_there_is_one(vault: Vault) -> None:
    for path in ("/audit", "/audit/export", "/audit/seal"):
        problem(vault.call("GET", path), 403)
    problem(vault.call("POST", "/audit/checks"), 403)


def test_ids_of_a_moment_lie_between_those_before_and_after(app: Flask) -> None:
    before = next_id()
    moment = now() + timedelta(milliseconds=5)
    assert before < first_id_at(moment)
    assert first_id_at(moment - timedelta(minutes=1)) < before
    assert first_id_at(moment.replace(year=1)) == 0
