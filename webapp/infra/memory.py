"""A small memory inside the process: saves the database a question, forgets within a second."""

import threading
import time
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memory(Generic[K, V]):
    """At most `size` values, none older than `max_age` seconds; safe among threads.

    Take `mark()` before reading what is to be remembered: `put` ignores the value when `clear()` came in between, so
    a slow reader never brings back what a writer has just ended.
    """

    def __init__(self, max_age: float, size: int) -> None:
        self._max_age, self._size = max_age, size
        self._values: dict[K, tuple[float, V]] = {}
        self._clears = 0
        self._lock = threading.Lock()

    def mark(self) -> tuple[float, int]:
        """The moment and the number of clears so far: the age of a value counts from before it was read."""
        return time.monotonic(), self._clears

    def get(self, key: K) -> V | None:
        """The value, or None when it is unknown or too old."""
        found = self._values.get(key)
        return found[1] if found is not None and time.monotonic() - found[0] < self._max_age else None

    def put(self, key: K, value: V, mark: tuple[float, int]) -> None:
        """Remember the value as of `mark`; the oldest half gives way when the memory is full."""
        with self._lock:
            if mark[1] != self._clears:
                return
            if len(self._values) >= self._size:
                for old in sorted(self._values, key=lambda k: self._values[k][0])[: self._size // 2 + 1]:
                    del self._values[old]
            self._values[key] = (mark[0], value)

    def clear(self) -> None:
        """Forget everything, also what is being read at this moment."""
        with self._lock:
            self._clears += 1
            self._values.clear()
