"""A consumer that tells RabbitMQ of several finished messages at once: to acknowledge one costs as much as to get one.

What is finished and not yet told is told at the latest when the queue is quiet for a second. A worker that is killed
before gets the message again, and start_job finds nothing to do.
"""

import math
from collections import deque
from contextlib import suppress
from typing import Any

from dramatiq.brokers.rabbitmq import _RabbitmqConsumer
from pika.exceptions import AMQPError


class JobsConsumer(_RabbitmqConsumer):
    """Takes three messages a thread and acknowledges two together; the third keeps the thread busy meanwhile."""

    def __init__(self, broker: Any, queue_name: str, prefetch: int, timeout: int) -> None:
        threads = max(1, prefetch // 2)  # dramatiq asks for two messages a thread
        super().__init__(broker, queue_name, 3 * threads, timeout)  # type: ignore[no-untyped-call]
        self._portion = 2 * threads
        self._done: deque[int] = deque()

    def ack(self, message: Any) -> None:
        """From any thread."""
        if message._tag in self.known_tags:  # else its connection is gone, and the broker has it again
            self._finish(message._tag)

    nack = ack  # there are no dead letters: a message that cannot be read is done with

    def _nack(self, tag: int) -> None:
        self._finish(tag)

    def _finish(self, tag: int) -> None:
        self._done.append(tag)  # before it stops being known: _tell must never pass over a tag that comes later
        self.known_tags.discard(tag)
        if len(self._done) >= self._portion:
            self._tell_soon()

    def __next__(self) -> Any:
        message = super().__next__()  # type: ignore[no-untyped-call]
        if message is None and self._done:
            self._tell_soon()
        return message

    def close(self) -> None:
        """Tell the rest and leave."""
        with suppress(AMQPError):
            self._tell()
        super().close()  # type: ignore[no-untyped-call]

    def _tell_soon(self) -> None:
        with suppress(AMQPError):  # next() raises it in the thread that can connect again
            self.connection.add_callback_threadsafe(self._tell)

    def _tell(self) -> None:
        """In the thread of the connection: one acknowledgement for all before the first that is not finished."""
        tags = [self._done.popleft() for _ in range(len(self._done))]
        first_open = min(self.known_tags.copy(), default=math.inf)
        together = max((tag for tag in tags if tag < first_open), default=0)
        if together:
            self.channel.basic_ack(together, multiple=True)
        for tag in tags:
            if tag > together:
                self.channel.basic_ack(tag)
