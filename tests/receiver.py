"""A receiver of webhooks on 127.0.0.1: keeps what it is sent, answers as it is told, badly where a test wants that."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from standardwebhooks import Webhook


class Message(NamedTuple):
    """One request that arrived whole."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> Any:
        """The payload, verified by the independent library. Raises WebhookVerificationError."""
        return Webhook(secret).verify(self.body, self.headers)


class Receiver(ThreadingHTTPServer):
    """`answers` are used up one a request, the last stays: a status, or the name of a misbehaviour."""

    daemon_threads, allow_reuse_address = True, True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.kept: list[Message] = []
        self.answers: list[int | str] = [200]
        self.headers: dict[str, str] = {}
        self.pause = 0.0  # seconds before each answer
        self.ending = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/hook"

    def next_answer(self) -> int | str:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The other side hangs up on purpose."""


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.kept.append(Message(self.path, headers, body))
        time.sleep(self.server.pause)
        answer = self.server.next_answer()
        if isinstance(answer, int):
            self._say(answer, b"thank you")
        else:
            getattr(self, f"_{answer}")()

    do_GET = do_POST  # noqa: N815

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _hang(self) -> None:
        self.server.ending.wait(30)

    def _drip(self) -> None:
        """A byte of the body now and then: each read of the client succeeds."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not self.server.ending.wait(0.1):
            self.wfile.write(b".")

    def _drip_head(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not self.server.ending.wait(0.1):
            self.wfile.write(b"X-Drop: 1\r\n" if time.monotonic() % 1 > 0.95 else b"X")

    def _flood(self) -> None:
        self._say(200, b"x" * 10_000_000)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def _gibberish(self) -> None:
        self.wfile.write(b"\x00\x01 this is no HTTP\r\n\r\n")

    def _nul(self) -> None:
        self._say(500, b"a\x00b\xff")

    def log_message(self, *_: Any) -> None:
        """Silent."""


@contextlib.contextmanager
def receiver() -> Iterator[Receiver]:
    """Runs one on a thread."""
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ending.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
