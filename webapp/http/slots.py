"""Slow clients hold a thread while a body comes in or a file goes out: never more than a third of the threads at once,
half of that for signed-in accounts alone. A server in front that buffers bodies keeps slow ones away altogether; this
keeps the vault answering without one.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from flask import request

from webapp.errors import Unavailable
from webapp.extensions import USER, network_of

Room = str | tuple[str, str]
Slot = tuple[Room, ...]  # the rooms it counts in
KEY = "holdfast.slots"
PATIENCE = 0.25  # seconds that a request waits for a slot: waiting holds a thread, too
SMALL = 256 * 1024  # bytes that fit into the buffers on the way, and so hold nobody


class Slots:
    """WSGI middleware: requests take a slot from the first byte of a body that is asked for until its last."""

    def __init__(self, application: Callable[..., Iterable[bytes]], threads: int) -> None:
        self.application = application
        self.most = max(1, threads // 3)
        self.most_of_strangers = max(1, self.most // 2)
        self.most_of_a_network = self.most_of_strangers // 2 + 1
        self._taken: Counter[Room] = Counter()
        self._moved = threading.Condition()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one request; whatever it still holds at the end is free again."""
        environ[KEY] = self
        body = Body(environ, self)
        environ["wsgi.input"] = body
        try:
            return self.application(environ, start_response)
        finally:
            body.leave()

    def take(self, environ: dict[str, Any]) -> Slot:
        """Wait a little for a slot, to be given back by `leave`. Raises Unavailable.

        A stranger's counts among all, among those of strangers and among those of the same network.
        """
        rooms: dict[Room, int] = {"all": self.most}
        if USER not in environ:
            rooms |= {"strangers": self.most_of_strangers, ("from", network_of(environ)): self.most_of_a_network}
        with self._moved:
            if not self._moved.wait_for(lambda: all(self._taken[r] < most for r, most in rooms.items()), PATIENCE):
                raise Unavailable("Too many slow transfers at once. Try again in a moment.", retry_after=5)
            self._taken.update(rooms.keys())
        return tuple(rooms)

    def leave(self, slot: Slot) -> None:
        """Give it back."""
        with self._moved:
            self._taken.subtract(slot)
            self._taken = +self._taken  # forgets networks that hold none
            self._moved.notify_all()


class Body:
    """The stream of a request's body (PEP 3333, wsgi.input)."""

    def __init__(self, environ: dict[str, Any], slots: Slots) -> None:
        length = environ.get("CONTENT_LENGTH") or ""
        self._environ, self._source, self._slots = environ, environ["wsgi.input"], slots
        self._left = int(length) if length.isdecimal() else None
        self._slot: Slot | None = None

    def read(self, size: int = -1) -> bytes:
        """The next bytes. Raises Unavailable when too many bodies are on their way."""
        if self._left == 0:
            return b""
        if self._slot is None:
            self._slot = self._slots.take(self._environ)
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
        slot, self._slot = self._slot, None
        if slot is not None:
            self._slots.leave(slot)


def _most(size: int, left: int) -> int:
    return left if size < 0 else min(size, left)


class Sending:
    """An answer's bytes on their way out; holds a slot until the last one, or until the server or nobody wants more."""

    def __init__(self, chunks: Iterator[bytes], leave: Callable[[], None] | None) -> None:
        self._chunks, self._leave = chunks, leave

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
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()

    __del__ = close


def sending(chunks: Callable[[], Iterator[bytes]], size: int) -> Sending:
    """The chunks of an answer of so many bytes; a large one waits for a slot first. Raises Unavailable."""
    slots: Slots | None = request.environ.get(KEY) if size > SMALL else None
    leave = None if slots is None else partial(slots.leave, slots.take(request.environ))
    try:
        return Sending(chunks(), leave)
    except BaseException:
        if leave is not None:
            leave()
        raise
