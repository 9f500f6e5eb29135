"""A program that uses the vault while it is being broken: one request, one connection, no hidden repetition."""

import http.client
import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.faults.ledger import Call, Ledger

PATIENCE = 12.0  # seconds until a client gives an answer up; the outcome is then unknown


class Answer(NamedTuple):
    """An answer that arrived whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Signed in as one person."""

    def __init__(self, port: int, ledger: Ledger, token: str = "") -> None:
        self.port, self.ledger, self.token = port, ledger, token

    def sign_in(self, email: str, password: str) -> "Client":
        """By the API. Raises AssertionError when it is refused."""
        answer = self.ask("POST", "/auth/login", json.dumps({"email": email, "password": password}).encode())
        assert answer is not None, "sign-in failed"
        assert answer.status == 200, answer.body
        self.token = answer.json["access_token"]
        return self

    def ask(
        self, method: str, path: str, data: bytes | None = None, *, slowly: bool = False, **headers: str
    ) -> Answer | None:
        """One request to /api/v1. None: nobody knows what became of it (no answer, half an answer, 5xx)."""
        begun, what = time.monotonic(), f"{method} {_route(path)}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        kind = (
            "application/octet-stream"
            if path.startswith("/files?") or path.endswith("/content")
            else "application/json"
        )
        sent = {"Authorization": f"Bearer {self.token}", "Content-Type": kind, **named}
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            body = in_pieces(data) if slowly and data else data
            line.request(method, f"/api/v1{path}", body, {**sent, "Content-Length": str(len(data or b""))})
            heard = line.getresponse()
            answer = Answer(heard.status, {name.lower(): value for name, value in heard.getheaders()}, heard.read())
        except (OSError, http.client.HTTPException) as error:
            self.ledger.call(Call(begun, time.monotonic(), what, 0, type(error).__name__))
            return None
        finally:
            line.close()
        detail = answer.body[:500].decode(errors="replace") if answer.status >= 400 else ""
        self.ledger.call(Call(begun, time.monotonic(), what, answer.status, detail))
        return answer if answer.status < 500 else None


def in_pieces(data: bytes) -> Iterator[bytes]:
    """The body over most of a second, so that somebody dies while it comes in."""
    for place in range(4):
        yield data[place * len(data) // 4 : (place + 1) * len(data) // 4]
        time.sleep(0.25)


def _route(path: str) -> str:
    """The path without what differs from call to call."""
    parts = path.partition("?")[0].split("/")
    return "/".join("…" if len(part) == 36 and part.count("-") == 4 else part for part in parts)
