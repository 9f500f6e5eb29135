"""Promise 7: files are whole or absent, wherever the process dies and however the client leaves."""

import http.client
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from tests.conftest import make_settings
from tests.databases import KINDS, empty_database
from tests.servers import children_of, wait_until
from tests.test_serve import EMAIL, PASSWORD
from tests.test_serve import Vault as ServedVault
from tests.vault import Vault, differences, good, raw, stored_keys
from webapp.app import create_app
from webapp.db import db
from webapp.infra import ids
from webapp.infra.storage import LocalDraft
from webapp.services.blobs import sweep_blobs

OLD, NEW = b"old bytes " * 1000, b"new bytes " * 2000
SIZE = 8 * 1024 * 1024


def die(*_: Any, **__: Any) -> Any:
    """What a power cut does."""
    os.kill(os.getpid(), signal.SIGKILL)


def instead(owner: Any, name: str) -> Callable[[], None]:
    """Die when this would be called."""
    return lambda: setattr(owner, name, die)


def after(owner: Any, name: str) -> Callable[[], None]:
    """Die as soon as this has returned."""
    real = getattr(owner, name)

    def and_die(*args: Any, **options: Any) -> None:
        real(*args, **options)
        die()

    return lambda: setattr(owner, name, and_die)


POINTS = {
    "at the first byte": instead(LocalDraft, "write"),
    "before the bytes are synced": instead(LocalDraft, "sync"),
    "before the rename": instead(Path, "rename"),
    "after the rename": after(Path, "rename"),
    "before the commit": instead(Session, "commit"),
    "after the commit": after(Session, "commit"),
}


def die_while(deed: Callable[[], Any], prepare: Callable[[], None]) -> None:
    """Do the deed in a forked process that dies at the prepared point."""
    child = os.fork()
    if child == 0:
        try:
            prepare()
            deed()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, "the point was never reached"


def assert_only_orphans_and_swept() -> None:
    """Nothing is wrong but bytes that no row names, and a sweep takes exactly those."""
    found = differences()
    assert [fault for fault in found if not fault.startswith("orphan")] == []
    assert sweep_blobs(young=-1) == len(found)
    assert differences() == []


@pytest.mark.usefixtures("stored_as")
@pytest.mark.parametrize("point", POINTS)
def test_a_process_that_dies_leaves_a_new_file_whole_or_absent(vault: Vault, point: str) -> None:
    vault.upload("before.bin", OLD)
    die_while(lambda: vault.try_upload("new.bin", NEW), POINTS[point])
    found = {item["name"]: item for item in vault.get("/files")["items"]}
    assert set(found) == ({"before.bin", "new.bin"} if point == "after the commit" else {"before.bin"})
    for name, item in found.items():
        assert good(vault.content(item["id"])).data == (NEW if name == "new.bin" else OLD)
    assert_only_orphans_and_swept()
    vault.upload("new.bin", NEW, conflict="rename")
    assert differences() == []


@pytest.mark.usefixtures("stored_as")
@pytest.mark.parametrize("point", POINTS)
def test_a_process_that_dies_leaves_the_old_content_or_the_new_one(vault: Vault, point: str) -> None:
    file = vault.upload("kept.bin", OLD)
    die_while(lambda: vault.call("PUT", f"/files/{file['id']}/content", **raw(NEW)), POINTS[point])
    committed = point == "after the commit"
    assert vault.content(file["id"]).data == (NEW if committed else OLD)
    assert vault.get(f"/files/{file['id']}")["number"] == (2 if committed else 1)
    assert_only_orphans_and_swept()


@pytest.mark.usefixtures("stored_as")
def test_a_process_that_dies_between_two_files_of_a_form_leaves_neither(vault: Vault) -> None:
    def die_at_the_second() -> None:
        rename, count = Path.rename, iter(range(2))
        Path.rename = lambda path, goal: die() if next(count) else rename(path, goal)  # type: ignore[method-assign,assignment]

    die_while(lambda: vault.send_form(("one.bin", OLD), ("two.bin", NEW)), die_at_the_second)
    assert vault.get("/files")["items"] == []
    assert len(stored_keys()) == 2
    assert_only_orphans_and_swept()


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with empty_database(request.param, tmp_path) as url:
        yield url


@contextmanager
def looked_at(folder: Path, database: str) -> Iterator[Flask]:
    """The same database and store seen from this process."""
    app = create_app(make_settings(folder / "var", DATABASE_URL=database))
    ids._forget()
    try:
        with app.app_context():
            yield app
            db.session.remove()
            db.engine.dispose()
    finally:
        ids._forget()


def begin(served: ServedVault, token: str, path: str, length: int, data: bytes, method: str = "POST") -> socket.socket:
    """Send headers that announce `length` bytes and only this part of them."""
    client = socket.create_connection(("127.0.0.1", served.port))
    lines = (f"{method} /api/v1{path} HTTP/1.1", f"Host: 127.0.0.1:{served.port}", f"Authorization: Bearer {token}",
             f"Content-Length: {length}", "Content-Type: application/octet-stream", "", "")  # fmt: skip
    client.sendall("\r\n".join(lines).encode() + data)
    return client


def drafts(folder: Path) -> list[int]:
    """Sizes of what is being written now."""
    return sorted(path.stat().st_size for path in (folder / "var/blobs/drafts").glob("*"))


def test_a_server_killed_in_the_middle_of_uploads_shows_no_part_of_any(database: str, tmp_path: Path) -> None:
    """Three uploads at 10, 50 and 90 %, one replacement at 50 %: then power goes, and comes back."""
    with ExitStack() as stack:
        settings = {"DATABASE_URL": database, "ADMIN_EMAIL": EMAIL, "ADMIN_PASSWORD": PASSWORD}
        served = stack.enter_context(ServedVault(tmp_path / "var", **settings)).ready()
        token = served.token()
        kept = send(served, token, "/files?name=kept.bin", OLD)
        assert kept.status == 201
        path = kept.headers["Location"].removeprefix("/api/v1")
        parts = [SIZE // 10, SIZE // 2, SIZE * 9 // 10]
        for part in parts:
            stack.enter_context(begin(served, token, f"/files?name=part{part}.bin", SIZE, b"x" * part))
        stack.enter_context(begin(served, token, f"{path}/content", SIZE, b"y" * (SIZE // 2), "PUT"))
        wait_until(lambda: len(drafts(tmp_path)) == 4 and drafts(tmp_path)[0] >= SIZE // 10 - 1024**2, 30)
        for process in (served.process.pid, *children_of(served.process.pid)):
            os.kill(process, signal.SIGKILL)
        served.process.wait(30)
        again = stack.enter_context(ServedVault(tmp_path / "var", **settings)).ready()
        token = again.token()
        assert [item["name"] for item in again.items("/api/v1/files", token)] == ["kept.bin"]
        assert send(again, token, f"{path}/content", method="GET").body == OLD
        assert send(again, token, f"/files?name=part{parts[0]}.bin", NEW).status == 201
        again.stop()
        with looked_at(tmp_path, database):
            assert_only_orphans_and_swept()


def test_a_client_that_leaves_or_lies_leaves_nothing(database: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        settings = {"DATABASE_URL": database, "ADMIN_EMAIL": EMAIL, "ADMIN_PASSWORD": PASSWORD}
        served = stack.enter_context(ServedVault(tmp_path / "var", **settings)).ready()
        token = served.token()
        for how in (socket.SHUT_WR, socket.SHUT_RDWR, None):
            with begin(served, token, "/files?name=cut.bin", SIZE, b"x" * (SIZE // 2)) as client:
                wait_until(lambda: drafts(tmp_path), 30)
                if how is None:  # a reset, not an orderly end
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                else:
                    client.shutdown(how)
            wait_until(lambda: not drafts(tmp_path), 30, about="the draft to vanish")
        longer = send(served, token, "/files?name=longer.bin", b"x" * 10, announced=5)
        assert longer.status in {201, 400}
        names = [item["name"] for item in served.items("/api/v1/files", token)]
        assert names == (["longer.bin"] if longer.status == 201 else [])
        served.stop()
        with looked_at(tmp_path, database):
            assert differences() == []


class Heard:
    """What a server said."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = answer.status, answer.headers, answer.read()


def send(
    served: ServedVault, token: str, path: str, data: bytes = b"", method: str = "POST", announced: int | None = None
) -> Heard:
    """One request over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    headers = {"Authorization": f"Bearer {token}", "Content-Length": str(len(data) if announced is None else announced)}
    connection.request(method, f"/api/v1{path}", data, headers)
    try:
        return Heard(connection.getresponse())
    finally:
        connection.close()
