"""News through Redis: a stream of each account is its history, one channel tells all processes that have listeners.

Telling is done by a thread, so that a Redis that hangs holds up neither a request nor a job.
"""

import atexit
import contextlib
import hashlib
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from multiprocessing.util import Finalize
from queue import Empty, Queue
from typing import Any

import structlog

from webapp.infra.news import KEPT, KEPT_FOR, SYNC, Mark, News, Past, Told, text_of
from webapp.infra.redis import FAILURES, Guarded

log = structlog.get_logger("webapp.news")
PREFIX = "holdfast:news:"
PAUSE = 1.0  # seconds: between two tries, and the longest wait for a message
PING_EVERY = 5.0
BATCH = 500
LAST_WORDS = 1.0  # seconds that a stopping process gives to what it told last

TELL = """
for i = 4, #ARGV, 2 do
  local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 't', ARGV[i], 'd', ARGV[i + 1])
  redis.call('PUBLISH', ARGV[1], table.concat({KEYS[1], id, ARGV[i], ARGV[i + 1]}, '\\n'))
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
"""
PAST = """
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if #last == 0 then
  local id = redis.call('XADD', KEYS[1], '*', 't', '', 'd', '')
  redis.call('EXPIRE', KEYS[1], ARGV[2])
  return {0, id, {}}
end
if ARGV[1] == '' or #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then return {0, last[1][1], {}} end
return {1, last[1][1], redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+')}
"""


class FarBoard:
    """The board of all processes that share a Redis."""

    def __init__(self, url: str) -> None:
        self.redis = Guarded(url)
        self.channel = PREFIX + hashlib.sha256(url.rpartition("/")[2].encode()).hexdigest()[:8]  # of the database
        self._pid = 0
        self._forked()
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        self._queue: Queue[Sequence[News]] = Queue()
        self._owed: set[int] = set()
        self._lock = threading.Lock()

    # Telling

    def tell(self, news: Sequence[News]) -> None:
        """Have the thread tell them. What Redis cannot be told now is lost, and its owners are told so afterwards."""
        self._queue.put(news)
        if self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    self._pid = os.getpid()
                    threading.Thread(target=self._run, name="news", daemon=True).start()
                    atexit.register(self.flush, LAST_WORDS)
                    Finalize(None, self.flush, (LAST_WORDS,), exitpriority=10)  # of multiprocessing's children

    def flush(self, seconds: float) -> None:
        """See Board."""
        deadline = time.monotonic() + seconds
        while self._queue.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.01)

    def _run(self) -> None:
        while True:
            taken = self._take()
            try:
                self._deliver([piece for news in taken for piece in news])
            except Exception:  # the thread outlives whatever one batch does to it
                log.exception("news_not_told")
            for _ in taken:
                self._queue.task_done()

    def _take(self) -> list[Sequence[News]]:
        taken: list[Sequence[News]] = []
        with contextlib.suppress(Empty):
            taken.append(self._queue.get(timeout=PAUSE if self._owed else None))
            while len(taken) < BATCH:
                taken.append(self._queue.get_nowait())
        return taken

    def _deliver(self, batch: Sequence[News]) -> None:
        by_owner: dict[int, list[str]] = defaultdict(list)
        for owner_id in list(self._owed):
            by_owner[owner_id] += [SYNC, "{}"]
        for piece in batch:
            by_owner[piece.owner_id] += [piece.type, piece.data]
        for owner_id, words in by_owner.items():
            if self.redis.try_(lambda r, o=owner_id, w=words: self._send(r, o, w)):  # type: ignore[misc]
                self._owed.discard(owner_id)
            else:
                self._owed.add(owner_id)

    def _send(self, redis: Any, owner_id: int, words: list[str]) -> bool:
        redis.eval(TELL, 1, self._key(owner_id), self.channel, KEPT, KEPT_FOR, *words)
        return True

    def _key(self, owner_id: int) -> str:
        return f"{PREFIX}{owner_id}"

    # Hearing

    def past(self, owner_id: int, since: Mark | None) -> Past | None:
        """See Board."""
        wanted = text_of(since) if since else ""
        answer = self.redis.try_(lambda r: r.eval(PAST, 1, self._key(owner_id), wanted, KEPT_FOR))
        if answer is None:
            return None
        after = [_told(owner_id, mark, fields[1], fields[3]) for mark, fields in answer[2]]
        return Past(bool(answer[0]), _mark(answer[1]), [told for told in after if told.type])

    def follow(self, hear: Callable[[Told], None], lost: Callable[[], None]) -> bool:
        """See Board."""
        try:
            pubsub = self.redis.client().pubsub(ignore_subscribe_messages=True)
            pubsub.subscribe(self.channel)
            pubsub.get_message(timeout=PAUSE)
        except FAILURES:
            return False
        threading.Thread(target=self._listen, args=(pubsub, hear, lost), name="news-ear", daemon=True).start()
        return True

    def _listen(self, pubsub: Any, hear: Callable[[Told], None], lost: Callable[[], None]) -> None:
        pinged_at = time.monotonic()
        try:
            while True:
                message = pubsub.get_message(timeout=PAUSE)
                if message is not None and message["type"] == "message":
                    key, mark, type_, data = message["data"].split(b"\n", 3)
                    hear(_told(int(key[len(PREFIX) :]), mark, type_, data))
                if time.monotonic() - pinged_at > PING_EVERY:
                    self.redis.client().ping()  # a server that hangs is lost, too
                    pinged_at = time.monotonic()
        except FAILURES:
            lost()
        finally:
            pubsub.close()


def _mark(raw: bytes) -> Mark:
    milliseconds, _, number = raw.partition(b"-")
    return int(milliseconds), int(number)


def _told(owner_id: int, mark: bytes, type_: bytes, data: bytes) -> Told:
    return Told(_mark(mark), owner_id, type_.decode(), data.decode())
