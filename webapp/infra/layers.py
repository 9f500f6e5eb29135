"""The cache in two layers: near (this process, seconds) and far (Redis). One computation for each cold key.

Losing Redis costs the far layer and nothing else: reads compute, clearing is remembered and done when Redis is back.
"""

import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Generic, TypeVar

import msgspec
import structlog
from prometheus_client import Counter

from webapp.infra.far import EVERYTHING, TAG_MS, FarCache, Found
from webapp.infra.figures import registry
from webapp.infra.listening import Listener
from webapp.infra.near import MISSING, NearCache

T = TypeVar("T")
log = structlog.get_logger("webapp.cache")
READS = Counter("holdfast_cache_reads", "Look-ups by the layer that answered", ["namespace", "layer"],
                registry=registry)  # fmt: skip
SAVED = Counter("holdfast_cache_stampedes_avoided", "Computations another caller's result saved", ["namespace"],
                registry=registry)  # fmt: skip
counted = lru_cache(maxsize=None)(READS.labels)  # finding the child costs more than counting
PATIENCE = 10.0  # seconds that anybody waits for somebody else's computation
POLL = 0.02
MOST_OWED = 10_000


@dataclass(frozen=True, eq=False)
class Namespace(Generic[T]):
    """A kind of cached value: its type (JSON-like or msgspec structs), how long it is fresh, near, and usable stale.

    Seconds. `version` belongs to the shape of the value: raise it and older values are not read.
    """

    name: str
    type: type[T]
    fresh: float
    near: float = 1.0
    stale: float = 0.0
    version: int = 1

    def __post_init__(self) -> None:
        assert (self.fresh + self.stale) * 1000 < TAG_MS  # noqa: S101 - else what was cleared came back

    @cached_property
    def prefix(self) -> str:
        """What every key starts with."""
        return f"{self.name}.{self.version}:"

    @cached_property
    def near_hits(self) -> Counter:
        """The counter of the most frequent case, found once."""
        return counted(self.name, "near")


class Layers:
    """The cache of a process."""

    def __init__(self, url: str | None) -> None:
        self.near = NearCache()
        self.far = FarCache(url) if url else None
        self._flights: dict[str, Future[Any]] = {}
        self._owed: dict[tuple[str, str], None] = {}
        self._lock = threading.Lock()
        self._listener = Listener(self.far.redis, self._hear, self._clear_near, self.pay) if self.far else None
        os.register_at_fork(after_in_child=self._forked)

    def get(self, space: Namespace[T], key: str, compute: Callable[[], T], tags: Sequence[str] = ()) -> T:
        """The value, computed at most once at a time among all threads and processes. None is a value too.

        `compute`'s exceptions reach everybody who waited for it. A process killed in the middle delays the next
        computation by ten seconds at most.
        """
        near_key = space.prefix + key
        near_tags = [space.prefix + tag for tag in tags]
        value = self.near.get(near_key, near_tags)
        if value is not MISSING:
            space.near_hits.inc()
            return value  # type: ignore[no-any-return]
        with self._lock:
            flight = self._flights.get(near_key)
            mine = flight is None
            if flight is None:
                flight = self._flights[near_key] = Future()
        if not mine:
            SAVED.labels(space.name).inc()
            return flight.result(PATIENCE * 3)  # type: ignore[no-any-return]
        try:
            result = self._fetch(space, space.prefix[:-1], key, near_key, near_tags, tags, compute)
            flight.set_result(result)
        except BaseException as error:
            flight.set_exception(error)
            raise
        finally:
            with self._lock:
                self._flights.pop(near_key, None)
        return result

    def _fetch(
        self, space: Namespace[T], name: str, key: str, near_key: str, near_tags: list[str], tags: Sequence[str],
        compute: Callable[[], T],
    ) -> T:  # fmt: skip
        marks = self.near.marks(near_tags)
        found, value = self._look(space, name, key, tags)
        if value is MISSING:
            counted(space.name, "miss").inc()
            value, raw = self._compute(space, name, key, found, compute)
        else:
            counted(space.name, "far").inc()
            raw = found.raw if found else b""
            if found and found.what == "renew":  # the others go on with the old value meanwhile
                value, raw = self._compute(space, name, key, found, compute)
        self.near.put(near_key, value, marks, min(space.near, space.fresh), len(raw) + len(near_key) + 100)
        return value  # type: ignore[no-any-return]

    def _look(self, space: Namespace[T], name: str, key: str, tags: Sequence[str]) -> tuple[Found | None, Any]:
        """What the far layer has; waits while somebody else computes it."""
        if self.far is None or self._owes(name, tags):
            return None, MISSING
        deadline = time.monotonic() + PATIENCE
        waited = False
        while True:
            found = self.far.look(name, key, tags)
            if found is None or found.what == "compute":
                return found, MISSING
            if found.what != "wait":
                value = _decode(space, found.raw)
                if value is not MISSING:
                    SAVED.labels(space.name).inc(int(waited))
                    return found, value
                return found, MISSING
            if time.monotonic() >= deadline:
                return None, MISSING
            waited = True
            time.sleep(POLL * random.uniform(0.5, 1.5))  # noqa: S311

    def _compute(
        self, space: Namespace[T], name: str, key: str, found: Found | None, compute: Callable[[], T]
    ) -> tuple[T, bytes]:
        try:
            value = compute()
        except BaseException:
            if self.far and found:
                self.far.leave(name, key, found)
            raise
        raw = msgspec.msgpack.encode(value)
        if self.far and found:
            fresh = space.fresh * random.uniform(0.9, 1.0)  # noqa: S311  (so that what was made together ends apart)
            self.far.keep(name, key, raw, found, fresh, fresh + space.stale)
        return value, raw

    def clear(self, space: Namespace[Any], tag: str) -> None:
        """Forget every value of the tag in all processes. Never raises: what Redis cannot be told now it is told later.

        Until then this process does not read the tag's values from Redis; others may for as long as values live.
        """
        self.near.clear_tag(space.prefix + tag)
        if self.far and not self.far.clear_tag(space.prefix[:-1], tag):
            self._owe(space.prefix[:-1], tag)
        self._listen()

    def empty(self, space: Namespace[Any]) -> None:
        """Forget all values of the namespace in all processes, and free what they take in Redis. Never raises."""
        self.near.clear()
        name = space.prefix[:-1]
        if self.far and not self.far.empty(name):
            self._owe(name, EVERYTHING)
        self._listen()

    def _owe(self, name: str, tag: str) -> None:
        with self._lock:
            if len(self._owed) >= MOST_OWED:  # too much to remember one by one
                self._owed = {(name, EVERYTHING): None for name, _ in self._owed}
            self._owed[name, tag] = None

    def _owes(self, name: str, tags: Sequence[str]) -> bool:
        """Whether a clearing that concerns these tags has not reached Redis yet; tries to pay first."""
        self._listen()
        if self._owed:
            self.pay()
        return any((name, tag) in self._owed for tag in (*tags, EVERYTHING))

    def pay(self) -> None:
        """Tell Redis what it missed."""
        for name, tag in list(self._owed):
            assert self.far is not None  # noqa: S101
            if not (self.far.empty(name) if tag == EVERYTHING else self.far.clear_tag(name, tag)):
                return
            self._owed.pop((name, tag), None)

    def _listen(self) -> None:
        if self._listener:
            self._listener.ensure()

    def _hear(self, message: str) -> None:
        """A process cleared a tag, or emptied a namespace."""
        name, _, tag = message.partition("\n")
        if tag == EVERYTHING:
            self.near.clear()
        else:
            self.near.clear_tag(f"{name}:{tag}")

    def _clear_near(self) -> None:
        self.near.clear()

    def _forked(self) -> None:
        """The child starts with nothing: what it holds is counted anew, and no lock of a thread that is not there."""
        self._lock, self._flights, self.near = threading.Lock(), {}, NearCache()


def _decode(space: Namespace[T], raw: bytes) -> Any:
    try:
        return msgspec.msgpack.decode(raw, type=space.type)
    except (msgspec.DecodeError, msgspec.ValidationError):  # written by another version, or by somebody else
        return MISSING
