"""Where the relay puts messages: RabbitMQ in one confirmed batch, or the queues of this process."""

from collections.abc import Sequence
from typing import Protocol

import pika
from dramatiq import Message
from pika.exceptions import AMQPError

from tasks.broker import MemoryBroker, broker_parameters, queue_name
from webapp.config import Settings
from webapp.errors import Unavailable
from webapp.models.jobs import QUEUES
from webapp.services.jobs import DueJob

BATCH = 500
PERSISTENT = pika.BasicProperties(delivery_mode=2)


class BrokerDown(Unavailable):
    """RabbitMQ does not answer, refuses us, or takes no messages now (memory or disk alarm)."""


class Publisher(Protocol):
    """What the relay needs of a broker."""

    def room(self) -> int: ...
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
        self._connection: pika.BlockingConnection | None = None
        self._channel: pika.adapters.blocking_connection.BlockingChannel | None = None

    def room(self) -> int:
        """How many messages it would take now. Raises BrokerDown. Also keeps the connection's heartbeat going."""
        try:
            if self._connection is None:
                self._connect()
            else:
                self._connection.process_data_events(0)
        except (AMQPError, OSError) as error:
            raise self._down(error) from error
        return BATCH

    def send(self, jobs: Sequence[DueJob]) -> None:
        """All of them or none, as far as we shall know. Raises BrokerDown."""
        try:
            assert self._channel is not None  # noqa: S101
            for job in jobs:
                message = message_of(self.settings, job)
                self._channel.basic_publish("", message.queue_name, message.encode(), PERSISTENT)
            self._channel.tx_commit()
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
    """The queues of this process. Takes only what is worked off soon, so a backlog stays in the table."""

    def __init__(self, settings: Settings, broker: MemoryBroker) -> None:
        self.settings, self.broker = settings, broker

    def room(self) -> int:
        """Messages until the queues hold a batch."""
        return max(0, BATCH - self.broker.waiting())

    def send(self, jobs: Sequence[DueJob]) -> None:
        """Put them in."""
        for job in jobs:
            self.broker.enqueue(message_of(self.settings, job))

    def empty_queues(self) -> list[str]:
        """Queues in which nothing waits."""
        waiting = self.broker.waiting_in
        return [queue for queue in QUEUES if waiting(queue_name(self.settings, queue)) == 0]

    def close(self) -> None:
        """Nothing to leave."""
