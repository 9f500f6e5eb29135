"""How many messages of a queue may wait at the broker: as few as keep the workers busy.

What is sent cannot be overtaken, so little is; but workers should not look into an empty queue while jobs are due.
"""

from collections.abc import Callable
from time import monotonic

LEAST, MOST = 4, 1000
OFTEN, SELDOM = 0.01, 1.0  # seconds between two questions to the broker: while the window is used up, else
AHEAD = 0.5  # seconds of work that a window holds at most


class Window:
    """Doubles when a used-up one was emptied before we looked, halves when less than half of it goes in half a second.

    It is filled again when half of it is free: each batch costs the relay the same, however small.
    """

    def __init__(self) -> None:
        self.size = LEAST
        self.sent = 0  # since we looked
        self._waiting = 0  # when we looked
        self._taken = 0  # since _measured
        self._looked = self._measured = monotonic()

    def room(self, count: Callable[[], int]) -> int:
        """Messages that may be sent now; `count` asks the broker how many of the queue wait, when that is worth it."""
        used = self._free() * 2 < self.size
        if (used or self.sent) and monotonic() - self._looked >= (OFTEN if used else SELDOM):
            self._look(count(), used)
        free = self._free()
        return free if free * 2 >= self.size else 0

    def _free(self) -> int:
        return self.size - self._waiting - self.sent

    def _look(self, waiting: int, used: bool) -> None:
        moment = monotonic()
        quick = moment - self._looked < AHEAD
        self._taken += max(0, self._waiting + self.sent - waiting)
        self._waiting, self.sent, self._looked = waiting, 0, moment
        if used and quick and waiting == 0:
            self._resize(self.size * 2, moment)
        elif moment - self._measured >= AHEAD:
            self._resize(self.size // 2 if self._taken < self.size // 2 else self.size, moment)

    def _resize(self, size: int, moment: float) -> None:
        self.size, self._taken, self._measured = max(LEAST, min(MOST, size)), 0, moment
