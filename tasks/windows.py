"""How many messages of a queue may wait at the broker: as few as keep the workers busy.

What is sent cannot be overtaken, so little is; but workers should not look into an empty queue while jobs are due.
"""

from collections.abc import Callable
from time import monotonic

LEAST, MOST = 4, 1000
OFTEN, SELDOM = 0.01, 1.0  # seconds between two questions to the broker: while the window is full, else
AHEAD = 0.5  # seconds of work that a window holds at most


class Window:
    """Doubles when a full window was taken before we looked, halves when less than half of it goes in half a second."""

    def __init__(self) -> None:
        self.size = LEAST
        self.sent = 0  # since we looked
        self._waiting = 0  # when we looked
        self._taken = 0  # since _measured
        self._looked = self._measured = monotonic()

    def room(self, count: Callable[[], int]) -> int:
        """Messages that may be sent now; `count` asks the broker how many of the queue wait, when that is worth it."""
        full = self._waiting + self.sent >= self.size
        if (full or self.sent) and monotonic() - self._looked >= (OFTEN if full else SELDOM):
            self._look(count(), full)
        return max(0, self.size - self._waiting - self.sent)

    def _look(self, waiting: int, full: bool) -> None:
        moment = monotonic()
        self._taken += max(0, self._waiting + self.sent - waiting)
        self._waiting, self.sent, self._looked = waiting, 0, moment
        if full and waiting == 0:
            self._resize(self.size * 2, moment)
        elif moment - self._measured >= AHEAD:
            self._resize(self.size // 2 if self._taken < self.size // 2 else self.size, moment)

    def _resize(self, size: int, moment: float) -> None:
        self.size, self._taken, self._measured = max(LEAST, min(MOST, size)), 0, moment
