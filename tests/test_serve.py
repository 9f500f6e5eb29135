"""`make run` as a process: what it says, how it stops, what happens when a part falls (promise 23)."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

from tests.faults.processes import SERVE, Program
from tests.servers import children_of, descendants_of, free_port, wait_until

EMAIL, PASSWORD = "ana@harbour.example", "Correct-Horse-7-Battery"


class Vault(Program):
    """A served vault."""

    def __init__(self, var_dir: Path, **environment: str) -> None:
        self.port = free_port()
        super().__init__(SERVE, var_dir.parent / "serve.log", VAR_DIR=str(var_dir), PORT=str(self.port), **environment)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ready(self) -> "Vault":
        """Until it answers."""
        wait_until(lambda: self.ended or self.get("/health/live") == 200, 60)
        assert not self.ended, self.text
        return self

    def get(self, path: str) -> int:
        """The status of an answer; 0 when there is none."""
        try:
            with urlopen(self.url + path, timeout=5) as answer:
                return int(answer.status)
        except HTTPError as error:
            return error.code
        except (URLError, OSError):
            return 0

    def post(self, path: str, body: object, **headers: str) -> Any:
        """The JSON of an answer to JSON."""
        request = Request(self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})
        with urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def items(self, path: str, token: str) -> list[Any]:
        """A page of a collection."""
        with urlopen(Request(self.url + path, headers={"Authorization": f"Bearer {token}"}), timeout=30) as answer:
            return list(json.load(answer)["items"])

    def token(self) -> str:
        """Signed in as the administrator."""
        return str(self.post("/api/v1/auth/login", {"email": EMAIL, "password": PASSWORD})["access_token"])


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_every_fault_of_the_configuration_is_named_at_once(tmp_path: Path, stack: ExitStack) -> None:
    vault = stack.enter_context(
        Vault(tmp_path / "var", WEB_THREADS="0", TZ="Mars/Base", REDIS_URL="http://secret@cache")
    )
    assert vault.process.wait(60) == 2
    for word in ("WEB_THREADS", "TZ", "REDIS_URL"):
        assert word in vault.text
    assert "secret" not in vault.text
    assert "Traceback" not in vault.text


def test_a_port_in_use_is_said_in_one_line(tmp_path: Path, stack: ExitStack) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        vault = stack.enter_context(Program(SERVE, tmp_path / "log", VAR_DIR=str(tmp_path / "var"), PORT=str(port)))
        assert vault.process.wait(60) == 1
    assert f"127.0.0.1:{port} is not free" in vault.text
    assert "Traceback" not in vault.text


def test_a_database_that_is_away_is_said_in_one_line(tmp_path: Path, stack: ExitStack) -> None:
    url = f"postgresql://holdfast:hunter2@127.0.0.1:{free_port()}/holdfast"
    vault = stack.enter_context(Vault(tmp_path / "var", DATABASE_URL=url))
    assert vault.process.wait(60) == 1
    assert "the database does not answer" in vault.text
    assert "hunter2" not in vault.text
    assert "Traceback" not in vault.text


def test_the_first_start_names_the_address_and_the_set_up_link(tmp_path: Path, stack: ExitStack) -> None:
    vault = stack.enter_context(Vault(tmp_path / "var")).ready()
    assert f"Holdfast is at http://127.0.0.1:{vault.port}" in vault.text
    link = vault.text.split("/setup?token=")[1].split()[0]
    assert vault.get(f"/setup?token={link}") == 200
    assert vault.get("/setup?token=wrong") == 404
    assert vault.stop() == 0, vault.text


def test_with_an_administrator_named_there_is_no_link(tmp_path: Path, stack: ExitStack) -> None:
    vault = stack.enter_context(Vault(tmp_path / "var", ADMIN_EMAIL=EMAIL, ADMIN_PASSWORD=PASSWORD)).ready()
    assert "/setup" not in vault.text
    assert vault.token()
    assert vault.stop(signal.SIGINT) == 0, vault.text


def slow_upload(vault: Vault, token: str, number: int, answers: list[int], go_on: threading.Event) -> None:
    """A raw upload that pauses in the middle until it is told to go on."""
    body = os.urandom(200_000)
    with socket.create_connection(("127.0.0.1", vault.port), timeout=60) as line:
        head = (f"POST /api/v1/files?name=file-{number}.bin HTTP/1.1\r\nHost: 127.0.0.1:{vault.port}\r\n"
                f"Authorization: Bearer {token}\r\nContent-Type: application/octet-stream\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n")  # fmt: skip
        line.sendall(head.encode())
        for part in range(10):
            line.sendall(body[part * 20_000 : (part + 1) * 20_000])
            if part == 4:
                go_on.wait(60)
            time.sleep(0.05)
        status = line.makefile("rb").readline()
        answers.append(int(status.split()[1]) if status else 0)


@contextmanager
def uploading(vault: Vault, folder: Path, count: int) -> Iterator[tuple[list[int], threading.Event]]:
    """So many uploads, each in the middle of its body; afterwards all have their answers."""
    token, go_on, answers = vault.token(), threading.Event(), list[int]()
    threads = [threading.Thread(target=slow_upload, args=(vault, token, n, answers, go_on)) for n in range(count)]
    for thread in threads:
        thread.start()
    try:
        drafts = folder / "var/blobs/drafts"
        wait_until(lambda: answers or len(list(drafts.glob("*"))) == count, 60, about=f"{count} drafts")
        yield answers, go_on
    finally:
        go_on.set()
        for thread in threads:
            thread.join(60)


def test_a_stop_lets_requests_and_jobs_in_flight_complete(tmp_path: Path, stack: ExitStack) -> None:
    """Fifty uploads are under way when the signal comes; none is reset, and what they queued runs after a restart."""
    settings = {"ADMIN_EMAIL": EMAIL, "ADMIN_PASSWORD": PASSWORD, "WEB_THREADS": "160", "DATABASE_POOL_SIZE": "60",
                "DATABASE_LOCK_TIMEOUT": "60"}  # fmt: skip
    vault = stack.enter_context(Vault(tmp_path / "var", **settings)).ready()
    with uploading(vault, tmp_path, 50) as (answers, go_on):
        assert answers == []
        vault.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        go_on.set()
        assert vault.process.wait(60) == 0, vault.text
    assert answers == [201] * 50
    again = stack.enter_context(Vault(tmp_path / "var", **settings)).ready()
    token = again.token()
    assert len(again.items("/api/v1/files?limit=100", token)) == 50
    wait_until(lambda: not again.items("/api/v1/jobs?state=queued", token), 60)
    wait_until(lambda: not again.items("/api/v1/jobs?state=running", token), 60)
    assert len(again.items("/api/v1/jobs?state=done&limit=100", token)) == 100
    assert not again.items("/api/v1/jobs?state=dead", token)


def test_a_server_that_is_killed_leaves_no_process_behind(tmp_path: Path, stack: ExitStack) -> None:
    vault = stack.enter_context(Vault(tmp_path / "var")).ready()
    children = children_of(vault.process.pid)
    assert children
    vault.stop(signal.SIGKILL)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), 60, about="the children to end")
    assert vault.get("/health/live") == 0


def test_a_worker_of_the_web_that_is_killed_comes_back(tmp_path: Path, stack: ExitStack) -> None:
    vault = stack.enter_context(Vault(tmp_path / "var")).ready()
    (worker,) = children_of(vault.process.pid)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: vault.get("/health/live") == 200 and children_of(vault.process.pid) != [worker], 30)
    assert vault.stop() == 0, vault.text


def test_a_stop_while_a_worker_of_the_web_starts_again_is_heard(tmp_path: Path, stack: ExitStack) -> None:
    vault = stack.enter_context(Vault(tmp_path / "var")).ready()
    (worker,) = children_of(vault.process.pid)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: children_of(vault.process.pid) not in ([], [worker]), 30, about="the next worker to start")
    assert vault.stop(limit=30) == 0, vault.text


def child(vault: Vault, words: bytes) -> int:
    """The child whose command holds these words."""
    return next(pid for pid in children_of(vault.process.pid) if words in Path(f"/proc/{pid}/cmdline").read_bytes())


@pytest.fixture
def crew(tmp_path: Path, stack: ExitStack) -> Vault:
    """Web, relay and worker together, with a RabbitMQ that does not answer."""
    away = f"amqp://holdfast:hunter2@127.0.0.1:{free_port()}/"
    named = {"RABBITMQ_URL": away, "ADMIN_EMAIL": EMAIL, "ADMIN_PASSWORD": PASSWORD, "WEB_PROCESSES": "2"}
    vault = stack.enter_context(Vault(tmp_path / "var", **named)).ready()
    wait_until(lambda: vault.ended or ("relay_started" in vault.text and "ready for action" in vault.text), 60)
    assert not vault.ended, vault.text
    return vault


def test_without_rabbitmq_the_vault_starts_and_takes_uploads(crew: Vault, tmp_path: Path) -> None:
    """Promise 5: no broker in the request path. Four at once are what one of the web's processes takes of slow ones."""
    with uploading(crew, tmp_path, 4) as (answers, _):
        assert answers == []
    assert answers == [201] * 4
    assert len(crew.items("/api/v1/jobs?state=queued", crew.token())) == 16  # four of each upload
    with urlopen(f"{crew.url}/health/ready", timeout=10) as answer:
        health = json.load(answer)
    assert (health["status"], health["checks"]["broker"]) == ("degraded", "down")
    assert crew.stop() == 0, crew.text
    assert "hunter2" not in crew.text
    assert crew.text.count("relay_waits") == 1


@pytest.mark.parametrize(("name", "words"), [("web", b"tasks.web"), ("relay", b"tasks.relay"), ("worker", b"dramatiq")])
def test_the_fall_of_one_stops_the_others_and_says_which(crew: Vault, name: str, words: bytes) -> None:
    everybody = descendants_of(crew.process.pid)
    assert len(everybody) >= 6
    os.kill(child(crew, words), signal.SIGKILL)
    assert crew.process.wait(90) == 1
    assert f"{name} ended by itself (killed by SIGKILL); stopping the others" in crew.text
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in everybody), 30, about="all to end")


def test_a_killed_supervisor_leaves_nobody_behind(crew: Vault) -> None:
    everybody = descendants_of(crew.process.pid)
    crew.stop(signal.SIGKILL)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in everybody), 90, about="all to end")
