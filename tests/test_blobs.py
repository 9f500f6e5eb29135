"""Bytes in the store: once, counted, never taken while somebody needs them, swept when nobody does."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from tests.vault import Vault, differences, disk, empty_store, good, problem, raw, stored_keys
from webapp.db import db, transaction
from webapp.errors import DiskFull, Unavailable
from webapp.infra.clock import now
from webapp.infra.storage import CHUNK, LocalStore, store
from webapp.models.files import Blob
from webapp.services.blobs import adopt_draft, open_blob, read_blob, sweep_blobs
from webapp.services.stored import keep_draft

pytestmark = pytest.mark.usefixtures("stored_as")


def put(key: str, data: bytes = b"orphan") -> None:
    path = disk().path(key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def change_blobs(**values: Any) -> None:
    with db.engine.connect().execution_options(write=True) as connection, connection.begin():
        connection.execute(update(Blob).values(**values))


def path_of(view: Any) -> Path:
    """Where the bytes of a file lie."""
    with db.engine.connect() as connection:
        key = connection.execute(select(Blob.storage_key).where(Blob.sha256 == view["sha256"])).scalar_one()
    return Path(disk().path(key))


def kept(data: bytes) -> str:
    """The key of these bytes, stored as those of no file."""
    with transaction(), draft_of(data) as draft:
        return keep_draft(draft)


def draft_of(data: bytes) -> Any:
    draft = store().draft()
    draft.write(data)
    return draft


@pytest.fixture
def in_thread(app: Flask) -> Iterator[Callable[[Callable[[], None]], threading.Thread]]:
    """Runs a deed in a thread with an application context; whatever it raises fails the test at the end."""
    threads: list[threading.Thread] = []
    errors: list[BaseException] = []

    def run(deed: Callable[[], None]) -> threading.Thread:
        def inside() -> None:
            with app.app_context():
                try:
                    deed()
                except BaseException as error:  # noqa: BLE001
                    errors.append(error)

        threads.append(threading.Thread(target=inside))
        threads[-1].start()
        return threads[-1]

    yield run
    for thread in threads:
        thread.join(30)
    assert errors == []


def test_a_sweep_takes_what_nothing_names_and_nothing_else(vault: Vault) -> None:
    file = vault.upload("kept.txt", b"kept")
    gone = "ab/cd/abcd" + "0" * 60
    put(gone)
    put("drafts/died")
    assert {fault.split()[0] for fault in differences()} == {"orphan"}
    assert sweep_blobs(young=-1) == 2
    assert differences() == []
    assert vault.content(file["id"]).data == b"kept"


def test_a_sweep_leaves_what_is_young(vault: Vault) -> None:
    put("drafts/being-written")
    put("ab/cd/abcd" + "0" * 60)
    assert sweep_blobs() == 0
    assert len(stored_keys()) == 2


def test_a_blob_without_a_version_goes_with_its_row(vault: Vault) -> None:
    with transaction():
        adopt_draft(draft_of(b"nobody's"))
    change_blobs(refcount=0)
    assert sweep_blobs(young=-1) == 1
    with db.engine.connect() as connection:
        assert connection.execute(select(Blob.id)).all() == []
    assert stored_keys() == set()


def test_a_sweep_waits_for_an_upload_that_is_adopting_the_same_orphan(
    app: Flask, vault: Vault, in_thread: Callable[[Callable[[], None]], threading.Thread], stored_as: str
) -> None:
    """The bytes lie there from an upload that died; another one reuses them and commits while the sweep looks."""
    if stored_as == "sealed":
        return  # such bytes lie under a name that nobody has again
    data = b"left behind" * 1000
    with draft_of(data) as died:
        key = store().keep(died)
    adopted, swept = threading.Event(), threading.Event()

    def upload() -> None:
        with transaction():
            adopt_draft(draft_of(data))
            adopted.set()
            swept.wait(0.7)

    in_thread(upload)
    assert adopted.wait(10)
    assert sweep_blobs(young=-1) == 0
    swept.set()
    assert store().size(key) == len(data)
    with db.engine.connect() as connection:
        assert connection.execute(select(Blob.refcount)).scalars().all() == [1]


def test_an_upload_waits_for_a_sweep_of_the_same_bytes_and_brings_its_own(
    vault: Vault, in_thread: Callable[[Callable[[], None]], threading.Thread], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"left behind" * 1000
    with draft_of(data) as died:
        store().keep(died)
    deleting, delete = threading.Event(), LocalStore.delete

    def slow(self: LocalStore, key: str) -> None:
        deleting.set()
        time.sleep(0.3)
        delete(self, key)

    monkeypatch.setattr(LocalStore, "delete", slow)
    thread = in_thread(lambda: [None for _ in range(sweep_blobs(young=-1))] and None)
    assert deleting.wait(10)
    file = vault.upload("again.bin", data)
    thread.join(10)
    assert vault.content(file["id"]).data == data
    assert differences() == []


def test_a_refused_upload_takes_its_bytes_back_unless_somebody_else_has_them(vault: Vault, other_vault: Vault) -> None:
    vault.upload("taken.txt", b"1")
    other_vault.upload("shared.txt", b"shared")
    before = stored_keys()
    problem(vault.send_form(("new.txt", b"only mine"), ("also.txt", b"shared"), ("taken.txt", b"2")), 409)
    assert stored_keys() == before
    assert differences() == []


def test_an_upload_that_fails_at_its_last_statement_leaves_nothing(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise Unavailable("The database does not answer.")

    monkeypatch.setattr("webapp.services.files.record", fail)
    problem(vault.try_upload("a.txt", b"bytes"), 503)
    monkeypatch.undo()
    assert stored_keys() == set()
    assert differences() == []
    vault.upload("a.txt", b"bytes")


def test_damaged_bytes_are_not_sent_and_a_fresh_upload_heals_them(vault: Vault) -> None:
    file = vault.upload("a.bin", b"good bytes")
    path = path_of(file)
    path.write_bytes(b"evil bytes")
    change_blobs(damaged_at=now())
    problem(vault.content(file["id"]), 409, "damaged")
    vault.upload("b.bin", b"good bytes")
    assert vault.content(file["id"]).data == b"good bytes"
    sweep_blobs(young=-1)
    assert differences() == []


def test_bytes_that_lost_their_end_are_replaced_by_the_same_upload(vault: Vault) -> None:
    file = vault.upload("a.bin", b"good bytes")
    os.truncate(path_of(file), 3)
    vault.upload("b.bin", b"good bytes")
    assert vault.content(file["id"]).data == b"good bytes"


def test_replacing_a_content_by_itself_counts_it_twice(vault: Vault) -> None:
    file = vault.upload("a.bin", b"same")
    assert good(vault.call("PUT", f"/files/{file['id']}/content", **raw(b"same"))).json["number"] == 2
    assert differences() == []


def test_a_store_reads_any_part_in_bounded_pieces(vault: Vault) -> None:
    data = bytes(range(256)) * 4000
    key = kept(data)
    pieces = list(read_blob(key))
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= CHUNK
    for start, length in ((0, 0), (0, 1), (CHUNK - 1, 2), (len(data) - 1, 1), (5, None), (len(data), 10)):
        expected = data[start:] if length is None else data[start : start + length]
        assert b"".join(read_blob(key, start, length)) == expected


def test_a_draft_leaves_no_trace_unless_kept(vault: Vault) -> None:
    with pytest.raises(ZeroDivisionError), draft_of(b"x"):
        raise ZeroDivisionError
    draft = draft_of(b"y")
    draft.discard()
    draft.discard()
    assert stored_keys() == set()


def test_a_store_that_cannot_be_written_says_so(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(code: int) -> Callable[..., int]:
        def write(*_: Any) -> int:
            raise OSError(code, os.strerror(code))

        return write

    for code, error in ((28, DiskFull), (122, DiskFull), (27, DiskFull), (5, Unavailable)):
        with monkeypatch.context() as patch, draft_of(b"x") as draft:
            patch.setattr(os, "write", fail(code))
            with pytest.raises(error):
                draft.write(b"y" * 10**6)
    empty_store()


def test_a_blob_reads_like_a_file_that_can_be_sought_in(vault: Vault) -> None:
    content = bytes(range(256)) * 3000
    key = kept(content)
    with open_blob(key, len(content)) as file:
        assert file.read(10) == content[:10]
        assert file.seek(-5, 2) == len(content) - 5
        assert file.read() == content[-5:]
        file.seek(700_000)
        assert file.read(1000) == content[700_000:701_000]
        assert file.read(10**7) == content[701_000:]
        assert file.read(1) == b""
