"""Threads of one process wait for a name in the order in which they came."""

import threading
from collections import deque


class Turns:
    """For each name one thread at a time is in front; who leaves lets the one who waits longest come up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: dict[str, deque[threading.Event]] = {}

    def come(self, name: str, wait: float) -> bool:
        """Stand in line; True in front, at the latest after `wait` seconds, else False and out of the line again."""
        mine = threading.Event()
        with self._lock:
            line = self._lines.setdefault(name, deque())
            line.append(mine)
            line[0].set()
        if mine.wait(wait):
            return True
        with self._lock:
            if mine.is_set():  # at this very moment
                return True
            line.remove(mine)
        return False

    def leave(self, name: str) -> None:
        """Let the next one come up."""
        with self._lock:
            line = self._lines[name]
            line.popleft()
            if line:
                line[0].set()
            else:
                del self._lines[name]
