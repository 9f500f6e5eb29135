"""Event streams of real servers: many idle ones, those of the web's own threads, and how both stop."""

import http.client
import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.faults.processes import Program
from tests.servers import PrivateRedis, children_of, free_port, wait_until
from tests.streaming import connected, read_until
from tests.test_serve import EMAIL, PASSWORD, Vault, child
from webapp.infra.farnews import FarBoard
from webapp.infra.news import News

ADMIN = {"ADMIN_EMAIL": EMAIL, "ADMIN_PASSWORD": PASSWORD}
MANY = 300


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def status_of(stack: ExitStack, url: str, token: str) -> int:
    line = stack.enter_context(connected(url, token))
    return int(read_until(line, b"\r\n\r\n").split()[1])


def times_of(port: int, token: str, count: int = 40) -> list[float]:
    """Seconds of ordinary requests, sorted."""
    taken = []
    for _ in range(count):
        began = time.monotonic()
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        line.request("GET", "/api/v1/users/me", headers={"Authorization": f"Bearer {token}"})
        assert line.getresponse().status == 200
        line.close()
        taken.append(time.monotonic() - began)
    return sorted(taken)


def test_streams_take_half_of_the_webs_threads_and_no_more(tmp_path: Path, stack: ExitStack) -> None:
    vault = stack.enter_context(Vault(tmp_path / "var", WEB_THREADS="2", **ADMIN)).ready()
    token = vault.token()
    with ExitStack() as streams:
        line = streams.enter_context(connected(vault.url, token))
        assert b" 200 " in read_until(line, b"event: sync\n")
        for _ in range(3):
            refused = streams.enter_context(connected(vault.url, token))
            answer = read_until(refused, b"}")
            assert b" 503 " in answer.split(b"\r\n")[0]
            assert b"retry-after: 30" in answer.lower()
        assert len(times_of(vault.port, token)) == 40  # the other threads go on
        body = {"name": "Live"}
        vault.post("/api/v1/folders", body, Authorization=f"Bearer {token}")
        assert b"folder.changed" in read_until(line, b"folder.changed")
    wait_until(lambda: status_of(stack, vault.url, token) == 200, 30, about="the seats to be free again")


def test_open_streams_do_not_hold_up_the_stop(tmp_path: Path, stack: ExitStack) -> None:
    vault = stack.enter_context(Vault(tmp_path / "var", **ADMIN)).ready()
    line = stack.enter_context(connected(vault.url, vault.token()))
    read_until(line, b"event: sync\n")
    began = time.monotonic()
    assert vault.stop() == 0, vault.text
    assert time.monotonic() - began < 40  # granian kills a worker that did not end after 45
    assert read_until(line, b"never")[-5:] == b"0\r\n\r\n"  # an ordered end


@pytest.fixture
def served(tmp_path: Path, stack: ExitStack) -> Vault:
    """`make run` with a Redis: the web, and streams in a process beside it."""
    redis = stack.enter_context(PrivateRedis())
    stack.redis = redis.url  # type: ignore[attr-defined]
    named = {"REDIS_URL": redis.url, "STREAMS_PORT": str(free_port()), **ADMIN}
    vault = stack.enter_context(Vault(tmp_path / "var", **named)).ready()
    vault.streams = int(named["STREAMS_PORT"])  # type: ignore[attr-defined]
    wait_until(lambda: _answers(vault.streams) or vault.ended, 60, about="the streams process")  # type: ignore[attr-defined]
    assert not vault.ended, vault.text
    return vault


def _answers(port: int) -> bool:
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as line:
            line.request("GET", "/health/live")
            return line.getresponse().status == 200
    except OSError:
        return False


def test_hundreds_of_idle_streams_leave_requests_alone_and_each_hears(served: Vault, stack: ExitStack) -> None:
    token, url = served.token(), f"http://127.0.0.1:{served.streams}"  # type: ignore[attr-defined]
    before = times_of(served.port, token)
    lines = [stack.enter_context(connected(url, token)) for _ in range(MANY)]
    for line in lines:
        assert b" 200 " in read_until(line, b"event: sync\n")
    beside = times_of(served.port, token)
    print(json.dumps({"median": [before[20], beside[20]], "p95": [before[38], beside[38]]}))
    assert beside[20] < 10 * max(before[20], 0.01)  # a hang limit; the bench row compares
    served.post("/api/v1/folders", {"name": "Live"}, Authorization=f"Bearer {token}")
    assert all(b"folder.changed" in read_until(line, b"folder.changed") for line in lines)
    assert served.stop() == 0, served.text
    assert all(read_until(line, b"never").endswith(b"0\r\n\r\n") for line in lines)


def test_a_client_that_does_not_read_is_cut_off_and_costs_no_memory(served: Vault, stack: ExitStack) -> None:
    slow = stack.enter_context(connected(f"http://127.0.0.1:{served.streams}", served.token()))  # type: ignore[attr-defined]
    read_until(slow, b"event: sync\n")
    board = FarBoard(stack.redis)  # type: ignore[attr-defined]
    (key,) = board.redis.client().scan_iter("holdfast:news:*")
    (worker,) = children_of(child(served, b"tasks.streams"))
    before, big = resident(worker), '{"id":"' + "x" * 100_000 + '"}'
    for _ in range(300):  # 30 MB, more than lies in sockets and may wait for one listener
        board.tell([News(int(key.rpartition(b":")[2]), "file.changed", big)])
        board.flush(5)
    assert resident(worker) - before < 30_000_000
    slow.settimeout(30)
    while slow.recv(1_000_000):  # what lay in the sockets, then the end
        pass


def resident(pid: int) -> int:
    """Bytes of memory."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) * 1024  # type: ignore[index]


def test_the_fall_of_the_streams_process_stops_the_vault_and_says_so(served: Vault) -> None:
    os.kill(child(served, b"tasks.streams"), signal.SIGKILL)
    assert served.process.wait(90) == 1
    assert "streams ended by itself (killed by SIGKILL); stopping the others" in served.text


def test_a_streams_port_in_use_is_said_in_one_line(tmp_path: Path, stack: ExitStack) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        named = {"PORT": str(free_port()), "STREAMS_PORT": str(port), "REDIS_URL": "redis://127.0.0.1:1/0"}
        program = Program(("-m", "tasks.serve"), tmp_path / "log", VAR_DIR=str(tmp_path / "var"), **named)
        vault = stack.enter_context(program)
        assert vault.process.wait(60) == 1
    assert f"127.0.0.1:{port} is not free" in vault.text
    assert "STREAMS_PORT" in vault.text
