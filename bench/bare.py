"""The limit of the row `jobs`: dramatiq alone. `dramatiq bench.bare` counts its messages in the file BARE_COUNTS."""

import itertools
import mmap
import os
import struct

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from bench.kinds import SLOTS

broker = RabbitmqBroker(url=os.environ["BENCH_RABBITMQ"], middleware=[])
dramatiq.set_broker(broker)
_counters: dict[int, tuple[mmap.mmap, "itertools.count[int]"]] = {}


def _counter() -> tuple[mmap.mmap, "itertools.count[int]"]:
    pid = os.getpid()
    if pid not in _counters:
        with open(os.environ["BARE_COUNTS"], "r+b") as file:
            _counters[pid] = (mmap.mmap(file.fileno(), SLOTS * 8), itertools.count(1))
    return _counters[pid]


@dramatiq.actor(queue_name=os.environ["BARE_QUEUE"])
def nothing(number: int) -> None:
    """The work; each process counts in a slot of its own."""
    counts, numbers = _counter()
    struct.pack_into("<Q", counts, os.getpid() % SLOTS * 8, next(numbers))
