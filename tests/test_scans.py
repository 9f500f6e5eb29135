"""Viruses: nothing is shared before it was found clean, nobody opens what is infected, and no answer is no pass."""

import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update

from tests import clamd
from tests.clamd import EICAR, NAME, Clamd, Mood
from tests.conftest import make_settings
from tests.letters import ordered
from tests.test_grants import share
from tests.vault import Vault, good, problem
from webapp.config import ConfigurationError, current_settings, use_settings
from webapp.db import db, transaction
from webapp.errors import TooLarge, Unavailable
from webapp.infra import scanner
from webapp.infra.clock import now
from webapp.models.audit import AuditEntry
from webapp.models.files import Blob, File
from webapp.models.jobs import Job
from webapp.policies import Actor
from webapp.services import health, previews, scans
from webapp.services.jobs import Hopeless

Run = Callable[[], int]


@dataclass
class Work:
    """A job in the hands of its function."""

    args: dict[str, Any] = field(default_factory=dict)

    def progress(self, percent: float) -> None:
        """Nobody looks."""


@pytest.fixture
def scanner_there(app: Flask) -> Iterator[Clamd]:
    before = current_settings()
    with clamd.running() as running:
        use_settings(before.model_copy(update={"clamav_url": running.url}))
        yield running
    use_settings(before)


@pytest.fixture
def office(app: Flask, admin: Actor, bearer: Callable[[Actor], dict[str, str]]) -> Vault:
    return Vault(app, bearer(admin), admin)


def scan_of(view: Any) -> dict[str, Any]:
    file = db.session.scalars(select(File).where(File.uuid == UUID(view["id"]))).one()
    args = {"file_id": file.id, "number": file.number}
    db.session.rollback()
    return args


def blob_of(view: Any) -> Blob:
    db.session.rollback()
    return db.session.scalars(select(Blob).where(Blob.sha256 == view["sha256"])).one()


def events() -> list[str]:
    found = db.session.scalars(select(AuditEntry.event).order_by(AuditEntry.id)).all()
    db.session.rollback()
    return [event for event in found if event in {"file.infected", "file.cleared"}]


def jobs_of(vault: Vault, view: Any) -> dict[str, Any]:
    return {job["name"]: job for job in vault.every("/jobs", limit=100) if job["target_id"] == view["id"]}


# The protocol ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["tcp", "unix"])
def test_bytes_arrive_whole_in_chunks_and_the_answer_is_understood(way: str, tmp_path: Path) -> None:
    with clamd.running(tmp_path / "clamd.ctl" if way == "unix" else None) as running:
        assert scanner.scan(running.url, [b"", b"a" * 700_000, b"b"]) is None
        assert running.seen == [b"a" * 700_000 + b"b"]
        assert max(running.chunks) <= scanner.CHUNK
        assert scanner.scan(running.url, []) is None
        assert scanner.scan(running.url, [EICAR[:10], EICAR[10:]]) == NAME
        assert scanner.version(running.url).startswith("ClamAV 1.4.2/27500")


@pytest.mark.parametrize("mood", ["hangs", "rubbish", "hangs up", "endless", "hangs after ping", "error"])
def test_no_clear_answer_is_unavailable(mood: Mood, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PING_SECONDS", "SEND_SECONDS", "REPLY_SECONDS"):
        monkeypatch.setattr(scanner, name, 0.2)
    with clamd.running() as running:
        running.mood = mood
        with pytest.raises(Unavailable):
            scanner.scan(running.url, [b"text"])
    with pytest.raises(Unavailable):
        scanner.scan(running.url, [b"text"])


def test_what_is_larger_than_its_limit_is_said_so_however_much_is_left() -> None:
    with clamd.running() as running:
        running.limit = 1_000_000
        with pytest.raises(TooLarge):
            scanner.scan(running.url, (b"x" * 100_000 for _ in range(200)))


def test_a_fault_of_whoever_gives_the_bytes_is_not_the_scanners() -> None:
    def broken() -> Iterator[bytes]:
        yield b"x"
        raise OSError("the disk")

    with clamd.running() as running, pytest.raises(OSError, match="the disk"):
        scanner.scan(running.url, broken())


@pytest.mark.parametrize("url", ["tcp://", "http://host:1", "unix:", "unix://host/path", "tcp://host:0", "tcp://h:x"])
def test_an_address_that_is_none_is_named_at_the_start(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="CLAMAV_URL"):
        make_settings(tmp_path, CLAMAV_URL=url)


# What follows ---------------------------------------------------------------------------------------------------------


def test_a_shared_file_opens_for_others_once_it_was_found_clean(
    vault: Vault, other_vault: Vault, office: Vault, scanner_there: Clamd, run_jobs: Run
) -> None:
    view = vault.upload("plan.txt", b"the plan")
    share(vault, f"/files/{view['id']}", other_vault)
    assert other_vault.get(f"/files/{view['id']}")["name"] == "plan.txt"
    for somebody in (other_vault, office):
        answer = somebody.content(view["id"])
        problem(answer, 423, "being_checked")
        assert answer.headers["Retry-After"] == "30"
    assert vault.content(view["id"]).data == b"the plan"
    run_jobs()
    assert other_vault.content(view["id"]).data == office.content(view["id"]).data == b"the plan"
    assert scanner_there.seen == [b"the plan"]
    twin = other_vault.upload("same.txt", b"the plan")
    share(other_vault, f"/files/{twin['id']}", vault)
    assert vault.content(twin["id"]).data == b"the plan", "the same content was found clean before"
    run_jobs()
    assert len(scanner_there.seen) == 1
    assert events() == []


def test_no_text_is_searched_for_before_it_was_found_clean_nor_that_of_a_virus(
    vault: Vault, other_vault: Vault, scanner_there: Clamd, run_jobs: Run
) -> None:
    view = vault.upload("plan.txt", b"the secret harbour")
    share(vault, f"/files/{view['id']}", other_vault)
    vault.upload("game.txt", EICAR)
    with transaction():
        db.session.execute(update(Job).where(Job.name == "files.scan").values(run_at=now() + timedelta(hours=1)))
    run_jobs()
    assert other_vault.get("/search?q=harbour")["items"] == vault.get("/search?q=harbour")["items"] == []
    with transaction():
        db.session.execute(update(Job).where(Job.name == "files.scan").values(run_at=now()))
    run_jobs()
    run_jobs()
    assert [hit["name"] for hit in other_vault.get("/search?q=harbour")["items"]] == ["plan.txt"]
    assert vault.get("/search?q=antivirus")["items"] == []


def test_nobody_opens_an_infected_file_and_its_owner_can_delete_it(
    vault: Vault, other_vault: Vault, office: Vault, scanner_there: Clamd, run_jobs: Run
) -> None:
    view = vault.upload("game.exe", EICAR)
    share(vault, f"/files/{view['id']}", other_vault)
    run_jobs()
    for somebody in (vault, other_vault, office):
        problem(somebody.content(view["id"]), 409, "infected")
    packed = zipfile.ZipFile(io.BytesIO(good(vault.call("POST", "/archives", json={"file_ids": [view["id"]]})).data))
    assert packed.namelist() == ["Not in this archive.txt"]
    assert "virus" in packed.read("Not in this archive.txt").decode()
    job = jobs_of(vault, view)["files.scan"]
    assert job["state"] == "failed"
    assert NAME in job["error"]
    assert events() == ["file.infected"]
    (mail,) = [order for order in ordered() if order.template == "file_infected"]
    assert (mail.to.email, mail.variables["name"], mail.variables["virus"]) == (vault.actor.email, "game.exe", NAME)
    (found,) = office.get("/quarantine")["items"]
    assert (found["name"], found["owner"], found["virus"], found["current"]) == ("game.exe", "Mira", NAME, True)
    problem(vault.call("GET", "/quarantine"), 403)
    good(vault.call("DELETE", f"/files/{view['id']}", headers={"If-Match": '"1"'}), 204)
    assert office.get("/quarantine")["items"][0]["trashed"]


def test_a_known_virus_is_told_to_whoever_uploads_it_next(
    vault: Vault, other_vault: Vault, office: Vault, scanner_there: Clamd, run_jobs: Run
) -> None:
    vault.upload("game.exe", EICAR)
    run_jobs()
    twin = other_vault.upload("other.exe", EICAR)
    problem(other_vault.content(twin["id"]), 409, "infected")
    run_jobs()
    assert events() == ["file.infected"] * 2
    told = [order.to.email for order in ordered() if order.template == "file_infected"]
    assert told == [vault.actor.email, other_vault.actor.email]
    assert len(scanner_there.seen) == 1
    pages = [office.get("/quarantine", query_string={"limit": "1"})]
    pages.append(office.get("/quarantine", query_string={"limit": "1", "cursor": pages[0]["next_cursor"]}))
    assert [page["items"][0]["name"] for page in pages] == ["other.exe", "game.exe"]


def test_a_scanner_that_is_down_holds_and_the_file_opens_when_it_is_back(
    vault: Vault, other_vault: Vault, scanner_there: Clamd, run_jobs: Run
) -> None:
    scanner_there.mood = "hangs up"
    view = vault.upload("plan.txt", b"the plan")
    share(vault, f"/files/{view['id']}", other_vault)
    run_jobs()
    job = jobs_of(vault, view)["files.scan"]
    assert (job["state"], job["attempts"]) == ("queued", 1)
    problem(other_vault.content(view["id"]), 423, "being_checked")
    scanner_there.mood = "well"
    with transaction():
        db.session.execute(update(Job).values(run_at=now()))
    run_jobs()
    assert jobs_of(vault, view)["files.scan"]["state"] == "done"
    assert other_vault.content(view["id"]).data == b"the plan"


def test_what_is_too_large_for_the_scanner_stays_with_its_owner(
    vault: Vault, other_vault: Vault, scanner_there: Clamd, run_jobs: Run
) -> None:
    scanner_there.limit = 1000
    view = vault.upload("long.txt", b"x" * 5000)
    share(vault, f"/files/{view['id']}", other_vault)
    run_jobs()
    job = jobs_of(vault, view)["files.scan"]
    assert (job["state"], "larger" in job["error"]) == ("failed", True)
    problem(other_vault.content(view["id"]), 423)
    assert vault.content(view["id"]).status_code == 200


def test_previews_follow_the_same_rules_also_from_the_cache(
    vault: Vault, other_vault: Vault, scanner_there: Clamd, run_jobs: Run
) -> None:
    from tests.test_inspections import PHOTO

    view = vault.upload("photo.jpg", PHOTO)
    share(vault, f"/files/{view['id']}", other_vault)
    args = Work(scan_of(view))
    previews.make_previews(args)
    address = f"/files/{view['id']}/thumbnail?size=64"
    good(vault.call("GET", address))
    problem(other_vault.call("GET", address), 423, "being_checked")
    scans.scan_file(args)
    good(other_vault.call("GET", address))
    scanner_there.signatures = [PHOTO[:100]]
    scans.scan_blobs(Work({"before": now().isoformat()}))
    for somebody in (vault, other_vault):
        problem(somebody.call("GET", address), 409, "infected")


def test_a_scan_anew_finds_what_was_missed_and_frees_what_was_no_virus(
    vault: Vault, scanner_there: Clamd, app: Flask, run_jobs: Run
) -> None:
    vault.upload("game.exe", EICAR)
    plan = vault.upload("plan.txt", b"the plan")
    run_jobs()
    assert scans.scan_blobs(Work()) == {"contents": 0, "infected": 0, "unscannable": 0}, "all is fresh"
    assert [hit["name"] for hit in vault.get("/search?q=the")["items"]] == ["plan.txt"]
    scanner_there.signatures = [b"the plan"]
    answer = app.test_cli_runner().invoke(args=["storage", "rescan"])
    assert answer.exit_code == 0, answer.output
    assert app.test_cli_runner().invoke(args=["storage", "rescan"]).exit_code == 1
    run_jobs()
    problem(vault.content(plan["id"]), 409, "infected")
    assert sorted(events()) == ["file.cleared", "file.infected", "file.infected"]
    assert vault.get("/search?q=the")["items"] == [], "its text was known, and nobody searches in a virus"
    scanner_there.signatures = []
    assert app.test_cli_runner().invoke(args=["storage", "rescan"]).exit_code == 0
    run_jobs()
    run_jobs()
    assert [hit["name"] for hit in vault.get("/search?q=the")["items"]] == ["plan.txt"]


def test_files_from_before_there_was_a_scanner_are_scanned_in_the_night(
    vault: Vault, other_vault: Vault, app: Flask, run_jobs: Run
) -> None:
    view = vault.upload("plan.txt", b"the plan")
    share(vault, f"/files/{view['id']}", other_vault)
    run_jobs()
    assert "files.scan" not in jobs_of(vault, view)
    assert other_vault.content(view["id"]).status_code == 200
    assert scans.scan_blobs(Work())["contents"] == 0
    assert app.test_cli_runner().invoke(args=["storage", "rescan"]).exit_code == 1
    before = current_settings()
    with clamd.running() as running:
        use_settings(before.model_copy(update={"clamav_url": running.url}))
        problem(other_vault.content(view["id"]), 423)
        assert scans.scan_blobs(Work())["contents"] == 1
        assert other_vault.content(view["id"]).status_code == 200
    use_settings(before)


def test_a_job_that_runs_twice_tells_once(vault: Vault, scanner_there: Clamd) -> None:
    view = vault.upload("game.exe", EICAR)
    for _ in range(2):
        with pytest.raises(Hopeless):
            scans.scan_file(Work(scan_of(view)))
    assert events() == ["file.infected"]


def test_pages_say_how_it_stands(
    vault: Vault, office: Vault, signed_in: Callable[[Actor], FlaskClient], scanner_there: Clamd, run_jobs: Run
) -> None:
    view = vault.upload("game.exe", EICAR)
    browser = signed_in(vault.actor)
    assert "Being checked" in browser.get("/files").text
    assert "not checked for viruses yet" in browser.get(f"/files/{view['id']}").text
    run_jobs()
    listed, shown = browser.get("/files").text, browser.get(f"/files/{view['id']}").text
    assert "Infected" in listed
    assert NAME in shown
    assert f"/files/{view['id']}/content" not in listed + shown
    browser = signed_in(office.actor)
    assert NAME in browser.get("/admin/quarantine").text
    assert "ClamAV" in browser.get("/admin/health").text


def test_the_health_of_the_scanner_is_told_and_needed_by_nobody(scanner_there: Clamd) -> None:
    part = health._part("scanner", health._State.inquiries.ask({"scanner": lambda: health._scanner(scanner_there.url)},
                                                               2)["scanner"])  # fmt: skip
    assert (part.state, part.needed) == ("up", False)
    scanner_there.stop()
    with pytest.raises(health.Absent):
        health._scanner(scanner_there.url)
