"""nginx of the compose file in front of the web command of the compose file, both for real, on this machine."""

import hashlib
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from flask import Flask

from tests.servers import absent, free_port, wait_until

ROOT = Path(__file__).parent.parent
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
CONFIG = (ROOT / "deploy/nginx.conf").read_text()
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
ADMIN = {"email": "ana@harbour.example", "password": "Correct-Horse-7-Battery"}
pytestmark = [pytest.mark.services]


@pytest.fixture(scope="module", autouse=True)
def _nginx() -> None:
    if NGINX is None:
        absent("nginx is not installed")


@dataclass
class Front:
    """The address nginx listens on, the application behind it, and where the blobs are."""

    url: str
    behind: str
    blobs: Path
    session: requests.Session


@contextmanager
def running(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def nginx_for(application: int, home: Path, streams: int = 9) -> Iterator[int]:
    """nginx with the shipped configuration; only addresses and directories are those of the test."""
    port = free_port()
    text = CONFIG.replace("web:8000 resolve", f"127.0.0.1:{application}").replace(
        "listen 8080", f"listen 127.0.0.1:{port}"
    )
    text = text.replace("streams:8010 resolve", f"127.0.0.1:{streams}")
    text = text.replace("127.0.0.1:8081", f"127.0.0.1:{free_port()}").replace("/tmp/", f"{home}/nginx-")
    text = text.replace("/etc/holdfast/tls/", f"{home}/tls/").replace("/var/lib/holdfast/", f"{home}/")
    file = home / "nginx.conf"
    file.write_text(text.replace("/dev/stdout", str(home / "access.log")))
    # Compose runs nginx as the owner of the blobs; started by root it would change to a stranger.
    user = " user root;" if os.geteuid() == 0 else ""
    command = [str(NGINX), "-e", "stderr", "-c", str(file)]
    subprocess.run([*command, "-t", "-g", user], check=True, capture_output=True, timeout=20)
    with running([*command, "-g", "daemon off;" + user]):
        wait_until(lambda: listens(port), about="nginx")
        yield port


@contextmanager
def web(home: Path) -> Iterator[tuple[int, int]]:
    """The web and the streams command of the compose file on a fresh SQLite database: their ports."""
    names = ("X_ACCEL_REDIRECT", "TRUSTED_PROXIES")
    told = {name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", SERVICES["web"]["environment"][name]) for name in names}
    environment = {"PATH": os.environ["PATH"], "APP_ENV": "test", "VAR_DIR": str(home), "LOG_LEVEL": "error", **told}
    environment |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    environment |= {"ADMIN_EMAIL": ADMIN["email"], "ADMIN_PASSWORD": ADMIN["password"]}
    for service in ("migrate", "setup"):
        subprocess.run(_command(service), cwd=ROOT, env=environment, check=True, capture_output=True, timeout=60)
    port, streams = free_port(), free_port()
    environment |= {"PORT": str(port), "STREAMS_PORT": str(streams)}
    with _served("web", port, environment), _served("streams", streams, environment):
        yield port, streams


@contextmanager
def _served(service: str, port: int, environment: dict[str, str]) -> Iterator[None]:
    with running(_command(service), cwd=ROOT, env=environment):
        wait_until(lambda: _live(port), about=service)
        yield


def _command(service: str) -> list[str]:
    program, *words = SERVICES[service]["command"]
    return [str(Path(sys.executable).parent / program), *words]


def _live(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health/live", timeout=2).ok
    except requests.ConnectionError:
        return False


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    home = tmp_path_factory.mktemp("front")
    with web(home) as (behind, streams), nginx_for(behind, home, streams) as port, requests.Session() as session:
        url = f"http://127.0.0.1:{port}"
        answer = session.post(f"{url}/api/v1/auth/login", json=ADMIN, timeout=30)
        assert answer.ok, answer.text
        session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield Front(url, f"http://127.0.0.1:{behind}", home / "blobs", session)


@pytest.fixture
def stored(front: Front) -> tuple[str, bytes]:
    """A file of 6 MB, more than an ordinary route takes: its address and its bytes."""
    content = os.urandom(6 * 1024 * 1024)
    name = f"{hashlib.sha256(content).hexdigest()[:8]}.bin"
    answer = front.session.post(f"{front.url}/api/v1/files", files={"file": (name, io.BytesIO(content))}, timeout=30)
    assert answer.status_code == 201, answer.text
    return f"{front.url}/api/v1/files/{answer.json()['id']}/content", content


def test_nginx_sends_the_bytes_with_the_headers_of_the_application(front: Front, stored: tuple[str, bytes]) -> None:
    address, content = stored
    direct = front.session.get(address.replace(front.url, front.behind), timeout=30)
    assert direct.headers["X-Accel-Redirect"].startswith("/_blobs/")
    assert not direct.content
    answer = front.session.get(address, timeout=30)
    assert answer.content == content
    assert answer.headers["ETag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    assert "X-Accel-Redirect" not in answer.headers
    for name in (
        "Content-Type",
        "Content-Disposition",
        "Content-Security-Policy",
        "X-Content-Type-Options",
        "Cache-Control",
    ):
        assert answer.headers[name] == direct.headers[name], name
    assert answer.headers["X-Request-ID"]


def test_nginx_sends_a_part(front: Front, stored: tuple[str, bytes]) -> None:
    address, content = stored
    answer = front.session.get(address, headers={"Range": "bytes=1000000-1000099"}, timeout=30)
    assert answer.status_code == 206
    assert answer.content == content[1_000_000:1_000_100]
    assert answer.headers["Content-Range"] == f"bytes 1000000-1000099/{len(content)}"


def test_a_known_etag_is_answered_without_bytes(front: Front, stored: tuple[str, bytes]) -> None:
    etag = front.session.get(stored[0], timeout=30).headers["ETag"]
    answer = front.session.get(stored[0], headers={"If-None-Match": etag}, timeout=30)
    assert answer.status_code == 304


def test_blobs_have_no_address_of_their_own(front: Front, stored: tuple[str, bytes]) -> None:
    inside = front.session.get(stored[0].replace(front.url, front.behind), timeout=30).headers["X-Accel-Redirect"]
    assert (front.blobs / inside.removeprefix("/_blobs/")).read_bytes() == stored[1]
    assert front.session.get(front.url + inside, timeout=30).status_code == 404


def test_replacing_content_streams_through(front: Front, stored: tuple[str, bytes]) -> None:
    content = os.urandom(5 * 1024 * 1024)
    answer = front.session.put(stored[0], data=content, timeout=30)
    assert answer.status_code == 200, answer.text
    assert front.session.get(stored[0], timeout=30).content == content


def test_an_ordinary_route_takes_no_large_body(front: Front) -> None:
    answer = front.session.post(f"{front.url}/api/v1/folders", data=b" " * 5_000_000, timeout=30)
    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == 413


def test_slow_bodies_on_ordinary_routes_hold_no_thread(front: Front) -> None:
    host, port = front.url.removeprefix("http://").split(":")
    head = "POST /api/v1/auth/login HTTP/1.1\r\nHost: vault\r\nContent-Type: application/json\r\n"
    head += "Content-Length: 900\r\n\r\n{"
    slow = [socket.create_connection((host, int(port))) for _ in range(40)]
    try:
        for connection in slow:
            connection.sendall(head.encode())
        time.sleep(0.5)
        for _ in range(10):
            assert requests.get(f"{front.url}/health/live", timeout=5).ok
    finally:
        for connection in slow:
            connection.close()


def test_events_come_through_at_once_from_the_streams_process(front: Front) -> None:
    with front.session.get(f"{front.url}/api/v1/events", stream=True, timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream"), answer.text
        lines = answer.iter_lines(decode_unicode=True, chunk_size=1)
        assert "event: sync" in [next(lines) for _ in range(4)]
        assert front.session.post(f"{front.url}/api/v1/folders", json={"name": "Live"}, timeout=30).status_code == 201
        assert any(line == "event: folder.changed" for line in lines)


def test_without_the_streams_process_events_are_unavailable_and_all_else_goes_on(front: Front, tmp_path: Path) -> None:
    behind = int(front.behind.rpartition(":")[2])
    with nginx_for(behind, tmp_path) as port:
        refused = front.session.get(f"http://127.0.0.1:{port}/api/v1/events", timeout=30)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        assert front.session.get(f"http://127.0.0.1:{port}/api/v1/users/me", timeout=30).status_code == 200


def test_a_stopped_application_is_said_plainly(tmp_path: Path) -> None:
    with nginx_for(free_port(), tmp_path) as port:
        answer = requests.get(f"http://127.0.0.1:{port}/files", timeout=30)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert answer.json()["title"] == "Service Unavailable"


def test_compose_and_nginx_agree_on_where_blobs_are() -> None:
    environment = SERVICES["web"]["environment"]
    location = re.search(r"location (/_\w+/) \{\s+internal;\s+alias (\S+)/;", CONFIG)
    assert location is not None
    assert environment["X_ACCEL_REDIRECT"] == location[1]
    assert environment["STORAGE_URL"] == f"file://{location[2]}"
    assert "blobs:/var/lib/holdfast:ro" in SERVICES["nginx"]["volumes"]


def test_every_upload_route_streams_and_no_other(app: Flask) -> None:
    pattern = re.search(r"location ~ (\S+) \{\s+client_max_body_size 0;", CONFIG)
    assert pattern is not None
    for rule in app.url_map.iter_rules():
        if rule.methods and rule.methods & {"POST", "PUT", "PATCH"}:
            streams = re.search(pattern[1], re.sub(r"<[^>]+>", "1", rule.rule)) is not None
            assert streams == getattr(app.view_functions[rule.endpoint], "upload", False), rule
