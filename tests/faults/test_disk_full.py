"""Promise 8: a full disk answers 507, keeps what was there, and leaves nothing of what did not fit."""

import errno
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.servers import absent
from tests.vault import Vault, differences, disk, problem, raw, traces
from webapp.config import current_settings, use_settings
from webapp.infra.storage import store

ROOM = 2 * 1024 * 1024
OLD = b"old bytes " * 1000
pytestmark = pytest.mark.usefixtures("stored_as")


@pytest.fixture
def small_disk(vault: Vault, tmp_path: Path) -> Iterator[Path]:
    """A store of two MiB: a real file system of its own. Skipped by name where the tests may not mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        absent("a file system cannot be mounted here")
    before = current_settings()
    use_settings(before.model_copy(update={"storage_url": f"file://{folder}"}))
    yield folder
    use_settings(before)
    subprocess.run(["umount", str(folder)], check=True)


def assert_refused_without_a_trace(vault: Vault, file: Any, data: bytes) -> None:
    """By every way: 507, the old version intact, not a row, a draft or a byte charged."""
    before = traces()
    for answer in (
        vault.try_upload("raw.bin", data),
        vault.send_form(("form.bin", data)),
        vault.send_form(("small.bin", b"fits"), ("form.bin", data)),
        vault.call("PUT", f"/files/{file['id']}/content", **raw(data)),
    ):
        problem(answer, 507, "storage_full")
    assert traces() == before
    assert vault.get(f"/files/{file['id']}") == file
    assert vault.content(file["id"]).data == OLD


def test_a_full_file_system_is_507_and_leaves_nothing(vault: Vault, small_disk: Path) -> None:
    file = vault.upload("kept.bin", OLD)
    assert_refused_without_a_trace(vault, file, b"x" * (ROOM + 1))
    vault.upload("fits.bin", b"y" * (ROOM // 2))
    assert_refused_without_a_trace(vault, file, b"z" * (ROOM // 2))
    assert differences() == []


def test_uploads_that_fill_the_disk_together_leave_only_those_that_fit(vault: Vault, small_disk: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        wishes = [pool.submit(vault.twin().try_upload, f"{n}.bin", bytes([n]) * 600_000) for n in range(6)]
        answers = [wish.result() for wish in wishes]
    for answer in answers:
        assert answer.status_code == 201 or problem(answer, 507, "storage_full")
    assert {answer.status_code for answer in answers} >= {507}
    assert len(vault.get("/files")["items"]) == [answer.status_code for answer in answers].count(201)
    assert differences() == []
    vault.upload("small.bin", b"still works")


def test_a_disk_that_is_full_at_once_or_after_a_while_is_507(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    file = vault.upload("kept.bin", OLD)
    write = os.write
    for room in (0, 1, 300_000):
        left = room

        def full(descriptor: int, data: Any) -> int:
            nonlocal left
            if left <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            written = write(descriptor, bytes(data[:left]))
            left -= written
            return written

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            before = traces()
            problem(vault.try_upload("raw.bin", b"x" * 400_000), 507, "storage_full")
            left = room
            problem(vault.call("PUT", f"/files/{file['id']}/content", **raw(b"y" * 400_000)), 507, "storage_full")
        assert traces() == before
    assert vault.content(file["id"]).data == OLD


@pytest.mark.parametrize("step", ["fsync", "mkdir", "rename"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_fails_only_at_the_end_leaves_nothing_either(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, step: str, code: int
) -> None:
    """Some file systems tell at fsync; a new directory or the rename may be what does not fit."""
    file = vault.upload("kept.bin", OLD)

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    before = traces()
    drafts = disk().drafts
    with monkeypatch.context() as patch:
        if step == "fsync":
            patch.setattr(os, "fsync", fail)
        else:
            real = getattr(Path, step)
            patch.setattr(Path, step, lambda path, *a, **k: real(path, *a, **k) if path == drafts else fail())
        for answer in (
            vault.try_upload("raw.bin", b"new bytes"),
            vault.call("PUT", f"/files/{file['id']}/content", **raw(b"newer bytes")),
            vault.send_form(("one.bin", b"1"), ("two.bin", b"2")),
        ):
            problem(answer, 503 if code == errno.EIO else 507)
    assert traces() == before
    assert vault.content(file["id"]).data == OLD
    vault.upload("raw.bin", b"new bytes")
    assert differences() == []


def test_a_process_that_may_not_write_large_files_answers_507(vault: Vault) -> None:
    """RLIMIT_FSIZE works without a file system of one's own: the kernel itself refuses (EFBIG)."""
    file = vault.upload("kept.bin", OLD)
    before = traces()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            draft = store().draft()
            try:
                draft.write(b"x" * 600_000)
            except Exception as error:  # noqa: BLE001
                status = 0 if getattr(error, "status", None) == 507 else 2
            draft.discard()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert traces() == before
    assert vault.content(file["id"]).data == OLD


def test_a_draft_that_cannot_be_made_is_507(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = traces()
    real = os.open
    with monkeypatch.context() as patch:
        patch.setattr(
            os, "open", lambda path, flags, *a, **k: fail() if flags & os.O_CREAT else real(path, flags, *a, **k)
        )
        problem(vault.try_upload("a.bin", b"x"), 507, "storage_full")
    assert traces() == before
