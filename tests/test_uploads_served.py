"""Uploads by tus over the wire: tuspy unchanged, a server killed in the middle, two processes and one upload."""

import hashlib
import os
import signal
import socket
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient
from tusclient.client import TusClient
from werkzeug.test import TestResponse

from tests.faults.test_uploads_killed import looked_at
from tests.servers import children_of, wait_until
from tests.test_serve import EMAIL, PASSWORD, Vault
from tests.vault import good

MIB = 1024**2
SIZE = 6 * MIB + 77
# of tuspy: it leaves files to the collector
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
SETTINGS = {"ADMIN_EMAIL": EMAIL, "ADMIN_PASSWORD": PASSWORD}
BYTES = "application/offset+octet-stream"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "tide.bin"
    path.write_bytes(os.urandom(SIZE))
    return path


def client_of(served: Vault) -> TusClient:
    return TusClient(f"{served.url}/api/v1/uploads", headers={"Authorization": f"Bearer {served.token()}"})


def arrived(folder: Path) -> int:
    return sum(path.stat().st_size for path in (folder / "var/blobs/drafts").glob("*"))


def begin_part(served: Vault, token: str, path: str, offset: int, data: bytes) -> socket.socket:
    """A part that announces all the rest of the file and brings only this much of it so far."""
    line = socket.create_connection(("127.0.0.1", served.port))
    words = (f"PATCH {path} HTTP/1.1", f"Host: 127.0.0.1:{served.port}", f"Authorization: Bearer {token}",
             "Tus-Resumable: 1.0.0", f"Upload-Offset: {offset}", f"Content-Type: {BYTES}",
             f"Content-Length: {SIZE - offset}", "", "")  # fmt: skip
    line.sendall("\r\n".join(words).encode() + data)
    return line


def test_tuspy_goes_on_after_the_server_was_killed(tmp_path: Path, source: Path) -> None:
    """Promise 10, and 7: what was acknowledged is there, and the end is what was sent."""
    with ExitStack() as stack:
        served = stack.enter_context(Vault(tmp_path / "var", **SETTINGS)).ready()
        client = client_of(served)
        metadata = {"filename": "tide.bin", "relativePath": "Harbour/tide.bin"}
        uploader = client.uploader(str(source), chunk_size=MIB, metadata=metadata, upload_checksum=True)
        uploader.upload(stop_at=3 * MIB)
        assert arrived(tmp_path) == uploader.offset == 3 * MIB
        for process in (served.process.pid, *children_of(served.process.pid)):
            os.kill(process, signal.SIGKILL)
        served.process.wait(30)
        again = stack.enter_context(Vault(tmp_path / "var", **SETTINGS)).ready()
        url = uploader.url.replace(str(served.port), str(again.port))
        resumed = client_of(again).uploader(str(source), chunk_size=MIB, url=url, upload_checksum=True)
        assert resumed.get_offset() == 3 * MIB
        resumed.upload()
        (file,) = again.items("/api/v1/files", again.token())
        assert (file["name"], file["size"]) == ("tide.bin", SIZE)
        assert file["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()


def test_a_line_that_breaks_and_two_processes_at_one_upload(tmp_path: Path, source: Path) -> None:
    """Who comes second is refused while the first still sends; what arrived before the cut counts."""
    data = source.read_bytes()
    with ExitStack() as stack:
        served = stack.enter_context(Vault(tmp_path / "var", **SETTINGS)).ready()
        client = client_of(served)
        token = str(client.headers["Authorization"]).removeprefix("Bearer ")
        uploader = client.uploader(str(source), chunk_size=MIB, metadata={"filename": "tide.bin"})
        uploader.upload(stop_at=MIB)
        path = urlsplit(uploader.url).path
        line = stack.enter_context(begin_part(served, token, path, MIB, data[MIB : 2 * MIB]))
        wait_until(lambda: arrived(tmp_path) > MIB, 30)
        with looked_at(tmp_path, f"sqlite:///{tmp_path}/var/holdfast.db") as app:  # another process
            wish = {"email": EMAIL, "password": PASSWORD}
            own = good(app.test_client().post("/api/v1/auth/login", json=wish)).get_json()["access_token"]
            said = {"Authorization": f"Bearer {own}", "Tus-Resumable": "1.0.0", "Upload-Offset": str(MIB)}
            other = app.test_client().patch(path, headers=said, data=b"\0" * 99, content_type=BYTES)
            assert (other.status_code, other.get_json(force=True)["code"]) == (423, "locked")
            line.close()
            offset = offset_at_rest(app.test_client(), path, said)
            assert MIB < offset <= 2 * MIB
            said["Upload-Offset"] = str(offset)
            good(app.test_client().patch(path, headers=said, data=data[offset:], content_type=BYTES), 204)
        (file,) = served.items("/api/v1/files", token)
        assert file["sha256"] == hashlib.sha256(data).hexdigest()


def offset_at_rest(client: FlaskClient, path: str, headers: dict[str, str]) -> int:
    """Once the server knows that the line broke."""
    answers: list[TestResponse] = []

    def asked() -> bool:
        answers.append(client.head(path, headers=headers))
        return answers[-1].status_code == 200

    wait_until(asked, 30)
    return int(answers[-1].headers["Upload-Offset"])
