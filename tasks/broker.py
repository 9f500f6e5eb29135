"""The broker: RabbitMQ where RABBITMQ_URL names one, else queues inside the process.

Retries, delays and dead letters live in the jobs table, so a queue here is only a list of what is due.
"""

from queue import Queue
from typing import Any

import pika
from dramatiq import Consumer
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import Middleware, TimeLimit

from tasks.consumer import JobsConsumer
from tasks.outages import Outage
from webapp.config import Settings
from webapp.models.jobs import QUEUES

HEARTBEAT, BLOCKED, CONNECT = 20, 3.0, 5.0  # seconds: a stalled broker is given up after these


class JobsBroker(RabbitmqBroker):
    """RabbitMQ with one plain durable queue per name: no delay queues, no dead letters, so half the connections."""

    outage: Outage | None = None
    consumer_class = JobsConsumer

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        consumer = super().consume(queue_name, prefetch, timeout)
        if self.outage is not None:
            self.outage.over(queue_name)
        return consumer

    def declare_queue(self, queue_name: str, *, ensure: bool = False) -> None:
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.queues_pending.add(queue_name)
            self.emit_after("declare_queue", queue_name)
        if ensure:
            self._ensure_queue(queue_name)  # type: ignore[no-untyped-call]

    def _build_queue_arguments(self, queue_name: str) -> dict[str, Any]:
        return {}

    def _declare_dq_queue(self, queue_name: str) -> None:
        pass

    def _declare_xq_queue(self, queue_name: str) -> None:
        pass


class MemoryBroker(StubBroker):
    """Queues inside the process, without the delay queues that nobody uses."""

    def declare_queue(self, queue_name: str) -> None:
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = Queue()
            self.emit_after("declare_queue", queue_name)

    def waiting_in(self, queue_name: str) -> int:
        """Messages of a queue that no consumer has taken yet."""
        return int(self.queues[queue_name].qsize())


def broker_parameters(settings: Settings) -> pika.URLParameters:
    """Connection parameters of RABBITMQ_URL with time-outs; what the URL's query says wins."""
    assert settings.rabbitmq_url is not None  # noqa: S101
    url = settings.rabbitmq_url.get_secret_value()
    parameters = pika.URLParameters(url)
    for name, value in (("heartbeat", HEARTBEAT), ("blocked_connection_timeout", BLOCKED), ("socket_timeout", CONNECT)):
        if f"{name}=" not in url:
            setattr(parameters, name, value)
    return parameters


def queue_name(settings: Settings, queue: str) -> str:
    """The broker's name of one of our queues, so that several installations may share a broker."""
    return f"{settings.rabbitmq_queue_prefix}.{queue}"


def make_broker(settings: Settings) -> JobsBroker | MemoryBroker:
    """A broker with every queue declared and only the middleware that is wanted: the time limit."""
    middleware: list[Middleware] = [TimeLimit(interval=500)]
    broker: JobsBroker | MemoryBroker
    if settings.rabbitmq_url is None:
        broker = MemoryBroker(middleware=middleware)
    else:
        broker = JobsBroker(confirm_delivery=True, middleware=middleware)
        broker.parameters = broker_parameters(settings)
    for queue in QUEUES:
        broker.declare_queue(queue_name(settings, queue))
    return broker
