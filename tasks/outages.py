"""What a worker says while RabbitMQ is away: one line at the loss, one a minute, one at the return.

dramatiq itself says it critically, for each queue, every three seconds.
"""

import logging
import threading
import time
from collections.abc import Iterable

import structlog

REMIND = 60.0  # seconds
LOSS, RETRY = "Consumer encountered a connection error", "Restarting consumer in"  # how dramatiq's records begin

log = structlog.get_logger("worker")


class Outage(logging.Filter):
    """Takes the records of consumers that lost their connection out of the log and speaks in their place."""

    def __init__(self) -> None:
        super().__init__()
        self._away: set[str] = set()
        self._since = self._said = 0.0
        self._lock = threading.Lock()

    def watch(self, queues: Iterable[str]) -> None:
        """Hear the consumers of these queues."""
        for queue in queues:
            logging.getLogger(_consumer(queue)).addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record may be written."""
        if record.msg.startswith(LOSS):
            self._lost(record.name, record.getMessage().removeprefix(LOSS).strip(": "))
            return False
        return not (record.msg.startswith(RETRY) and record.name in self._away)

    def over(self, queue: str) -> None:
        """The consumer of this queue has a connection."""
        with self._lock:
            if _consumer(queue) not in self._away:
                return
            self._away.discard(_consumer(queue))
            if not self._away:
                log.info("broker_is_back", seconds=round(time.monotonic() - self._since, 1))

    def _lost(self, consumer: str, error: str) -> None:
        with self._lock:
            moment, first = time.monotonic(), not self._away
            self._away.add(consumer)
            if first:
                self._since = self._said = moment
                log.warning("broker_is_away", error=error)
            elif moment - self._said >= REMIND:
                self._said = moment
                log.warning("broker_is_still_away", seconds=round(moment - self._since), error=error)


def _consumer(queue: str) -> str:
    return f"dramatiq.worker.ConsumerThread({queue})"
