"""Archives: whole, of the length that was said, in a bounded number of statements, unpacked by other programs."""

import io
import subprocess
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update
from werkzeug.test import TestResponse

from tests.vault import Vault, good, problem
from webapp.config import current_settings, use_settings
from webapp.db import db, tally, transaction
from webapp.infra import zips
from webapp.infra.zips import Entry, size_of_zip, write_zip
from webapp.models.files import Blob
from webapp.services import archives
from webapp.services.archives import fit_name


def unpacked(answer: TestResponse) -> dict[str, bytes]:
    """Names and contents; the archive must be sound and as long as it said."""
    assert answer.headers["Content-Type"] == "application/zip"
    assert int(answer.headers["Content-Length"]) == len(answer.data)
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def tree(vault: Vault) -> Any:
    """Harbour / {Quay / {plan.txt, Empty}, tide.txt} and a file beside it."""
    harbour = vault.folder("Harbour")
    quay = vault.folder("Quay", harbour["id"])
    vault.folder("Empty", quay["id"])
    vault.upload("plan.txt", b"plan", folder_id=quay["id"])
    vault.upload("tide.txt", b"tide", folder_id=harbour["id"])
    vault.upload("beside.txt", b"beside")
    return harbour


def test_a_folder_comes_with_all_that_is_in_it_and_its_empty_folders(vault: Vault, tree: Any) -> None:
    answer = good(vault.call("GET", f"/folders/{tree['id']}/archive"))
    assert answer.headers["Content-Disposition"] == 'attachment; filename="Harbour.zip"'
    assert unpacked(answer) == {
        "Harbour/": b"", "Harbour/Quay/": b"", "Harbour/Quay/Empty/": b"",
        "Harbour/tide.txt": b"tide", "Harbour/Quay/plan.txt": b"plan",
    }  # fmt: skip


def test_several_things_lie_side_by_side_and_what_is_inside_another_is_not_packed_twice(
    vault: Vault, tree: Any
) -> None:
    quay, other = vault.get("/folders", query_string={"parent_id": tree["id"]})["items"][0], vault.folder("Other")
    inside = vault.upload("inside.txt", b"inside", folder_id=quay["id"])
    beside = vault.upload("outside.txt", b"outside")
    wish = {"folder_ids": [quay["id"], tree["id"], other["id"]], "file_ids": [beside["id"], inside["id"], beside["id"]]}
    answer = good(vault.call("POST", "/archives", json=wish))
    names = unpacked(answer)
    assert {name.partition("/")[0] for name in names} == {"Harbour", "Other", "outside.txt"}
    assert [name for name in names if "inside" in name] == ["Harbour/Quay/inside.txt"]


def test_other_programs_unpack_it_with_its_names_and_times(vault: Vault, tmp_path: Path) -> None:
    folder = vault.folder("Häfen 港")
    vault.upload("Grüße 🌊.txt", b"waves", folder_id=folder["id"])
    answer = good(vault.call("GET", f"/folders/{folder['id']}/archive"))
    (tmp_path / "a.zip").write_bytes(answer.data)
    subprocess.run(["python3", "-m", "zipfile", "-e", "a.zip", "out"], cwd=tmp_path, check=True)
    assert (tmp_path / "out" / "Häfen 港" / "Grüße 🌊.txt").read_bytes() == b"waves"
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        info = archive.infolist()[-1]
        assert info.flag_bits & 0x800
        packed = datetime(*info.date_time, tzinfo=UTC)
    assert abs((packed - datetime.now(UTC)).total_seconds()) < 60


@pytest.mark.parametrize(
    ("name", "fit"),
    [("a:b?.txt", "a_b_.txt"), ("CON", "_CON"), ("nul.txt", "_nul.txt"), ("end. .", "end"),
     ("console.txt", "console.txt"), (".hidden", ".hidden")],
)  # fmt: skip
def test_names_are_made_fit_for_every_system(name: str, fit: str) -> None:
    assert fit_name(name) == fit


def test_names_that_would_meet_on_another_system_are_numbered(vault: Vault) -> None:
    folder = vault.folder("Case")
    for number, name in enumerate(("a?.txt", "a*.txt", "A_.TXT", "a_ (1).txt")):
        vault.upload(name, str(number).encode(), folder_id=folder["id"])
    names = unpacked(good(vault.call("GET", f"/folders/{folder['id']}/archive")))
    assert len(names) == len({name.casefold() for name in names}) == 5
    assert sorted(names.values()) == [b"", b"0", b"1", b"2", b"3"]


def test_what_the_scanner_did_not_find_clean_is_left_out_and_named(vault: Vault, tree: Any) -> None:
    sha256 = vault.get("/files", query_string={"q": "tide"})["items"][0]["sha256"]
    with transaction():
        db.session.execute(update(Blob).where(Blob.sha256 == sha256).values(infected_with="Eicar"))
    names = unpacked(good(vault.call("GET", f"/folders/{tree['id']}/archive")))
    assert b"Harbour/tide.txt: a virus was found (Eicar)" in names[archives.MISSING]
    assert "Harbour/tide.txt" not in names


def test_damaged_files_are_left_out_and_named(vault: Vault, tree: Any) -> None:
    with transaction():
        damaged = vault.get("/files", query_string={"q": "tide"})["items"][0]["sha256"]
        db.session.execute(update(Blob).where(Blob.sha256 == damaged).values(damaged_at=datetime.now(UTC)))
    names = unpacked(good(vault.call("GET", f"/folders/{tree['id']}/archive")))
    assert "Harbour/tide.txt" not in names
    assert b"Harbour/tide.txt" in names[archives.MISSING]
    assert names["Harbour/Quay/plan.txt"] == b"plan"


def test_encrypted_files_come_as_they_were_though_the_stream_outlives_the_request(vault: Vault) -> None:
    before = current_settings()
    use_settings(before.model_copy(update={"encrypt_files": True}))
    try:
        folder = vault.folder("Sealed")["id"]
        vault.upload("secret.bin", b"\1" * 300_000, folder_id=folder)
        with vault.app.test_request_context():
            archive = archives.open_folder(vault.actor, UUID(folder))
        data = b"".join(archive.read())  # as the server takes it
    finally:
        use_settings(before)
    assert len(data) == archive.size
    assert zipfile.ZipFile(io.BytesIO(data)).read("Sealed/secret.bin") == b"\1" * 300_000


def test_infected_files_are_left_out_and_named(vault: Vault, tree: Any) -> None:
    with transaction():
        plan = vault.get("/files", query_string={"q": "plan"})["items"][0]["sha256"]
        db.session.execute(update(Blob).where(Blob.sha256 == plan).values(infected_with="Eicar"))
    names = unpacked(good(vault.call("GET", f"/folders/{tree['id']}/archive")))
    assert "Harbour/Quay/plan.txt" not in names
    assert b"Harbour/Quay/plan.txt: a virus" in names[archives.MISSING]


def test_strangers_and_limited_tokens_get_nothing_that_they_do_not_see(
    vault: Vault, other_vault: Vault, tree: Any
) -> None:
    other = other_vault.upload("theirs.txt")
    problem(other_vault.call("GET", f"/folders/{tree['id']}/archive"), 404)
    problem(vault.call("POST", "/archives", json={"file_ids": [other["id"]], "folder_ids": [tree["id"]]}), 404)
    wish = {"name": "Script", "scopes": ["files.read"], "folder_id": tree["id"]}
    token = good(vault.call("POST", "/tokens", json=wish), 201).json["token"]
    script = Vault(vault.app, {"Authorization": f"Bearer {token}"}, vault.actor)
    assert "Harbour/tide.txt" in unpacked(good(script.call("GET", f"/folders/{tree['id']}/archive")))
    beside = vault.get("/files", query_string={"q": "beside"})["items"][0]["id"]
    problem(script.call("POST", "/archives", json={"file_ids": [beside]}), 404)


def test_somebody_who_is_granted_a_folder_downloads_it(vault: Vault, other_vault: Vault, tree: Any) -> None:
    grant = {"email": other_vault.actor.email, "level": "viewer"}
    good(vault.call("PUT", f"/folders/{tree['id']}/grants", json=grant))
    assert len(unpacked(good(other_vault.call("GET", f"/folders/{tree['id']}/archive")))) == 5


def test_nothing_named_and_too_much_are_refused(vault: Vault, tree: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    problem(vault.call("POST", "/archives", json={}), 422)
    problem(vault.call("POST", "/archives", json={"file_ids": [tree["id"]]}), 404)
    monkeypatch.setattr(archives, "MOST", 1)
    problem(vault.call("GET", f"/folders/{tree['id']}/archive"), 413, "too_many_files")


def test_a_large_tree_costs_as_many_statements_as_a_small_one(vault: Vault, tree: Any) -> None:
    def cost() -> int:
        before = tally.count
        archives.open_folder(vault.actor, UUID(tree["id"]))
        return tally.count - before

    small = cost()
    for number in range(5):
        deep = vault.folder(f"Deep {number}", tree["id"])["id"]
        for other in range(4):
            vault.upload(f"{other}.txt", folder_id=deep)
    assert cost() == small == 3


def test_head_tells_the_length(vault: Vault, tree: Any) -> None:
    head = vault.call("HEAD", f"/folders/{tree['id']}/archive")
    whole = vault.call("GET", f"/folders/{tree['id']}/archive")
    assert head.headers["Content-Length"] == whole.headers["Content-Length"]
    assert head.data == b""


def test_the_form_of_a_page_downloads_what_is_selected(vault: Vault, tree: Any, signed_in: Callable[..., Any]) -> None:
    browser = signed_in(vault.actor)
    fields = {"folder_ids": tree["id"], "file_ids": vault.upload("one.txt", b"1")["id"]}
    assert browser.post("/archives", data=fields).status_code == 403  # without the page's own token
    assert "Harbour/tide.txt" in unpacked(browser.get(f"/folders/{tree['id']}/archive"))


@pytest.mark.parametrize(("limit", "count"), [(40, 100), (300, 100), (2**31 - 1, 100)])
def test_the_length_is_exact_where_fields_of_64_bits_begin(
    limit: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 60)
    moment = datetime(1970, 1, 1, tzinfo=UTC)
    for many in (1, 59, 60, 61, count):
        entries = [Entry("ä" * (n % 50 + 1) + str(n), moment, n, lambda n=n: [b"x" * n]) for n in range(many)]
        entries += [Entry("folder", datetime(9999, 1, 1, tzinfo=UTC))]
        assert len(b"".join(write_zip(entries))) == size_of_zip(entries)


def test_memory_does_not_grow_with_the_bytes() -> None:
    piece = bytes(zips.PIECE)
    entries = [Entry(f"{n}.bin", datetime.now(UTC), 64 * 16 * len(piece), lambda: (piece for _ in range(1024)))
               for n in range(2)]  # fmt: skip
    tracemalloc.start()
    try:
        total = sum(len(part) for part in write_zip(entries))
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024**2
    finally:
        tracemalloc.stop()
    assert total == size_of_zip(entries) > 128 * 1024**2


def test_an_entry_with_other_bytes_than_it_said_breaks_the_stream() -> None:
    with pytest.raises(RuntimeError):
        b"".join(write_zip([Entry("a", datetime.now(UTC), 5, lambda: [b"four"])]))
