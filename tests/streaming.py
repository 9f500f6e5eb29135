"""Listeners for tests: to the ASGI application inside this process, and to any server by a socket."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.servers import wait_until
from webapp.streams import Streams

EVENTS = "/api/v1/events"


@dataclass(frozen=True, slots=True)
class Event:
    """One event as the browser would hand it out."""

    id: str
    type: str
    data: Any


def events_in(text: str) -> list[Event]:
    """The whole events of a stream's text (HTML standard, 9.2.6)."""
    found = []
    for block in text.split("\n\n")[:-1]:
        fields = dict(line.partition(": ")[::2] for line in block.split("\n") if line and line[0] != ":")
        if "event" in fields:
            found.append(Event(fields.get("id", ""), fields["event"], json.loads(fields["data"])))
    return found


@dataclass
class Ear:
    """One stream: what came so far. `reading` cleared is a client that does not read."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""
    over: threading.Event = field(default_factory=threading.Event)
    reading: threading.Event = field(default_factory=threading.Event)

    @property
    def events(self) -> list[Event]:
        return events_in(self.text)

    def types(self) -> list[str]:
        """Of all events so far."""
        return [event.type for event in self.events]

    def await_event(self, type_: str, **data: Any) -> Event:
        """The first event of this type whose data holds these."""

        def found() -> list[Event]:
            return [e for e in self.events if e.type == type_ and all(e.data.get(k) == v for k, v in data.items())]

        wait_until(found, 20, about=f"{type_} {data} among {self.events}")
        return found()[0]


class Floor:
    """Runs an ASGI application on a loop of its own thread."""

    def __init__(self, streams: Streams) -> None:
        self.streams = streams
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.leaving: list[asyncio.Event] = []

    def call(self, headers: dict[str, str], path: str = EVENTS, query: str = "", method: str = "GET") -> Ear:
        """Send a request; return once its answer has begun."""
        ear = Ear()
        ear.reading.set()
        scope = {
            "type": "http", "method": method, "path": path, "query_string": query.encode(), "http_version": "1.1",
            "scheme": "http", "client": ("127.0.0.1", 40000), "server": ("127.0.0.1", 8010),
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        }  # fmt: skip
        asyncio.run_coroutine_threadsafe(self._run(ear, scope), self.loop)
        wait_until(lambda: ear.status or ear.over.is_set(), 20, about="an answer")
        return ear

    def listen(self, headers: dict[str, str], last: str | None = None) -> Ear:
        """An open stream."""
        ear = self.call(headers | ({} if last is None else {"Last-Event-ID": last}))
        assert ear.status == 200, ear.text
        return ear

    async def _run(self, ear: Ear, scope: dict[str, Any]) -> None:
        left = asyncio.Event()
        self.leaving.append(left)
        ear.leave = lambda: self.loop.call_soon_threadsafe(left.set)  # type: ignore[attr-defined]

        async def receive() -> dict[str, Any]:
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            while not ear.reading.is_set():  # noqa: ASYNC110 - cleared from another thread
                await asyncio.sleep(0.01)
            if message["type"] == "http.response.start":
                ear.headers = {name.decode(): value.decode() for name, value in message["headers"]}
                ear.status = message["status"]
            else:
                ear.text += message["body"].decode()

        try:
            await self.streams(scope, receive, send)
        finally:
            ear.over.set()

    def close(self) -> None:
        """End what is open."""
        for left in self.leaving:
            self.loop.call_soon_threadsafe(left.set)
        wait_until(lambda: not len(self.streams.hub), 20, about="the streams to end")
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


@contextmanager
def connected(url: str, token: str, last: str | None = None) -> Iterator[socket.socket]:
    """A socket on which the head of the request for a stream was sent."""
    parts = urlsplit(url)
    head = f"GET {EVENTS} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {token}\r\n"
    head += f"Last-Event-ID: {last}\r\n\r\n" if last else "\r\n"
    with socket.create_connection((str(parts.hostname), int(parts.port or 80)), timeout=30) as line:
        line.sendall(head.encode())
        yield line


def read_until(line: socket.socket, words: bytes) -> bytes:
    """What comes until these words did, or the end."""
    data = b""
    while words not in data:
        piece = line.recv(65536)
        if not piece:
            break
        data += piece
    return data
