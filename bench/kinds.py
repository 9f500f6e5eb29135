"""A kind of job that only the measurement knows, and the counter of the workers that it is compared with."""

import itertools
import mmap
import os
import struct

from webapp.models.jobs import KINDS, JobKind

NOTHING = "bench.nothing"
SLOTS = 64  # counters of the other workers' processes, by process id
_counters: dict[int, tuple[mmap.mmap, "itertools.count[int]"]] = {}


def know_nothing() -> None:
    """Register it in this process."""
    KINDS[NOTHING] = JobKind(NOTHING, "Nothing")


def count_one() -> None:
    """Count a message in the file BENCH_COUNTS; each process counts in a slot of its own."""
    pid = os.getpid()
    if pid not in _counters:
        with open(os.environ["BENCH_COUNTS"], "r+b") as file:
            _counters[pid] = (mmap.mmap(file.fileno(), SLOTS * 8), itertools.count(1))
    counts, numbers = _counters[pid]
    struct.pack_into("<Q", counts, pid % SLOTS * 8, next(numbers))
