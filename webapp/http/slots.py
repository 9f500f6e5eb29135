"""Slow clients hold a thread while a body comes in or a file goes out: never more than a third of the threads at once.

A server in front that buffers bodies keeps them away altogether; this keeps the vault answering without one.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from flask import request

from webapp.errors import Unavailable

KEY = "holdfast.slots"
PATIENCE = 0.25  # seconds that a request waits for a slot: waiting holds a thread, too
SMALL = 256 * 1024  # bytes that fit into the buffers on the way, and so hold nobody


class Slots:
    """WSGI middleware: requests take a slot from the first byte of a body that is asked for until its last."""

    def __init__(self, application: Callable[..., Iterable[bytes]], threads: int) -> None:
        self.application = application
        self._free = threading.BoundedSemaphore(max(1, threads // 3))

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one request; whatever it still holds at the end is free again."""
        environ[KEY] = self
        body = Body(environ["wsgi.input"], self, environ.get("CONTENT_LENGTH") or "")
        environ["wsgi.input"] = body
        try:
            return self.application(environ, start_response)
        finally:
            body.leave()

    def take(self) -> None:
        """Wait a little for a slot. Raises Unavailable."""
        if not self._free.acquire(timeout=PATIENCE):
            raise Unavailable("Too many slow transfers at once. Try again in a moment.", retry_after=5)

    def leave(self) -> None:
        """Give it back."""
        self._free.release()


class Body:
    """The stream of a request's body (PEP 3333, wsgi.input)."""

    def __init__(self, source: Any, slots: Slots, length: str) -> None:
        self._source, self._slots = source, slots
        self._left = int(length) if length.isdecimal() else None
        self._holds = False

    def read(self, size: int = -1) -> bytes:
        """The next bytes. Raises Unavailable when too many bodies are on their way."""
        if self._left == 0:
            return b""
        if not self._holds:
            self._slots.take()
            self._holds = True
        data: bytes = self._source.read(size if self._left is None else _most(size, self._left))
        if self._left is not None:
            self._left -= len(data)
        if not data or self._left == 0:
            self.leave()
        return data

    def readline(self, size: int = -1) -> bytes:
        """One line; bodies here are read in blocks, so this is no hurry."""
        line = b""
        while (size < 0 or len(line) < size) and (piece := self.read(1)):
            line += piece
            if piece == b"\n":
                break
        return line

    def readlines(self, hint: int = -1) -> list[bytes]:
        """All lines."""
        return list(self)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    def leave(self) -> None:
        """The body is read, or nobody will read it."""
        if self._holds:
            self._holds = False
            self._slots.leave()


def _most(size: int, left: int) -> int:
    return left if size < 0 else min(size, left)


class Sending:
    """An answer's bytes on their way out; holds a slot until the last one, or until the server or nobody wants more."""

    def __init__(self, chunks: Iterator[bytes], slots: Slots | None) -> None:
        self._chunks, self._slots = chunks, slots

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """What WSGI servers call at the end (PEP 3333); twice does no harm."""
        slots, self._slots = self._slots, None
        if slots is not None:
            slots.leave()

    __del__ = close


def sending(chunks: Callable[[], Iterator[bytes]], size: int) -> Sending:
    """The chunks of an answer of so many bytes; a large one waits for a slot first. Raises Unavailable."""
    slots: Slots | None = request.environ.get(KEY) if size > SMALL else None
    if slots is not None:
        slots.take()
    try:
        return Sending(chunks(), slots)
    except BaseException:
        if slots is not None:
            slots.leave()
        raise
