"""Promise 19 without a server in front: clients that send or read nothing do not stop the others."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from tests.test_serve import EMAIL, PASSWORD, Vault

THREADS = 6


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    path: Path = tmp_path_factory.mktemp("slow") / "var"
    with Vault(path, WEB_THREADS=str(THREADS), ADMIN_EMAIL=EMAIL, ADMIN_PASSWORD=PASSWORD, JOB_THREADS="1") as vault:
        yield vault.ready()


def stalled(stack: ExitStack, vault: Vault, request: str) -> socket.socket:
    """A connection that sends this and then nothing, and reads nothing."""
    parts = urlsplit(vault.url)
    line = stack.enter_context(socket.create_connection((parts.hostname, parts.port or 80), timeout=10))
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.sendall(request.encode())
    return line


def test_bodies_that_never_come_leave_threads_for_the_others(served: Vault) -> None:
    slow = "POST /api/v1/auth/login HTTP/1.1\r\nHost: vault\r\nContent-Type: application/json\r\n"
    with ExitStack() as stack:
        lines = [stalled(stack, served, slow + "Content-Length: 1000\r\n\r\n{") for _ in range(3 * THREADS)]
        assert [served.get("/health/live") for _ in range(5)] == [200] * 5
        assert served.get("/sign-in") == 200
        refused = 0
        for line in lines:
            line.settimeout(0.2)
            with suppress(TimeoutError):
                refused += b" 503 " in line.recv(4096)
        assert refused >= len(lines) - THREADS
    assert served.token()  # and afterwards all is as before


def test_downloads_that_nobody_reads_leave_threads_for_the_others(served: Vault) -> None:
    token = served.token()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/octet-stream"}
    with urlopen(
        Request(f"{served.url}/api/v1/files?name=big.bin", bytes(32 * 1024**2), headers), timeout=60
    ) as answer:
        location = answer.headers["Location"]
    slow = f"GET {location}/content HTTP/1.1\r\nHost: vault\r\nAuthorization: Bearer {token}\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(2 * THREADS):
            stalled(stack, served, slow)
        assert [served.get("/health/live") for _ in range(5)] == [200] * 5
        assert served.items("/api/v1/files", token)
