"""The listeners of one process: each has a short queue of its own, one that does not keep up is dropped."""

import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

import structlog
from prometheus_client import Gauge

from webapp.errors import HoldfastError, Limited, Unavailable
from webapp.infra.figures import registry
from webapp.infra.news import FIRST, SYNC, Board, Mark, Told, frame

log = structlog.get_logger("webapp.streams")
OPEN = Gauge("holdfast_event_streams", "Event streams that are open", multiprocess_mode="livesum", registry=registry)
QUEUE = 100  # events that may wait for a listener
ALWAYS = 20  # streams that an account may have at any time, or a quarter of few; more only while there is room
LOOK_EVERY = 1.0  # seconds between two looks at who is still signed in
BLIND_FOR = 30.0  # seconds without such a look after which nobody is believed any more
SILENT = "Events cannot be told now. Ask for what you need instead."
SLOW = "slow"  # why a stream ended whose client did not keep up
COMES_BACK = 60.0  # seconds in which an account without listeners is still looked for


@dataclass(frozen=True, slots=True)
class Wish:
    """Who wants to hear what. `expires_at` (time.time) ends the stream with the token that opened it."""

    owner_id: int
    session_id: int
    types: frozenset[str]
    since: Mark | None = None
    expires_at: float | None = None


class Listener:
    """A stream. `wake` is called from any thread when there is something to take, or when it ended."""

    __slots__ = ("_after", "_held", "_lock", "_pending", "ended", "wake", "wish")

    def __init__(self, wish: Wish, wake: Callable[[], None]) -> None:
        self.wish, self.wake = wish, wake
        self.ended = ""
        self._pending: deque[bytes] = deque()
        self._held: list[Told] | None = []  # what is heard while the history is being read
        self._after: Mark = (0, 0)
        self._lock = threading.Lock()

    def begin(self, newest: Mark, first: list[bytes]) -> None:
        """Send these, then what was heard after `newest` and from now on; what is older may still be on its way."""
        with self._lock:
            self._after = newest
            self._pending.extend(first)
            held, self._held = self._held or [], None
            self._pending.extend(_frame(told) for told in held if told.mark > newest)

    def hear(self, told: Told, framed: bytes) -> None:
        """Queue an event, unless it is not for this listener."""
        if self.ended or (told.type not in self.wish.types and told.type != SYNC):
            return
        with self._lock:
            if self._held is not None:
                self._held.append(told)
                return
            if told.mark <= self._after:
                return
            self._pending.append(framed)
            slow = len(self._pending) > QUEUE
        if slow:
            self.end(SLOW)
        else:
            self.wake()

    def take(self) -> bytes:
        """All that waits, as one piece; empty when nothing does."""
        with self._lock:
            taken = b"".join(self._pending)
            self._pending.clear()
        return taken

    def end(self, reason: str) -> None:
        """End the stream; what waits is not sent any more."""
        if not self.ended:
            self.ended = reason
            self.wake()


class Hub:
    """Opens and ends streams. `living` says which sessions still are; `look` (optional) looks for news for accounts."""

    def __init__(
        self,
        board: Board,
        living: Callable[[Collection[int]], Collection[int]],
        capacity: int,
        look: Callable[[Collection[int]], None] | None = None,
    ) -> None:
        self.board, self.capacity = board, capacity
        self._living, self._look = living, look
        self._listeners: dict[int, set[Listener]] = defaultdict(set)
        self._left: dict[int, float] = {}
        self._lock = threading.Lock()
        self._line = threading.Lock()
        self._looking = threading.Lock()
        self._connected = self._closed = False
        self._pid = 0
        self._retry_at = 0.0

    def __len__(self) -> int:
        return sum(map(len, list(self._listeners.values())))

    def open(self, wish: Wish, wake: Callable[[], None]) -> Listener:
        """A new stream. Its first event is `sync` unless it goes on after `since` without a gap.

        Raises Limited for too many of one account, Unavailable when there is no room or no line to the news.
        """
        listener = Listener(wish, wake)
        self._admit(listener)
        try:
            self._connect()
            self._look_around()  # from this moment on nothing that the tables say is missed
            past = self.board.past(wish.owner_id, wish.since)
            if past is None:
                raise Unavailable(SILENT, retry_after=5)
        except BaseException:
            self.leave(listener)
            raise
        first = [FIRST.encode()]
        first += [] if past.whole else [frame(past.newest, SYNC, "{}")]
        first += [_frame(told) for told in past.after if told.type in wish.types or told.type == SYNC]
        listener.begin(past.newest, first)
        return listener

    def leave(self, listener: Listener) -> None:
        """The stream's client is gone."""
        owner_id = listener.wish.owner_id
        with self._lock:
            if listener in self._listeners[owner_id]:
                self._listeners[owner_id].discard(listener)
                OPEN.dec()
            if not self._listeners[owner_id]:
                del self._listeners[owner_id]
                if self._look:
                    self._left[owner_id] = time.monotonic()

    def close(self) -> None:
        """End all streams and open no more: the process stops."""
        self._closed = True
        self._end_all("stopping")

    def _admit(self, listener: Listener) -> None:
        with self._lock:
            total, mine = len(self), len(self._listeners.get(listener.wish.owner_id, ()))
            if self._closed or total >= self.capacity:
                raise Unavailable("Too many listen already. Ask for what you need instead.", retry_after=30)
            if mine >= max(1, min(ALWAYS, self.capacity // 4), (self.capacity - total) // 2):
                raise Limited("You listen too often at once. Close other windows or programs.", retry_after=30)
            self._listeners[listener.wish.owner_id].add(listener)
            OPEN.inc()
        if self._pid != os.getpid():
            self._pid = os.getpid()
            threading.Thread(target=self._watch, name="streams", daemon=True).start()

    # The line to the board

    def _connect(self) -> None:
        with self._line:
            if self._connected:
                return
            if time.monotonic() >= self._retry_at:
                self._connected = self.board.follow(self._hear, self._lost)
                self._retry_at = time.monotonic() + 1
            if not self._connected:
                raise Unavailable(SILENT, retry_after=5)

    def _lost(self) -> None:
        """News may be missed from now on: everybody comes again, and is told to read again where there is a gap."""
        with self._line:
            self._connected = False
        log.warning("news_lost", streams=len(self))
        self._end_all("away")

    def _hear(self, told: Told) -> None:
        listeners = self._listeners.get(told.owner_id)
        if listeners:
            framed = _frame(told)
            for listener in list(listeners):
                listener.hear(told, framed)

    # Who may go on listening

    def _everybody(self) -> list[Listener]:
        with self._lock:
            return [listener for listeners in self._listeners.values() for listener in listeners]

    def _end_all(self, reason: str) -> None:
        for listener in self._everybody():
            listener.end(reason)

    def _watch(self) -> None:
        looked_at = believed_at = time.monotonic()
        while True:
            self._wait()
            try:
                self._look_around()
                if time.monotonic() - looked_at >= LOOK_EVERY:
                    looked_at = time.monotonic()
                    self._end_signed_out([listener for listener in self._everybody() if not listener.ended])
                    believed_at = time.monotonic()
            except HoldfastError:
                if time.monotonic() - believed_at > BLIND_FOR:
                    self._end_all("unknown")
            except Exception:  # the thread outlives whatever one look does to it
                log.exception("streams_not_watched")

    def _look_around(self) -> None:
        if self._look:
            with self._looking:
                self._look(self._looked_for())

    def _looked_for(self) -> set[int]:
        limit = time.monotonic() - COMES_BACK
        with self._lock:
            self._left = {owner: at for owner, at in self._left.items() if at > limit}
            return {*self._listeners, *self._left}

    def _wait(self) -> None:
        stirred = getattr(self.board, "stirred", None)
        if stirred is None:
            time.sleep(LOOK_EVERY)
        elif stirred.wait(LOOK_EVERY):
            time.sleep(0.05)  # what happens together is found together
            stirred.clear()

    def _end_signed_out(self, present: Collection[Listener]) -> None:
        if not present:
            return
        living = set(self._living({listener.wish.session_id for listener in present}))
        moment = time.time()
        for listener in present:
            expires_at = listener.wish.expires_at
            if listener.wish.session_id not in living or (expires_at is not None and expires_at <= moment):
                listener.end("signed out")


def _frame(told: Told) -> bytes:
    return frame(told.mark, told.type, told.data)
