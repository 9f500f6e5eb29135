"""The process that keeps event streams open: `granian --interface asgi webapp.streams:app`.

Signing in, limits, headers and refusals are the application's own: it opens a stream like any other request, on a
thread. Then the loop takes over, where thousands of idle ones cost memory and nothing else.
"""

import asyncio
import contextlib
import ctypes
import gc
import resource
import signal
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from typing import Any

from flask import Flask

from webapp.app import create_app
from webapp.config import ConfigurationError
from webapp.http.streams import TAKE_OVER, WAKE, hub_of
from webapp.infra.endings import at_end
from webapp.infra.hubs import SLOW, Hub, Listener
from webapp.infra.news import HEARTBEAT
from webapp.infra.pulse import leave, live_as

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
PATHS = ("/events", "/api/v1/events", "/health/live")
CAPACITY = 4096
SPARE_FILES = 200  # descriptors for all that is no stream
OPENERS = 4  # threads
HEARTBEAT_EVERY = 15.0  # seconds


class _Stream:
    """One stream on the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.listener: Listener | None = None
        self._loop, self._stirred = loop, asyncio.Event()
        self._pump: asyncio.Task[None] | None = None

    def take(self, listener: Listener) -> None:
        """The application opened this stream for us."""
        self.listener = listener

    def wake(self) -> None:
        """There is something to send, or the stream ended; from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process stops
            self._loop.call_soon_threadsafe(self._stir)

    def _stir(self) -> None:
        self._stirred.set()
        if self.listener and self.listener.ended and self._pump:
            self._pump.cancel()  # also out of a send that waits for a client which does not read

    async def run(self, receive: Receive, send: Send) -> None:
        """Send until the client goes or the stream ends."""
        self._pump = asyncio.create_task(self._send_all(send))
        gone = asyncio.create_task(_gone(receive))
        self._stir()
        await asyncio.wait({self._pump, gone}, return_when=asyncio.FIRST_COMPLETED)
        for task in (self._pump, gone):
            task.cancel()
        await asyncio.gather(self._pump, gone, return_exceptions=True)
        if self.listener and self.listener.ended not in {"", SLOW}:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_all(self, send: Send) -> None:
        assert self.listener is not None  # noqa: S101
        while not self.listener.ended:
            self._stirred.clear()
            await send({"type": "http.response.body", "body": self.listener.take() or HEARTBEAT, "more_body": True})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_EVERY):
                    await self._stirred.wait()


class Streams:
    """The ASGI application."""

    def __init__(self, web: Flask, capacity: int = CAPACITY) -> None:
        self.web = web
        self.hub: Hub = hub_of(web, capacity)  # before any view asks for one with the seats of a web process
        self.pool = ThreadPoolExecutor(OPENERS, thread_name_prefix="opener")
        self.turns = asyncio.Semaphore(OPENERS)  # when thousands come at once, only these are made into requests

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One connection's request, or the life of the process."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        loop = asyncio.get_running_loop()

        def stop(*_: object) -> None:  # beside the server's own handler, which waits until all streams have ended
            loop.call_soon_threadsafe(self.hub.close)

        with contextlib.suppress(ValueError):  # not in the main thread: then somebody else minds the signals
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, stop)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.hub.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["path"].rstrip("/") not in PATHS:
            await _answer(send, 404, [(b"content-type", b"text/plain")], b"Events are at /events and /api/v1/events.\n")
            return
        stream = _Stream(asyncio.get_running_loop())
        await self._begin(stream, scope, send)
        if stream.listener is not None:
            try:
                await stream.run(receive, send)
            finally:
                self.hub.leave(stream.listener)

    async def _begin(self, stream: _Stream, scope: Message, send: Send) -> None:
        """Answer; of the request nothing is kept while the stream is open."""
        loop = asyncio.get_running_loop()
        async with self.turns:
            environ = environ_of(scope) | {TAKE_OVER: stream.take, WAKE: stream.wake}
            status, headers, body = await loop.run_in_executor(self.pool, self._ask, environ)
        if stream.listener is None:
            await _answer(send, status, headers, body)
        else:
            await send({"type": "http.response.start", "status": status, "headers": headers})

    def _ask(self, environ: dict[str, Any]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """The application's answer, whole."""
        told: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]], *_: Any) -> Callable[[bytes], object]:
            told[:] = status, headers
            return lambda _: None

        body = self.web.wsgi_app(environ, start)
        try:
            content = b"".join(body)
        finally:
            if hasattr(body, "close"):
                body.close()
        status, headers = told
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return int(status[:3]), raw, content


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def environ_of(scope: Message) -> dict[str, Any]:
    """The request of an ASGI scope as WSGI has it (PEP 3333), without its body: a stream's has none."""
    server, client = scope.get("server") or ("localhost", 80), scope.get("client") or ("", 0)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"], "SCRIPT_NAME": "", "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "PATH_INFO": scope["path"].encode().decode("latin-1"), "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": client[0], "wsgi.url_scheme": scope["scheme"],
        "SERVER_NAME": server[0], "SERVER_PORT": str(server[1]),
        "wsgi.version": (1, 0), "wsgi.input": BytesIO(), "wsgi.errors": sys.stderr, "wsgi.multithread": True,
        "wsgi.multiprocess": True, "wsgi.run_once": False,
    }  # fmt: skip
    for raw_name, raw_value in scope["headers"]:
        name, value = f"HTTP_{raw_name.decode('latin-1').upper().replace('-', '_')}", raw_value.decode("latin-1")
        joint = "; " if name == "HTTP_COOKIE" else ","
        environ[name] = f"{environ[name]}{joint}{value}" if name in environ else value
    return environ


def room() -> int:
    """How many streams this process can keep open; its limit of descriptors is raised as far as allowed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CAPACITY if soft == resource.RLIM_INFINITY else max(1, min(CAPACITY, soft - SPARE_FILES))


def make_streams() -> Streams:
    """The application of the environment; says what is wrong with it and ends with status 2."""
    try:
        streams = Streams(create_app(), room())
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    live_as(streams.web, "streams", OPENERS)
    at_end(partial(leave, streams.web))
    gc.collect()
    _give_back()
    gc.freeze()  # what is here now stays: collections need not look at it again
    return streams


def _give_back() -> None:
    """Return what starting needed for a moment: glibc keeps freed pages, 10 MB here (malloc_trim(3))."""
    with contextlib.suppress(AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def __getattr__(name: str) -> Streams:
    """`app`, made when a server asks for it: importing the module alone reads no environment."""
    if name != "app":
        raise AttributeError(name)
    globals()["app"] = made = make_streams()
    return made
