"""The first layer of the cache: decoded values inside the process, for seconds, bounded by entries and bytes."""

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

from prometheus_client import Gauge

from webapp.infra.figures import registry

MISSING: Any = object()
SWEPT = 2  # entries a write looks at whose time may be over: the layer empties faster than it fills
ENTRIES = Gauge("holdfast_cache_near_entries", "Values in the processes' first layers", ["namespace"],
                multiprocess_mode="livesum", registry=registry)  # fmt: skip
BYTES = Gauge("holdfast_cache_near_bytes", "Their bytes, encoded", ["namespace"], multiprocess_mode="livesum",
              registry=registry)  # fmt: skip
entries_of, bytes_of = (lru_cache(maxsize=None)(gauge.labels) for gauge in (ENTRIES, BYTES))


class Entry(NamedTuple):
    """A value, the state of its tags when it was begun, when it ends, and how many bytes it takes encoded."""

    value: Any
    marks: tuple[int, ...]
    ends_at: float
    size: int


class NearCache:
    """Least recently used values give way. Values are shared among threads: treat them as immutable.

    `marks()` is taken before a value is computed; a tag cleared since then makes the value a miss, so a slow reader
    never brings back what a writer has just ended.
    """

    def __init__(self, entries: int = 20_000, size: int = 32 * 1024**2) -> None:
        self._most, self._room = entries, size
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._marks: dict[str, int] = {}
        self._epoch = 0
        self._lock = threading.Lock()
        self.size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def marks(self, tags: Sequence[str]) -> tuple[int, ...]:
        """The present state of these tags."""
        marks, epoch = self._marks, self._epoch
        return tuple([marks.get(tag, 0) + epoch for tag in tags])

    def get(self, key: str, tags: Sequence[str]) -> Any:
        """The value, or MISSING."""
        entry = self._entries.get(key)
        if entry is None or entry.ends_at <= time.monotonic() or entry.marks != self.marks(tags):
            return MISSING
        try:
            self._entries.move_to_end(key)
        except KeyError:  # it gave way this instant
            return MISSING
        return entry.value

    def put(self, key: str, value: Any, marks: tuple[int, ...], seconds: float, size: int) -> None:
        """Keep a value for some seconds."""
        moment = time.monotonic()
        with self._lock:
            old = self._entries.pop(key, None)
            for oldest in list(islice(self._entries, SWEPT)):
                if self._entries[oldest].ends_at <= moment:
                    self._drop(oldest)
            self._entries[key] = Entry(value, marks, moment + seconds, size)
            self._count(key, int(old is None), size - (old.size if old else 0))
            while self._entries and (self.size > self._room or len(self._entries) > self._most):
                self._drop(next(iter(self._entries)))

    def clear_tag(self, tag: str) -> None:
        """Forget every value of this tag, also those being computed at this moment."""
        with self._lock:
            if len(self._marks) >= self._most:
                self._epoch += max(self._marks.values()) + 1
                self._marks.clear()
            self._marks[tag] = self._marks.get(tag, 0) + 1

    def clear(self) -> None:
        """Forget everything, also what is being computed at this moment."""
        with self._lock:
            self._epoch += 1
            for key in list(self._entries):
                self._drop(key)

    def _drop(self, key: str) -> None:
        self._count(key, -1, -self._entries.pop(key).size)

    def _count(self, key: str, entries: int, size: int) -> None:
        space = key.partition(".")[0]
        self.size += size
        if entries:
            entries_of(space).inc(entries)
        if size:
            bytes_of(space).inc(size)
