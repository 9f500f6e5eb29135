"""The limit of the row `jobs`: dramatiq alone, on the queue BENCH_QUEUE. `dramatiq bench.bare`."""

import os

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from bench.kinds import count_one

broker = RabbitmqBroker(url=os.environ["BENCH_RABBITMQ"], middleware=[])
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name=os.environ["BENCH_QUEUE"])
def nothing(number: int) -> None:
    """The work."""
    count_one()
