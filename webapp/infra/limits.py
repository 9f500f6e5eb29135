"""Counters of rate limits: in fixed windows, shared through Redis where there is one, by portions or hit for hit.

Losing Redis never fails a request and never opens a limit: the process goes on with what it knows.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from limits import RateLimitItem, parse
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter
from limits.util import WindowStats

from webapp.config import current_settings
from webapp.infra.redis import FAILURES, Guarded

PREFIX = "holdfast:limit:fixed:"  # by strategy: another one keeps another type of value under its keys
CROWD = 10_000  # counters before those that are over get swept out
PORTION = 20  # hits at most that a process takes at once

# What the caller knows of the window that its own clock is in stands, when Redis lost it; a longer window than the
# limit has now is cut short.
COUNT = """
local total = tonumber(redis.call('GET', KEYS[1]) or '0')
local left = redis.call('PTTL', KEYS[1])
local known, window = tonumber(ARGV[3]), tonumber(ARGV[2])
if left < 0 then left = known > 0 and tonumber(ARGV[4]) or window end
total = math.max(total, known) + tonumber(ARGV[1])
left = math.max(1, math.min(left, window))
redis.call('SET', KEYS[1], total, 'PX', left)
return {total, left}
"""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many hits in a window of so many seconds; a process leases them in portions."""

    amount: int
    window: int

    @property
    def portion(self) -> int:
        """A fiftieth, so that the count of several processes is never far off."""
        return max(1, min(PORTION, self.amount // 50))


@dataclass(slots=True)
class Counter:
    """`total` counts all hits that any process may make by now, `left` of them are still ours to make."""

    ends_at: float
    total: int = 0
    left: int = 0

    @property
    def hits(self) -> int:
        return self.total - self.left


@dataclass(frozen=True, slots=True)
class Hit:
    """A hit to count: of which key and window, and what this process knows of that window (hits, seconds left)."""

    key: str
    window: int
    amount: int
    known: int
    left: float


Answer = tuple[int, float]  # hits in the window by now, and the seconds that it still lasts
Elsewhere = Callable[[Hit], Answer | None]


@lru_cache(maxsize=256)
def rate_of(text: str) -> Rate:
    """The rate in a text such as `600 per minute`. Raises ValueError."""
    item = parse(text)
    return Rate(item.amount, item.get_expiry())


class Counts:
    """The counters of this process. `elsewhere` counts where Redis does not, and may give up with None, too."""

    def __init__(self, elsewhere: Elsewhere | None = None) -> None:
        url = current_settings().redis_url
        self._redis = Guarded(url.get_secret_value()) if url else None
        self._elsewhere = elsewhere
        self._counters: dict[str, Counter] = {}
        self._lock = threading.Lock()

    def lease(self, key: str, rate: Rate) -> tuple[int, float]:
        """Count a hit, with one trip a portion. Returns the hits of the window, ours included, and when it ends.

        May count too many by one portion a process, never too few.
        """
        with self._lock:
            counter = self._counter(key, rate.window)
            if counter.left > 0:
                counter.left -= 1
                return counter.total - counter.left, counter.ends_at
            if self._redis is None or self._redis.resting:  # nobody to ask
                counter.total += 1
                return counter.total, counter.ends_at
        self._fetch(key, rate.window, rate.portion)
        with self._lock:
            counter = self._counter(key, rate.window)
            if counter.left > 0:
                counter.left -= 1
            else:
                counter.total += 1
            return counter.hits, counter.ends_at

    def count(self, key: str, window: int, amount: int = 1) -> int:
        """Count exactly, with one trip. Returns the hits of the window, ours included."""
        answer = self._ask(self._hit(key, window, amount))
        with self._lock:
            counter = self._counter(key, window)
            if answer is None:
                counter.total += amount
                return counter.total
            self._learn(counter, answer)
            return answer[0]

    def known(self, key: str) -> tuple[int, float]:
        """Hits so far as this process knows, and when their window ends; makes no trip."""
        counter = self._counters.get(key)
        return (counter.hits, counter.ends_at) if counter and counter.ends_at > time.time() else (0, time.time())

    def forget(self) -> int:
        """Forget all counters of this process. Returns how many there were."""
        with self._lock:
            number = len(self._counters)
            self._counters.clear()
        return number

    def clear(self, key: str) -> None:
        """Forget one counter, here and in Redis."""
        with self._lock:
            self._counters.pop(key, None)
        if self._redis:
            self._redis.try_(lambda redis: redis.delete(PREFIX + key))

    def _fetch(self, key: str, window: int, portion: int) -> None:
        """Have a portion for the threads of this process; nothing where nobody answers."""
        answer = self._ask(self._hit(key, window, portion))
        if answer is not None:
            with self._lock:
                counter = self._counter(key, window)
                self._learn(counter, answer)
                counter.left += portion

    def _hit(self, key: str, window: int, amount: int) -> Hit:
        with self._lock:
            counter = self._counter(key, window)
            return Hit(key, window, amount, counter.total, max(0.001, counter.ends_at - time.time()))

    def _learn(self, counter: Counter, answer: Answer) -> None:
        counter.total = max(counter.total, answer[0])
        counter.ends_at = time.time() + answer[1]

    def _counter(self, key: str, window: int) -> Counter:
        moment = time.time()
        counter = self._counters.get(key)
        if counter is None or counter.ends_at <= moment:
            if len(self._counters) >= CROWD:
                self._counters = {k: c for k, c in self._counters.items() if c.ends_at > moment}
            counter = self._counters[key] = Counter(moment + window)
        elif counter.ends_at > moment + window:  # the limit has a shorter window now
            counter.ends_at = moment + window
        return counter

    def _ask(self, hit: Hit) -> Answer | None:
        return self._trip(hit) or (self._elsewhere(hit) if self._elsewhere else None)

    def _trip(self, hit: Hit) -> Answer | None:
        if self._redis is None:
            return None
        said = (hit.amount, hit.window * 1000, hit.known, int(hit.left * 1000) or 1)
        answer = self._redis.try_(lambda redis: redis.eval(COUNT, 1, PREFIX + hit.key, *said))
        return (int(answer[0]), int(answer[1]) / 1000) if answer else None


class ExactStorage(Storage):
    """Flask-Limiter's storage for few, precious limits such as that of signing in: every hit is counted in one trip."""

    STORAGE_SCHEME = ["exact"]  # noqa: RUF012
    base_exceptions = FAILURES

    def __init__(self, uri: str | None = None, elsewhere: Elsewhere | None = None, **_options: Any) -> None:
        super().__init__(uri)
        self.counts = Counts(elsewhere)

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count and return how many hits there were in this window of `expiry` seconds, ours included."""
        return self.counts.count(key, expiry, amount)

    def get(self, key: str) -> int:
        """Hits so far, as this process knows."""
        return self.counts.known(key)[0]

    def get_expiry(self, key: str) -> float:
        """When the window ends, in seconds since the epoch."""
        return self.counts.known(key)[1]

    def check(self) -> bool:
        """Whether counting works; it always does."""
        return True

    def reset(self) -> int | None:
        """Forget all counters of this process."""
        return self.counts.forget()

    def clear(self, key: str) -> None:
        """Forget one counter."""
        self.counts.clear(key)


class LastingWindows(FixedWindowRateLimiter):
    """Fixed windows whose counts outlive a change of the limit: their keys do not name it, as the library's do.

    Who is known to be over the limit is refused without a trip, so a flood of guesses is no flood of writes.
    """

    def hit(self, item: RateLimitItem, *identifiers: str, cost: int = 1) -> bool:
        """Count; False beyond the limit."""
        key = "/".join(identifiers)
        if self.storage.get(key) >= item.amount:
            return False
        return self.storage.incr(key, item.get_expiry(), cost) <= item.amount

    def test(self, item: RateLimitItem, *identifiers: str, cost: int = 1) -> bool:
        """Whether another hit is allowed."""
        return self.storage.get("/".join(identifiers)) <= item.amount - cost

    def get_window_stats(self, item: RateLimitItem, *identifiers: str) -> WindowStats:
        """When the window ends, and how many hits are left in it."""
        key = "/".join(identifiers)
        return WindowStats(self.storage.get_expiry(key), max(0, item.amount - self.storage.get(key)))

    def clear(self, item: RateLimitItem, *identifiers: str) -> None:
        """Forget the count."""
        self.storage.clear("/".join(identifiers))
