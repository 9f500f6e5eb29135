"""Makes requests as fast as the server answers: wrk where it is installed, else some processes of our own."""

import json
import multiprocessing
import re
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

PROCESSES, CONNECTIONS = 2, 8  # connections in all


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of requests saw. Latency is milliseconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    bad: int

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def press(url: str, headers: dict[str, str] | None = None, seconds: float = 5.0) -> Load:
    """GET this address over 8 connections for so long. Raises RuntimeError when answers are not 2xx."""
    run = _wrk if shutil.which("wrk") else _own
    load = run(url, headers or {}, seconds)
    if load.bad or not load.requests:
        raise RuntimeError(f"{load.bad} of {load.requests} answers of {url} were not 2xx")
    return load


def _wrk(url: str, headers: dict[str, str], seconds: float) -> Load:
    lines = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    command = ["wrk", f"-t{PROCESSES}", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--latency", *lines, url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    total = re.search(r"(\d+) requests in ([\d.]+)(m?s|m)", text)
    assert total, text
    bad = sum(int(count) for count in re.findall(r"Non-2xx or 3xx responses: (\d+)", text))
    bad += sum(int(count) for count in re.findall(r"(?:connect|read|write|timeout) (\d+)", text))
    spent = float(total[2]) * {"ms": 0.001, "s": 1, "m": 60}[total[3]]
    return Load(int(total[1]), spent, _latency(text, "50%"), _latency(text, "99%"), bad)


def _latency(text: str, which: str) -> float:
    found = re.search(rf"{which}\s+([\d.]+)(us|ms|s)", text)
    return float(found[1]) * {"us": 0.001, "ms": 1, "s": 1000}[found[2]] if found else 0.0


def _own(url: str, headers: dict[str, str], seconds: float) -> Load:
    """Costs more CPU than wrk, which a small machine takes from the server: compare only runs of the same kind."""
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{head}\r\n".encode()
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        work = [(parts.hostname, parts.port, request, CONNECTIONS // PROCESSES, seconds)] * PROCESSES
        began = time.perf_counter()
        results = pool.starmap(_worker, work)
        spent = min(seconds, time.perf_counter() - began)
    times = sorted(moment for taken, _ in results for moment in taken)
    middle = (lambda share: times[int(len(times) * share)] * 1000) if times else (lambda share: 0.0)
    return Load(len(times), spent, middle(0.5), middle(0.99), sum(bad for _, bad in results))


def _worker(host: str, port: int, request: bytes, connections: int, seconds: float) -> tuple[list[float], int]:
    lines = [socket.create_connection((host, port), timeout=10) for _ in range(connections)]
    taken, bad, end = [], 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        sent = []
        for line in lines:
            line.sendall(request)
            sent.append(time.perf_counter())
        for line, began in zip(lines, sent, strict=True):
            bad += not _read_answer(line).startswith((b"HTTP/1.1 2", b"HTTP/1.1 3"))
            taken.append(time.perf_counter() - began)
    return taken, bad


def _read_answer(line: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += line.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    chunked = b"transfer-encoding: chunked" in head.lower()
    while not body.endswith(b"0\r\n\r\n") if chunked else len(body) < int(length[1] if length else 0):
        body += line.recv(65536)
    return head


def fetch(
    url: str, headers: dict[str, str] | None = None, body: Any = None, method: str | None = None
) -> tuple[int, Any, Any]:
    """One request with a JSON body: status, headers, decoded answer."""
    import requests

    answer = requests.request(
        method or ("POST" if body is not None else "GET"), url, json=body, headers=headers, timeout=60
    )
    kind = answer.headers.get("Content-Type", "")
    return answer.status_code, answer.headers, json.loads(answer.content) if "json" in kind else answer.text
