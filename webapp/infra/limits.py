"""Counters of rate limits: in the process, leased in portions from Redis where there is one.

Losing Redis never fails a request and never opens a limit: the process goes on with what it knows.
"""

import threading
import time
from dataclasses import dataclass

from limits import parse
from limits.storage import Storage

from webapp.config import current_settings
from webapp.infra.redis import FAILURES, Guarded

PREFIX = "holdfast:limit:fixed:"  # by strategy: another one keeps another type of value under its keys
CROWD = 10_000  # counters before those that are over get swept out


COUNT = """
local total = redis.call('INCRBY', KEYS[1], ARGV[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  redis.call('EXPIRE', KEYS[1], ARGV[2])
  left = ARGV[2] * 1000
end
return {total, left}
"""


@dataclass(slots=True)
class Counter:
    """`total` counts all hits that any process may make by now, `left` of them are still ours to make."""

    ends_at: float
    total: int = 0
    left: int = 0

    @property
    def hits(self) -> int:
        return self.total - self.left


class ExactStorage(Storage):
    """Every hit is counted in Redis, in one trip. For few, precious limits such as that of signing in."""

    STORAGE_SCHEME = ["exact"]  # noqa: RUF012
    base_exceptions = FAILURES
    portion = 1

    def __init__(self, uri: str | None = None, **_options: float | str | bool) -> None:
        super().__init__(uri)
        url = current_settings().redis_url
        self._redis = Guarded(url.get_secret_value()) if url else None
        self._counters: dict[str, Counter] = {}
        self._lock = threading.Lock()

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count and return how many hits there were in this window of `expiry` seconds, ours included."""
        with self._lock:
            counter = self._counter(key, expiry)
            if counter.left >= amount:
                counter.left -= amount
                return counter.hits
        lease = max(self.portion, amount)
        answer = self._lease(key, expiry, lease)
        with self._lock:
            counter = self._counter(key, expiry)
            if answer is None:
                counter.total += amount
                return counter.hits
            total, seconds = answer
            counter.total = max(total, counter.total + amount)  # a Redis that lost its data does not open the limit
            counter.left += lease - amount
            counter.ends_at = time.time() + seconds
            return counter.hits

    def get(self, key: str) -> int:
        """Hits so far, as this process knows; makes no trip."""
        counter = self._counters.get(key)
        return counter.hits if counter and counter.ends_at > time.time() else 0

    def get_expiry(self, key: str) -> float:
        """When the window ends, in seconds since the epoch."""
        counter = self._counters.get(key)
        return counter.ends_at if counter else time.time()

    def check(self) -> bool:
        """Whether counting works; it always does."""
        return True

    def reset(self) -> int | None:
        """Forget all counters of this process."""
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

    def _counter(self, key: str, expiry: int) -> Counter:
        moment = time.time()
        counter = self._counters.get(key)
        if counter is None or counter.ends_at <= moment:
            if len(self._counters) >= CROWD:
                self._counters = {k: c for k, c in self._counters.items() if c.ends_at > moment}
            counter = self._counters[key] = Counter(moment + expiry)
        return counter

    def _lease(self, key: str, expiry: int, amount: int) -> tuple[int, float] | None:
        """Total in Redis after adding `amount`, and the seconds its window still lasts; None without Redis."""
        if self._redis is None:
            return None
        answer = self._redis.try_(lambda redis: redis.eval(COUNT, 1, PREFIX + key, amount, expiry))
        return (int(answer[0]), int(answer[1]) / 1000) if answer else None


class LeasedStorage(ExactStorage):
    """Hits are leased in portions, so that the common request makes no trip; a process may overcount by one portion."""

    STORAGE_SCHEME = ["leased"]  # noqa: RUF012

    def __init__(self, uri: str | None = None, **options: float | str | bool) -> None:
        super().__init__(uri, **options)
        self.portion = max(1, min(20, parse(current_settings().rate_limit).amount // 50))
