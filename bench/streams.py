"""Row `streams`: a thousand idle event streams: the memory they take, and ordinary requests beside them."""

import contextlib
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

from bench.load import Load, press
from bench.processes import Server, running, settle, web
from bench.reads import kinds
from bench.rows import Row
from bench.vault import NO_BROKER, REDIS, Vault, vault
from tests.servers import connects, free_port
from webapp.streams import room

COUNT = 1000
SIZE = 200  # MB that the whole process tree may take
ROUNDS = 5
UNCHANGED = 1 / 1.2  # p99 alone against p99 beside the streams


def streams(quick: bool) -> Iterator[Row]:
    """Opens them, lets them idle, measures; then the same requests without them, several times in turn."""
    if not connects(urlsplit(REDIS).port or 6379):
        raise RuntimeError("needs Redis")
    room()  # descriptors for our side of the streams
    rounds, seconds = (3, 2.0) if quick else (ROUNDS, 4.0)
    with vault(kinds()[0], RABBITMQ_URL=NO_BROKER) as target, ExitStack() as stack:
        server = stack.enter_context(web(target.home, target.environ))
        holder = stack.enter_context(_holder(target))
        headers, url = target.headers(server.url), f"{server.url}/api/v1/files?limit=25"
        press(url, headers, 1.0)
        empty, began = holder.memory(), time.perf_counter()
        alone: list[Load] = []
        beside: list[Load] = []
        with _open(holder, headers):
            opened = time.perf_counter() - began
        for _ in range(rounds):
            alone.append(press(url, headers, seconds))
            with _open(holder, headers) as lines:
                settle()
                used = holder.cpu()
                beside.append(press(url, headers, seconds))
                used = (holder.cpu() - used) / seconds
                full = holder.memory()
                _all_open(lines)
            settle()
    memory = {"MB empty": empty / 1e6, "kB a stream": (full - empty) / COUNT / 1e3}
    more = {**memory, "s to open": opened, "cores idle": used}
    yield Row(f"{COUNT:,} idle event streams: memory", full / 1e6, "MB", at_most=SIZE, more=more)
    before, after = (min(load.p99 for load in loads) for loads in (alone, beside))
    rates = [max(load.rate for load in loads) for loads in (alone, beside)]
    turns = [" ".join(f"{load.p99:.1f}" for load in loads) for loads in (alone, beside)]
    yield Row(f"p99 of requests alone, against beside {COUNT:,} streams", before, "ms", after, UNCHANGED,
              more={"requests/s alone": rates[0], "beside": rates[1],
                    "p99 of each turn alone": turns[0], "and beside": turns[1]})  # fmt: skip


@contextlib.contextmanager
def _holder(target: Vault) -> Iterator[Server]:
    """The streams command of the compose file."""
    port = free_port()
    surroundings = {**target.environ, "HOST": "127.0.0.1", "STREAMS_PORT": str(port)}
    with running([sys.executable, "-m", "tasks.streams"], target.home, surroundings, port, "streams") as server:
        yield server


@contextlib.contextmanager
def _open(holder: Server, headers: dict[str, str]) -> Iterator[list[socket.socket]]:
    """So many streams, each with its first event."""
    parts = urlsplit(holder.url)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"GET /api/v1/events HTTP/1.1\r\nHost: {parts.netloc}\r\n{head}\r\n".encode()
    with ExitStack() as stack:
        lines = []
        for _ in range(COUNT):
            line = stack.enter_context(socket.create_connection((str(parts.hostname), parts.port or 80), timeout=60))
            line.sendall(request)
            lines.append(line)
        for line in lines:
            text = b""
            while b"event: sync" not in text:
                piece = line.recv(65536)
                if not piece or not re.match(rb"HTTP/1.1 200", text or piece):
                    raise RuntimeError(f"a stream was refused: {(text + piece)[:300]!r}")
                text += piece
        yield lines


def _all_open(lines: list[socket.socket]) -> None:
    """Raise RuntimeError unless every stream is still open."""
    for line in lines:
        line.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while piece := line.recv(65536):
                if piece.endswith(b"0\r\n\r\n"):
                    raise RuntimeError("a stream ended")
            raise RuntimeError("a stream was closed")
