"""Removed for good: once, with all versions, the room given back, the bytes swept, and nobody else's touched."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, update

from tests.conftest import csrf_of
from tests.vault import Vault, differences, good, problem, stored_keys, traces
from webapp.config import current_settings, use_settings
from webapp.db import db, transaction
from webapp.infra.clock import now
from webapp.infra.storage import store
from webapp.models.audit import AuditEntry
from webapp.models.files import Blob, File
from webapp.models.placements import Placement
from webapp.services import blobs, purges
from webapp.services.blobs import sweep_blobs

Run = Callable[[], int]


def trash(vault: Vault, name: str, data: bytes = b"hello") -> Any:
    file = vault.upload(name, data)
    good(vault.call("DELETE", f"/files/{file['id']}"), 204)
    return file


def purge(vault: Vault, file: Any, **headers: str) -> Any:
    return vault.call("DELETE", f"/trash/{file['id']}", headers=headers)


def replace(vault: Vault, file: Any, data: bytes) -> None:
    good(vault.call("PUT", f"/files/{file['id']}/content", data=data, content_type="application/octet-stream"))


def charged(vault: Vault) -> int:
    return int(vault.call("GET", "/users/me").status_code == 200 and traces()["charged"])


def whole_after_a_sweep() -> None:
    sweep_blobs(young=-1)
    assert differences() == []


def events(name: str = "file.purged") -> list[UUID]:
    db.session.rollback()
    return list(db.session.scalars(select(AuditEntry.target_uuid).where(AuditEntry.event == name)))


def test_all_versions_go_and_the_room_comes_back(vault: Vault) -> None:
    kept = vault.upload("kept.bin", b"k" * 1000)
    file = vault.upload("a.bin", b"1" * 100)
    for data in (b"2" * 200, b"k" * 1000, b"1" * 100):
        replace(vault, file, data)
    assert charged(vault) == 2400
    good(vault.call("DELETE", f"/files/{file['id']}"), 204)
    good(purge(vault, file), 204)
    assert charged(vault) == 1000
    assert vault.get("/trash")["items"] == []
    problem(purge(vault, file), 404)
    problem(vault.call("POST", f"/files/{file['id']}/restoration"), 404)
    assert events() == [UUID(file["id"])]
    whole_after_a_sweep()
    assert len(stored_keys()) == 1
    assert vault.content(kept["id"]).data == b"k" * 1000


def test_its_history_stays_and_ends(vault: Vault) -> None:
    file = trash(vault, "a.txt")
    good(purge(vault, file), 204)
    rows = db.session.execute(
        select(Placement.name, Placement.deleted, Placement.valid_to).order_by(Placement.id)
    ).all()
    assert [(row.name, row.deleted) for row in rows] == [("a.txt", False), ("a.txt", True)]
    assert None not in [row.valid_to for row in rows]


def test_jobs_that_still_wait_for_it_end_without_a_fault(vault: Vault, run_jobs: Run) -> None:
    file = trash(vault, "a.txt")
    good(purge(vault, file), 204)
    run_jobs()
    assert {job["state"] for job in vault.every("/jobs")} == {"done"}


def test_only_ones_own_trash_can_be_removed_and_only_as_it_was_seen(vault: Vault, other_vault: Vault) -> None:
    live, theirs, mine = vault.upload("live.txt"), trash(other_vault, "theirs.txt"), trash(vault, "mine.txt")
    before = traces()
    problem(purge(vault, live), 404)
    problem(purge(vault, theirs), 404)
    problem(vault.call("DELETE", "/trash/00000000-0000-7000-8000-000000000000"), 404)
    problem(purge(vault, mine, **{"If-Match": '"1"'}), 412)
    assert traces() == before
    good(purge(vault, mine, **{"If-Match": '"2"'}), 204)


def test_twenty_removals_at_once_give_the_room_back_once(vault: Vault) -> None:
    vault.upload("kept.bin", b"k" * 500)
    file = trash(vault, "a.bin", b"x" * 300)
    with ThreadPoolExecutor(10) as pool:
        wishes = [pool.submit(vault.twin().call, "DELETE", f"/trash/{file['id']}") for _ in range(20)]
        answers = [wish.result().status_code for wish in wishes]
    assert sorted(answers) == [204] + [404] * 19
    assert charged(vault) == 500
    assert len(events()) == 1
    whole_after_a_sweep()


def test_a_file_is_either_restored_or_removed(vault: Vault) -> None:
    files = [trash(vault, f"{number}.bin", bytes([number]) * 50) for number in range(12)]
    with ThreadPoolExecutor(8) as pool:
        removing = [pool.submit(vault.twin().call, "DELETE", f"/trash/{file['id']}") for file in files]
        restoring = [pool.submit(vault.twin().call, "POST", f"/files/{file['id']}/restoration") for file in files]
        pairs = zip(removing, restoring, strict=True)
        answers = [(one.result().status_code, two.result().status_code) for one, two in pairs]
    assert set(answers) <= {(204, 404), (404, 200)}
    assert charged(vault) == 50 * sum(answer == (404, 200) for answer in answers)
    whole_after_a_sweep()


def test_references_and_room_are_right_while_two_empty_and_two_upload_the_same_bytes(
    vault: Vault, other_vault: Vault
) -> None:
    contents = [bytes([number]) * 4000 for number in range(4)]
    faults: list[str] = []

    def upload(one: Vault, mark: str) -> None:
        for number in range(24):
            view = good(one.try_upload(f"{mark} {number}.bin", contents[number % 4]), 201).json
            replace(one, view, contents[(number + 1) % 4])
            if number % 3:
                good(one.call("DELETE", f"/files/{view['id']}"), 204)

    def empty(one: Vault, over: threading.Event) -> None:
        while not over.is_set():
            answer = one.call("DELETE", "/trash")
            if answer.status_code != 200:
                faults.append(answer.text)
            sweep_young(one)

    def sweep_young(one: Vault) -> None:
        """What the sweep does to stored bytes, however young; drafts of running uploads are not for it."""
        with one.app.app_context():
            for key in [key for key in store().keys_older_than(-1) if not key.startswith("drafts/")]:
                blobs._sweep_unless_busy(key, -1)

    over = threading.Event()
    with ThreadPoolExecutor(4) as pool:
        emptying = [pool.submit(empty, one.twin(), over) for one in (vault, other_vault)]
        uploading = [pool.submit(upload, one.twin(), mark) for one, mark in ((vault, "a"), (other_vault, "b"))]
        try:
            for task in uploading:
                task.result()
        finally:
            over.set()
        for task in emptying:
            task.result()
    assert faults == []
    for one in (vault, other_vault):
        good(one.call("DELETE", "/trash"))
        assert len(one.every("/files")) == 8
    whole_after_a_sweep()
    with db.engine.connect() as connection:
        assert connection.execute(select(func.sum(Blob.refcount))).scalar() == 2 * 8 * 2


def test_a_large_trash_is_emptied_on_by_a_job_which_spares_what_came_later(
    vault: Vault, run_jobs: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purges, "AT_ONCE", 3)
    monkeypatch.setattr(purges, "BATCH", 2)
    for number in range(8):
        trash(vault, f"{number}.bin", bytes([number]) * 10)
    run_jobs()
    assert good(vault.call("DELETE", "/trash")).json == {"files": 3, "bytes": 30, "continues": True}
    later = trash(vault, "later.bin", b"l" * 10)
    run_jobs()
    assert [item["id"] for item in vault.get("/trash")["items"]] == [later["id"]]
    (job,) = [job for job in vault.every("/jobs") if job["name"] == "upkeep.empty_trash"]
    assert (job["state"], job["result"]) == ("done", {"files": 5, "bytes": 50})
    actors = db.session.scalars(select(AuditEntry.actor_id).where(AuditEntry.event == "file.purged")).all()
    assert actors == [vault.actor.id] * 8
    assert good(vault.call("DELETE", "/trash")).json == {"files": 1, "bytes": 10, "continues": False}
    assert good(vault.call("DELETE", "/trash")).json == {"files": 0, "bytes": 0, "continues": False}
    whole_after_a_sweep()


class Quiet:
    """A job that nobody watches."""

    args: dict[str, Any] = {}
    request_id = None

    def progress(self, percent: float) -> None:
        assert 0 <= percent < 100


@pytest.mark.parametrize(
    ("days", "left"), [(30, ["young.txt"]), (0, ["old.txt", "young.txt"]), (40, ["old.txt", "young.txt"])]
)
def test_the_trash_of_everybody_goes_after_its_days_and_never_with_zero(
    vault: Vault, other_vault: Vault, days: int, left: list[str]
) -> None:
    for one in (vault, other_vault):
        old = trash(one, "old.txt", b"old")
        trash(one, "young.txt", b"young")
        with transaction():
            row = update(File).where(File.uuid == UUID(old["id"]))
            db.session.execute(row.values(deleted_at=now() - timedelta(days=31)))
    before = current_settings()
    use_settings(before.model_copy(update={"trash_retention_days": days}))
    try:
        done = purges.purge_old(Quiet())
    finally:
        use_settings(before)
    assert done["files"] == 2 * (2 - len(left))
    for one in (vault, other_vault):
        assert sorted(item["name"] for item in one.get("/trash")["items"]) == left
    whole_after_a_sweep()


def test_a_person_removes_one_by_typing_its_name_and_all_by_their_number(vault: Vault, signed_in: Any) -> None:
    one, _, _ = (trash(vault, name) for name in ("a “b”.txt", "c.txt", "d.txt"))
    browser = signed_in(vault.actor)
    listed = browser.get("/trash").text
    assert f"/trash/{one['id']}/removal" in listed
    page = browser.get(f"/trash/{one['id']}/removal")
    assert "cannot be undone" in page.text
    form = {"csrf_token": csrf_of(page.text), "version": "2"}
    wrong = browser.post(f"/trash/{one['id']}/removal", data={**form, "name": "a.txt"})
    assert wrong.status_code == 422
    assert "Type the name as it stands above." in wrong.text
    assert browser.post(f"/trash/{one['id']}/removal", data={**form, "name": "a “b”.txt"}).status_code == 302
    for typed in ("", "3", "many"):
        assert (
            browser.post("/trash/removal", data={"csrf_token": form["csrf_token"], "count": typed}).status_code == 422
        )
    assert len(vault.get("/trash")["items"]) == 2
    assert browser.post("/trash/removal", data={"csrf_token": form["csrf_token"], "count": "2"}).status_code == 302
    assert vault.get("/trash")["items"] == []
    assert "2 files were removed for good." in browser.get("/trash").text
