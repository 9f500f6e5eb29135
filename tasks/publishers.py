"""Where the relay puts messages: RabbitMQ in one confirmed batch, or the queues of this process."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Protocol

import pika
from dramatiq import Message
from pika.exceptions import AMQPError

from tasks.broker import MemoryBroker, broker_parameters, queue_name
from tasks.windows import Window
from webapp.config import Settings
from webapp.errors import Unavailable
from webapp.models.jobs import QUEUES
from webapp.services.turns import DueJob

PERSISTENT = pika.BasicProperties(delivery_mode=2)


class BrokerDown(Unavailable):
    """RabbitMQ does not answer, refuses us, or takes no messages now (memory or disk alarm)."""


class Publisher(Protocol):
    """What the relay needs of a broker."""

    def room(self) -> Mapping[str, int]: ...
    def send(self, jobs: Sequence[DueJob]) -> None: ...
    def empty_queues(self) -> list[str]: ...
    def close(self) -> None: ...


def message_of(settings: Settings, job: DueJob) -> Message[None]:
    """dramatiq's message for a job: the actor has the job's name, the only argument is its id."""
    name = queue_name(settings, job.queue)
    return Message(queue_name=name, actor_name=job.name, args=(job.id,), kwargs={}, options={})


class RabbitPublisher:
    """One connection, opened when needed, and one transaction per batch (AMQP 0-9-1, class tx).

    RabbitMQ answers the commit when all messages are on disk, so one round trip confirms a batch.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._windows = {queue: Window() for queue in QUEUES}
        self._connection: pika.BlockingConnection | None = None
        self._channel: pika.adapters.blocking_connection.BlockingChannel | None = None

    def room(self) -> Mapping[str, int]:
        """Messages that each queue is to take now; also keeps the connection's heartbeat going. Raises BrokerDown."""
        try:
            if self._connection is None:
                self._connect()
            else:
                self._connection.process_data_events(0)
            return {queue: window.room(partial(self._declare, queue)) for queue, window in self._windows.items()}
        except (AMQPError, OSError) as error:
            raise self._down(error) from error

    def send(self, jobs: Sequence[DueJob]) -> None:
        """All of them or none, as far as we shall know. Raises BrokerDown."""
        try:
            assert self._channel is not None  # noqa: S101
            for job in jobs:
                message = message_of(self.settings, job)
                self._channel.basic_publish("", message.queue_name, message.encode(), PERSISTENT)
            self._channel.tx_commit()
            for job in jobs:
                self._windows[job.queue].sent += 1
        except (AMQPError, OSError) as error:
            raise self._down(error) from error

    def empty_queues(self) -> list[str]:
        """Those of our queues in which no message waits; makes them where somebody deleted them. Raises BrokerDown."""
        try:
            assert self._channel is not None  # noqa: S101
            return [queue for queue in QUEUES if self._declare(queue) == 0]
        except (AMQPError, OSError) as error:
            raise self._down(error) from error

    def close(self) -> None:
        """Leave; never raises."""
        connection, self._connection, self._channel = self._connection, None, None
        try:
            if connection is not None and connection.is_open:
                connection.close()
        except (AMQPError, OSError):
            pass  # it is gone already

    def _connect(self) -> None:
        self._windows = {queue: Window() for queue in QUEUES}
        self._connection = pika.BlockingConnection(broker_parameters(self.settings))
        self._channel = self._connection.channel()
        for queue in QUEUES:
            self._declare(queue)
        self._channel.tx_select()

    def _declare(self, queue: str) -> int:
        assert self._channel is not None  # noqa: S101
        name = queue_name(self.settings, queue)
        return int(self._channel.queue_declare(name, durable=True).method.message_count)

    def _down(self, error: Exception) -> BrokerDown:
        self.close()
        return BrokerDown(f"RabbitMQ: {type(error).__name__}")


class MemoryPublisher:
    """The queues of this process."""

    def __init__(self, settings: Settings, broker: MemoryBroker) -> None:
        self.settings, self.broker = settings, broker
        self._windows = {queue: Window() for queue in QUEUES}

    def room(self) -> Mapping[str, int]:
        """How many messages each queue is to take now."""
        return {queue: window.room(partial(self._waiting, queue)) for queue, window in self._windows.items()}

    def send(self, jobs: Sequence[DueJob]) -> None:
        """Put them in."""
        for job in jobs:
            self.broker.enqueue(message_of(self.settings, job))
            self._windows[job.queue].sent += 1

    def empty_queues(self) -> list[str]:
        """Queues in which nothing waits."""
        return [queue for queue in QUEUES if self._waiting(queue) == 0]

    def _waiting(self, queue: str) -> int:
        return self.broker.waiting_in(queue_name(self.settings, queue))

    def close(self) -> None:
        """Nothing to leave."""
