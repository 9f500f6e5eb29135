"""One thread a process that hears what other processes clear, and notices when Redis was away."""

import os
import threading
import time
from collections.abc import Callable

import structlog

from webapp.infra.far import CHANNEL
from webapp.infra.redis import FAILURES, Guarded

log = structlog.get_logger("webapp.cache")
PAUSE = 1.0  # seconds between two tries to come back


class Listener:
    """Started by the first use of each process; a daemon, as there is nothing to save at the end."""

    def __init__(
        self, redis: Guarded, hear: Callable[[str], None], back: Callable[[], None], pay: Callable[[], None]
    ) -> None:
        self._redis, self._hear, self._back, self._pay = redis, hear, back, pay
        self._pid = 0
        self._lock = threading.Lock()

    def ensure(self) -> None:
        """Start the thread unless this process has it."""
        if self._pid == os.getpid():
            return
        with self._lock:
            if self._pid != os.getpid():
                self._pid = os.getpid()
                threading.Thread(target=self._run, name="cache-listener", daemon=True).start()

    def _run(self) -> None:
        was_away = False
        while True:
            try:
                with self._redis.client().pubsub(ignore_subscribe_messages=True) as pubsub:
                    pubsub.subscribe(CHANNEL)
                    pubsub.get_message(timeout=PAUSE)
                    if was_away:
                        self._back()
                        was_away = False
                    self._follow(pubsub)
            except Exception as error:  # a thread that ended would leave the process deaf
                if not isinstance(error, FAILURES):
                    log.warning("cache_listener_failed", exc_info=error)
                was_away = True
                time.sleep(PAUSE)

    def _follow(self, pubsub) -> None:  # type: ignore[no-untyped-def]
        heard_at = time.monotonic()
        while True:
            message = pubsub.get_message(timeout=PAUSE)
            if message is not None and message["type"] == "message":
                self._hear(message["data"].decode())
            self._pay()
            if time.monotonic() - heard_at > 5 * PAUSE:
                self._redis.client().ping()  # a server that hangs is away, too
                heard_at = time.monotonic()
