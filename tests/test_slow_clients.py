"""Promise 19 without a server in front: clients that send or read nothing do not stop the others."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from tests.test_serve import EMAIL, PASSWORD, Vault
from webapp.errors import Unavailable
from webapp.extensions import USER
from webapp.http.slots import Slots

THREADS = 6
LOGIN = "POST /api/v1/auth/login HTTP/1.1\r\nHost: vault\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    path: Path = tmp_path_factory.mktemp("slow") / "var"
    with Vault(path, WEB_THREADS=str(THREADS), ADMIN_EMAIL=EMAIL, ADMIN_PASSWORD=PASSWORD, JOB_THREADS="1") as vault:
        yield vault.ready()


@pytest.fixture
def usual(tmp_path: Path) -> Iterator[Vault]:
    """As many threads as the vault has by itself."""
    limit = {"SIGN_IN_RATE_LIMIT": "1000000 per minute"}
    with Vault(tmp_path / "var", ADMIN_EMAIL=EMAIL, ADMIN_PASSWORD=PASSWORD, **limit) as vault:
        yield vault.ready()


def stalled(stack: ExitStack, vault: Vault, request: str) -> socket.socket:
    """A connection that sends this and then nothing, and reads nothing."""
    parts = urlsplit(vault.url)
    line = stack.enter_context(socket.create_connection((parts.hostname, parts.port or 80), timeout=10))
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.sendall(request.encode())
    return line


def test_bodies_that_never_come_leave_threads_for_the_others(served: Vault) -> None:
    with ExitStack() as stack:
        lines = [stalled(stack, served, LOGIN + "Content-Length: 1000\r\n\r\n{") for _ in range(3 * THREADS)]
        assert [served.get("/health/live") for _ in range(5)] == [200] * 5
        assert served.get("/sign-in") == 200
        refused = 0
        for line in lines:
            line.settimeout(0.2)
            with suppress(TimeoutError):
                refused += b" 503 " in line.recv(4096)
        assert refused >= len(lines) - THREADS
    assert served.token()  # and afterwards all is as before


def test_bodies_of_strangers_leave_slots_for_accounts(served: Vault) -> None:
    token = served.token()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/octet-stream"}
    with ExitStack() as stack:
        for _ in range(2 * THREADS):
            stalled(stack, served, LOGIN + "Content-Length: 1000\r\n\r\n{")
        for number in range(3):
            upload = Request(f"{served.url}/api/v1/files?name=mine-{number}.txt", b"mine", headers)
            with urlopen(upload, timeout=60) as answer:
                assert answer.status == 201


def took(slots: Slots, network: str, user: str | None = None) -> bool:
    """Whether a slow transfer from there was let in."""
    environ = {"REMOTE_ADDR": network} | ({USER: user} if user else {})
    with suppress(Unavailable):
        slots.take(environ)
        return True
    return False


def test_strangers_get_half_of_the_slots_and_no_network_all_of_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.http.slots.PATIENCE", 0)
    slots = Slots(lambda *_: (), 32)
    assert [took(slots, "10.0.0.1") for _ in range(4)] == [True] * 3 + [False]
    assert took(slots, "2001:db8::1")
    assert took(slots, "2001:db8::2")
    assert not took(slots, "10.0.0.9"), "strangers have five together"
    assert [took(slots, "10.0.0.1", "ana") for _ in range(6)] == [True] * 5 + [False]


def test_a_slot_that_is_given_back_is_free_in_every_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.http.slots.PATIENCE", 0)
    slots = Slots(lambda *_: (), 3)
    for user in ("ana", None, None):
        environ = {"REMOTE_ADDR": "10.0.0.1"} | ({USER: user} if user else {})
        slot = slots.take(environ)
        assert not took(slots, "10.0.0.1", user)
        slots.leave(slot)


def drip(vault: Vault, seconds: float) -> list[float]:
    """200 connections that say nothing, headers by the letter, or bodies by the letter; what a live check took."""
    body = f"{LOGIN}Content-Length: 1000\r\n\r\n"
    took = []
    with ExitStack() as stack:
        lines = [stalled(stack, vault, ("", "GET / HTTP/1.1\r\nX-Slow: ", body)[n % 3]) for n in range(200)]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begun = time.monotonic()
            assert vault.get("/health/live") == 200
            took.append(time.monotonic() - begun)
            for number, line in enumerate(lines):
                with suppress(OSError):  # who is too slow is cut off or refused
                    line.send(b"x" if number % 3 else b"")
            time.sleep(0.1)
    return sorted(took)


def assert_others_are_served(vault: Vault, seconds: float) -> None:
    took = drip(vault, seconds)
    print(f"{len(took)} live checks: half within {took[len(took) // 2]:.3f} s, all within {took[-1]:.3f} s")
    assert took[int(len(took) * 0.99)] < 5.0  # a hang limit, ten times the promise
    assert vault.token()


def test_two_hundred_slow_clients_do_not_stop_others(usual: Vault) -> None:
    assert_others_are_served(usual, 3)


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_two_hundred_slow_clients_do_not_stop_others_for_a_minute(usual: Vault) -> None:
    assert_others_are_served(usual, 60)


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
