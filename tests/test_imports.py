"""Imports of zips: whole trees come in once, and what a hostile zip tries is refused in words, nothing half done."""

import io
import stat
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.vault import Vault, differences, empty_store, good, problem
from webapp.policies import Actor
from webapp.services import bundles, imports

Run = Callable[[], int]
Wish = dict[str, bytes | None]


def zipped(parts: Wish, how: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of these names and contents; None makes a folder."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", how) as archive:
        for name, data in parts.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = how
            info.external_attr = (0o40755 if data is None else 0o100644) << 16
            archive.writestr(info, data or b"")
    return out.getvalue()


def order(vault: Vault, data: bytes, name: str = "Harbour.zip", **where: Any) -> Any:
    file = vault.upload(name, data)
    return vault.call("POST", "/imports", json={"file_id": file["id"], **where})


def tree(vault: Vault, folder: str | None = None, above: str = "") -> dict[str, Any]:
    """Paths of everything below a folder, with the contents of files."""
    found: dict[str, Any] = {}
    for each in vault.every("/folders", **({"parent_id": folder} if folder else {})):
        found[f"{above}{each['name']}/"] = None
        found |= tree(vault, each["id"], f"{above}{each['name']}/")
    for each in vault.every("/files", folder_id=folder or "root"):
        found[above + each["name"]] = vault.content(each["id"]).data
    return found


@pytest.fixture(autouse=True)
def clean() -> None:
    empty_store()


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_a_zip_becomes_a_folder_with_all_that_is_in_it(vault: Vault, run_jobs: Run) -> None:
    data = zipped({"Quay/plan.txt": b"plan", "tide.txt": b"tide", "Empty/": None, "__MACOSX/._tide.txt": b"x",
                   "a/b/c/d.txt": b"deep", "Ünï 港.txt": b"name"})  # fmt: skip
    ordered = good(order(vault, data), 202).json
    assert (ordered["files"], ordered["folders"], ordered["bytes"]) == (4, 5, 16)
    run_jobs()
    job = vault.get(f"/jobs/{ordered['job_id']}")
    assert (job["state"], job["result"]) == ("done", {"files": 4, "folders": 5, "skipped": 1})
    assert {k: v for k, v in tree(vault).items() if k.startswith("Harbour/")} == {
        "Harbour/": None, "Harbour/Quay/": None, "Harbour/Quay/plan.txt": b"plan", "Harbour/tide.txt": b"tide",
        "Harbour/Empty/": None, "Harbour/a/": None, "Harbour/a/b/": None, "Harbour/a/b/c/": None,
        "Harbour/a/b/c/d.txt": b"deep", "Harbour/Ünï 港.txt": b"name",
    }  # fmt: skip
    assert differences() == []


def test_what_was_downloaded_as_an_archive_comes_back_as_it_was(vault: Vault, run_jobs: Run) -> None:
    top = vault.folder("Top")
    vault.upload("a.txt", b"a", folder_id=vault.folder("In", top["id"])["id"])
    archive = good(vault.call("GET", f"/folders/{top['id']}/archive")).data
    goal = vault.folder("Back")
    good(order(vault, archive, folder_id=goal["id"]), 202)
    run_jobs()
    assert tree(vault, goal["id"])["Harbour/Top/In/a.txt"] == b"a"


def test_taken_names_are_numbered_never_replaced(vault: Vault, run_jobs: Run) -> None:
    vault.folder("Harbour")
    data = zipped({"a": b"file", "a/b": b"inside", "é.txt": b"1", "e\u0301.txt": b"2"})
    good(order(vault, data), 202)
    run_jobs()
    found = {k: v for k, v in tree(vault).items() if k.startswith("Harbour (1)/") and v is not None}
    assert sorted(found.values()) == [b"1", b"2", b"file", b"inside"]
    assert found["Harbour (1)/a/b"] == b"inside"


@pytest.mark.parametrize(
    ("name", "why"),
    [("../up.txt", "leads out"), ("a/../../up.txt", "leads out"), ("/etc/passwd", "leads out"),
     ("C:\\boot.ini", "leads out"), ("..\\up.txt", "leads out"), ("a\nb.txt", "control"), ("x" * 300, "too long"),
     ("d/" * 70 + "deep.txt", "too deep")],
)  # fmt: skip
def test_names_that_lead_elsewhere_or_cannot_be_stored_are_refused_at_once(vault: Vault, name: str, why: str) -> None:
    answer = problem(order(vault, zipped({"fine.txt": b"", name: b"x"})), 422, "unfit_zip")
    assert why in answer["detail"]
    assert set(tree(vault)) == {"Harbour.zip"}


def test_links_and_encrypted_entries_are_refused(vault: Vault) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "link" in problem(order(vault, out.getvalue()), 422, "unfit_zip")["detail"]
    locked = bytearray(zipped({"secret.txt": b"x"}))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(mark) + at] |= 1
    assert "encrypted" in problem(order(vault, bytes(locked), "locked.zip"), 422, "unfit_zip")["detail"]


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\x05\x06" + b"\xff" * 18, zipped({"a": b"x" * 5000})[:-30]])
def test_what_is_no_zip_is_refused(vault: Vault, data: bytes) -> None:
    problem(order(vault, data), 422, "unfit_zip")


def test_bombs_are_refused_before_they_go_off(vault: Vault) -> None:
    vault.upload("warm.txt")
    bomb = zipped({f"{n}.bin": bytes(32 * 1024**2) for n in range(8)})
    many = zipped(dict.fromkeys((str(n) for n in range(bundles.MOST + 1)), b""))
    long = io.BytesIO()
    with zipfile.ZipFile(long, "w") as archive:
        for number in range(100):
            archive.writestr(f"{number}" + "x/" * 30_000, b"")
    for number, (data, why) in enumerate(
        ((bomb, "times its size"), (many, "more than"), (long.getvalue(), "too long"))
    ):
        before, began = resident(), time.monotonic()
        answer = problem(order(vault, data, f"{number}.zip"), 422, "unfit_zip")
        assert why in answer["detail"]
        assert time.monotonic() - began < 5
        assert resident() - before < 100 * 1024**2


def test_a_zip_that_lies_about_sizes_or_sums_fails_as_a_job_and_leaves_nothing(vault: Vault, run_jobs: Run) -> None:
    whole = zipped({"a.txt": b"fine", "b.txt": b"much more than it says"}, zipfile.ZIP_STORED)
    lying = bytearray(whole)
    at = lying.rindex(b"PK\x01\x02")
    lying[at + 16 : at + 20] = struct.pack("<L", 1)  # another checksum
    short = bytearray(whole)
    short[at + 20 : at + 28] = struct.pack("<LL", 4, 4)
    for number, data in enumerate((lying, short)):
        ordered = good(order(vault, bytes(data), f"{number}.zip"), 202).json
        run_jobs()
        job = vault.get(f"/jobs/{ordered['job_id']}")
        assert job["state"] == "failed"
        assert "b.txt" in job["error"]
    assert set(tree(vault)) == {"0.zip", "1.zip"}
    assert differences() == []


def test_more_than_the_quota_holds_is_refused_at_once(vault: Vault, quota: Callable[[Actor, int], None]) -> None:
    quota(vault.actor, 10_000)
    problem(order(vault, zipped({"a.bin": bytes(20_000)})), 413, "quota_exceeded")


def test_a_job_that_died_in_the_middle_goes_on_without_doubling(
    vault: Vault, run_jobs: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "PORTION", 2)
    names = [f"{n}/{n}.txt" for n in range(9)]
    ordered = good(order(vault, zipped({name: name.encode() for name in names})), 202).json
    stored, real = [0], imports._store

    def dying(*args: Any) -> None:
        stored[0] += 1
        if stored[0] in {2, 4}:
            raise OSError("worker lost")
        real(*args)

    monkeypatch.setattr(imports, "_store", dying)
    for _ in range(3):
        run_jobs()
        time_passes(ordered["job_id"])
    assert vault.get(f"/jobs/{ordered['job_id']}")["state"] == "done"
    found = {k: v for k, v in tree(vault).items() if v is not None and k != "Harbour.zip"}
    assert found == {f"Harbour/{name}": name.encode() for name in names}
    assert differences() == []


def time_passes(job_id: str) -> None:
    """Its next attempt is due now."""
    from uuid import UUID

    from sqlalchemy import update

    from webapp.db import db, transaction
    from webapp.infra.clock import now
    from webapp.models.jobs import Job

    with transaction():
        db.session.execute(update(Job).where(Job.uuid == UUID(job_id), Job.state == "queued").values(run_at=now()))


def test_who_may_not_write_there_or_does_not_see_the_zip_imports_nothing(vault: Vault, other_vault: Vault) -> None:
    data = zipped({"a.txt": b"a"})
    theirs = other_vault.folder("Theirs")["id"]
    problem(order(vault, data, folder_id=theirs), 422)
    file = other_vault.upload("theirs.zip", data)["id"]
    problem(vault.call("POST", "/imports", json={"file_id": file}), 404)


def test_the_page_of_a_zip_unpacks_it(
    vault: Vault, run_jobs: Run, signed_in: Callable[..., Any], tmp_path: Path
) -> None:
    from tests.conftest import csrf_of

    file = vault.upload("page.zip", zipped({"in.txt": b"in"}))
    browser = signed_in(vault.actor)
    page = browser.get(f"/files/{file['id']}").text
    assert "Unpack" in page
    answer = browser.post("/imports", data={"csrf_token": csrf_of(page), "file_id": file["id"]})
    assert "/jobs/" in answer.headers["Location"]
    run_jobs()
    assert tree(vault)["page/in.txt"] == b"in"
