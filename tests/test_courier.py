"""Receivers that mean harm: whatever they answer, an attempt ends in good time and within little memory."""

import contextlib
import gzip
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import make_settings
from webapp.config import use_settings
from webapp.infra import courier
from webapp.infra.courier import Answer
from webapp.services.dispatches import next_delay, retry_after

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
Script = Callable[[socket.socket, threading.Event], None]


@pytest.fixture(autouse=True)
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    use_settings(make_settings(tmp_path, WEBHOOK_ALLOWED_NETWORKS="127.0.0.0/8"))
    monkeypatch.setattr(courier, "TOTAL", 1.0)
    yield
    use_settings(make_settings(tmp_path))


@contextmanager
def attacker(script: Script) -> Iterator[str]:
    """Does what the script says with every connection; yields its address."""
    ending = threading.Event()
    door = socket.create_server(("127.0.0.1", 0))
    door.settimeout(10)

    def serve() -> None:
        with contextlib.suppress(OSError):
            line, _ = door.accept()
            with line, contextlib.suppress(OSError):
                script(line, ending)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{door.getsockname()[1]}/"
    finally:
        ending.set()
        door.close()
        thread.join(10)


def met(script: Script, body: bytes = b"{}") -> Answer:
    """What an attempt makes of it; in good time and without much memory, or the test fails."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.monotonic()
    with attacker(script) as url:
        answer = courier.post(url, body, {})
    assert time.monotonic() - begun < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024, "kB"
    return answer


def forever(*pieces: bytes, pause: float = 0.0, first: bytes = b"") -> Script:
    """First this, then these again and again."""

    def talk(line: socket.socket, ending: threading.Event) -> None:
        line.recv(65536)
        line.sendall(first)
        while not ending.wait(pause):
            for piece in pieces:
                line.sendall(piece)

    return talk


def once(answer: bytes) -> Script:
    def talk(line: socket.socket, _: threading.Event) -> None:
        heard = b""
        while not heard.endswith(b"{}"):
            heard += line.recv(65536)
        line.sendall(answer)

    return talk


ENDLESS = {
    "one more interim answer after the other": forever(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a head that never ends": forever(b"X-A: b\r\n", first=OK, pause=0.01),
    "a status line that never ends": forever(b"a" * 4096, first=b"HTTP/1.1 200 ", pause=0.01),
    "a byte of the body now and then": forever(b".", first=OK + b"Content-Length: 9999999\r\n\r\n", pause=0.05),
    "chunks of nothing but comments": forever(b"1;" + b"c" * 200 + b"\r\nx\r\n", first=CHUNKED, pause=0.05),
    "trailers after the last chunk": forever(b"X-T: 1\r\n", first=CHUNKED + b"0\r\n"),
    "nothing at all": forever(pause=60),
}  # fmt: skip


@pytest.mark.parametrize("what", ENDLESS)
def test_what_never_ends_is_cut_off(what: str) -> None:
    answer = met(ENDLESS[what])
    assert answer.status is None
    assert answer.error in {"No whole answer within 1 seconds.", "The answer is not HTTP."}
    assert answer.duration < 8000
    assert len(answer.text) <= courier.SHOWN


def test_one_who_takes_the_connection_and_never_reads_is_cut_off() -> None:
    answer = met(lambda _, ending: bool(ending.wait(30)) and None, b"x" * 50_000_000)
    assert answer.error == "No whole answer within 1 seconds."


def test_one_who_never_shakes_hands_is_cut_off() -> None:
    with attacker(lambda _, ending: bool(ending.wait(30)) and None) as url:
        answer = courier.post(url.replace("http:", "https:"), b"{}", {})
    assert (answer.status, answer.error) == (None, "No whole answer within 1 seconds.")


def test_the_watchdog_that_barked_while_it_connected_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection stood at the very moment of the deadline: nobody would cut it off later."""
    connect = socket.create_connection

    def late(*args: object, **options: object) -> socket.socket:
        line = connect(*args, **options)  # type: ignore[arg-type]
        time.sleep(1.2)
        return line

    monkeypatch.setattr(socket, "create_connection", late)
    answer = met(forever(b".", first=OK + b"Content-Length: 9999999\r\n\r\n", pause=0.05))
    assert (answer.status, answer.error) == (None, "No whole answer within 1 seconds.")


def test_a_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    head = OK + b"Content-Encoding: gzip\r\nContent-Length: " + str(len(bomb)).encode() + b"\r\n\r\n"
    answer = met(once(head + bomb))
    assert (answer.status, len(answer.text) <= courier.SHOWN) == (200, True)


def test_of_headers_the_first_few_are_kept_and_of_each_the_beginning() -> None:
    large = b"".join(b"X-%d%s: %s\r\n" % (n, b"n" * 20_000, b"v" * 20_000) for n in range(90))
    answer = met(once(OK + large + b"Content-Length: 0\r\n\r\n"))
    assert answer.status == 200
    assert sum(len(name) + len(value) for name, value in answer.headers.items()) <= 50 * 600


@pytest.mark.parametrize("answer", [
    OK + b"Content-Length: -5\r\n\r\n", OK + b"Content-Length: 99999999999999999999\r\n\r\nx",
    CHUNKED + b"fffffffffffffffffffff\r\nx", b"\xff" * 70_000, b"HTTP/9.9 200 OK\r\n\r\n",
    b"HTTP/1.1 99999 OK\r\n\r\n", b"HTTP/1.1 -1 OK\r\n\r\n", b"HTTP/1.1 200\r\n\r\n", b"", b"\r\n" * 1000,
    OK + b"A: b\r\n" * 500 + b"\r\n", OK + b": \r\n\x00: \x00\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nhello",
])  # fmt: skip
def test_an_answer_that_breaks_the_rules_is_an_answer_or_a_fault_in_words(answer: bytes) -> None:
    found = met(once(answer))
    assert found.status is not None or (found.error or "").endswith(".")


@pytest.mark.parametrize("value", [
    "Mon, 01 Jan 2024 00:00:00 +9999999999999999999", "Mon, 01 Jan 9999 00:00:00 -2359", "9" * 500, "-1", "1e9", "٣",
    "Mon, 99 Jan 2024 99:99:99 GMT", "\0", "", "Mon, 01 Jan 2024 00:00:00 -0000",
])  # fmt: skip
def test_a_wish_to_be_asked_later_is_a_day_at_most_or_is_not_heard(value: str) -> None:
    from types import SimpleNamespace

    assert retry_after({"Retry-After": value}) >= 0
    started = SimpleNamespace(attempts=1, max_attempts=10)
    assert 1 <= next_delay(started, Answer(503, {"Retry-After": value})) <= 86_400  # type: ignore[arg-type]
