"""What a worker's consumer tells RabbitMQ: every finished message, no other, and no single one by itself."""

import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pika
import pytest
from dramatiq import Message
from dramatiq.errors import ConnectionClosed
from pika.adapters.blocking_connection import BlockingChannel

from tasks.broker import JobsBroker
from tasks.consumer import JobsConsumer
from tests.servers import PrivateRabbit, wait_until

pytestmark = pytest.mark.services
PREFETCH = 8  # what dramatiq asks for with four threads: twelve are fetched, eight acknowledged together


@pytest.fixture(scope="module")
def rabbit() -> Iterator[PrivateRabbit]:
    with PrivateRabbit() as server:
        yield server


@pytest.fixture
def channel(rabbit: PrivateRabbit) -> Iterator[BlockingChannel]:
    connection = pika.BlockingConnection(pika.URLParameters(rabbit.url))
    yield connection.channel()
    connection.close()


@pytest.fixture
def queue(channel: BlockingChannel) -> str:
    name = f"t{secrets.token_hex(4)}"
    channel.queue_declare(name, durable=True)
    return name


@pytest.fixture
def consumer(rabbit: PrivateRabbit, queue: str) -> Iterator[JobsConsumer]:
    broker = JobsBroker(middleware=[])
    broker.parameters = pika.URLParameters(rabbit.url)
    opened = JobsConsumer(broker, queue, PREFETCH, 100)
    yield opened
    if opened.connection.is_open:
        opened.close()


def publish(channel: BlockingChannel, queue: str, count: int) -> None:
    for number in range(count):
        message: Message[None] = Message(queue_name=queue, actor_name="a", args=(number,), kwargs={}, options={})
        channel.basic_publish("", queue, message.encode())


def left(channel: BlockingChannel, queue: str) -> list[bytes]:
    """The messages that RabbitMQ gives to the next one who asks."""
    return [body for _, _, body in iter(lambda: channel.basic_get(queue, auto_ack=True), (None, None, None))]


def lose(consumer: JobsConsumer) -> None:
    """The connection ends without a word of ours."""
    consumer.connection._impl._transport._sock.shutdown(socket.SHUT_RDWR)
    with pytest.raises(ConnectionClosed):
        next(consumer)


def numbers(bodies: list[bytes]) -> list[int]:
    return [Message.decode(body).args[0] for body in bodies]


def test_only_what_is_finished_is_acknowledged(channel: BlockingChannel, queue: str, consumer: JobsConsumer) -> None:
    publish(channel, queue, 12)
    taken = [next(consumer) for _ in range(12)]
    for message in [*taken[:3], *taken[4:10]]:
        consumer.ack(message)
    assert next(consumer) is None
    lose(consumer)
    wait_until(lambda: channel.queue_declare(queue, durable=True).method.message_count == 3, 10)
    assert numbers(left(channel, queue)) == [3, 10, 11]


def test_threads_that_finish_in_any_order_leave_nothing_behind(
    channel: BlockingChannel, queue: str, consumer: JobsConsumer
) -> None:
    publish(channel, queue, 600)
    seen: list[int] = []

    def finish(message: object) -> None:
        seen.append(message.args[0])  # type: ignore[attr-defined]
        consumer.ack(message)

    while len(seen) < 600:
        if (message := next(consumer)) is not None:
            threading.Timer(secrets.randbelow(20) / 1000, finish, [message]).start()
    consumer.close()
    assert sorted(seen) == list(range(600))
    assert left(channel, queue) == []


def test_a_single_message_is_acknowledged_when_the_queue_is_quiet(
    channel: BlockingChannel, queue: str, consumer: JobsConsumer
) -> None:
    publish(channel, queue, 1)
    consumer.ack(next(consumer))
    assert [next(consumer) for _ in range(2)] == [None, None]
    lose(consumer)
    time.sleep(0.3)  # what comes back, comes now
    assert left(channel, queue) == []


def test_acknowledgements_are_made_in_portions(
    channel: BlockingChannel, queue: str, consumer: JobsConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    real: Callable[..., None] = consumer.channel.basic_ack

    def count(tag: int, multiple: bool = False) -> None:
        told.append(tag)
        real(tag, multiple)

    monkeypatch.setattr(consumer.channel, "basic_ack", count)
    publish(channel, queue, 80)
    for _ in range(80):
        consumer.ack(next(consumer))
    consumer.close()
    assert len(told) <= 11
    assert left(channel, queue) == []


def test_a_message_that_cannot_be_read_is_done_with(
    channel: BlockingChannel, queue: str, consumer: JobsConsumer
) -> None:
    channel.basic_publish("", queue, b"\xff{")
    publish(channel, queue, 8)
    taken = [message for message in (next(consumer) for _ in range(9)) if message is not None]
    for message in taken:
        consumer.nack(message)
    assert next(consumer) is None
    lose(consumer)
    time.sleep(0.3)  # what comes back, comes now
    assert left(channel, queue) == []
