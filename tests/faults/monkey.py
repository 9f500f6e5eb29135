"""The monkey: which part breaks when, how and for how long, planned from a seed; and the hand that does it.

It works in the thread that started the parts: the kernel ends a child with the thread that made it.
"""

import itertools
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tests.faults.installation import Installation

# How each part may break. "kill" is SIGKILL of all of it, "hang" SIGSTOP, "restart" an orderly stop; PostgreSQL's
# "crash" is `pg_ctl stop -m immediate`.
WAYS = {
    "postgresql": ("crash", "kill", "hang", "restart"),
    "redis": ("kill", "hang", "restart"),
    "rabbitmq": ("kill", "hang", "restart"),
    "web": ("kill", "hang", "restart"),
    "one of web's processes": ("kill", "hang"),
    "streams": ("kill", "hang"),
    "relay 1": ("kill", "hang", "restart"),
    "relay 2": ("kill", "hang", "restart"),
    "worker 1": ("kill", "hang", "restart"),
    "worker 2": ("kill", "hang", "restart"),
}
BREAK: dict[str, Callable[[Any], None]] = {
    "kill": lambda part: part.kill(),
    "hang": lambda part: part.pause(),
    "restart": lambda part: part.stop(),
    "crash": lambda part: part.stop(signal.SIGQUIT),
}
LONGEST_HANG = 9.0  # seconds; longer than the time-outs of Redis, of locks and of signs of life


HANG = 120.0  # seconds in which a part that was mended must answer


class Fault(NamedTuple):
    """A part, what is done to it, for how many seconds."""

    part: str
    how: str
    lasts: float


class Stroke(NamedTuple):
    """Faults that begin together, after a pause."""

    after: float
    faults: tuple[Fault, ...]


class Outage(NamedTuple):
    """A fault as it was: from when to when the part did not answer, by time.monotonic()."""

    part: str
    how: str
    began: float
    ended: float


def plan(seed: str) -> Iterator[Stroke]:
    """Strokes without end; every third is a pair. Every part has its turn before any comes again, in all its ways."""
    chance = random.Random(f"monkey-{seed}")
    ways = {part: chance.sample(all_, len(all_)) for part, all_ in WAYS.items()}
    turns = (part for _ in itertools.count() for part in chance.sample(list(WAYS), len(WAYS)))
    while True:
        faults: dict[str, Fault] = {}
        for part in itertools.islice(turns, 2 if chance.random() < 1 / 3 else 1):
            ways[part].append(how := ways[part].pop(0))
            faults[part] = Fault(part, how, round(lasting(chance, how), 2))
        yield Stroke(round(chance.uniform(0.2, 2.0), 2), tuple(faults.values()))


def lasting(chance: random.Random, how: str) -> float:
    """Mostly short; now and then beyond every time-out."""
    if how == "hang":
        return chance.uniform(6, LONGEST_HANG) if chance.random() < 0.3 else chance.uniform(0.5, 4)
    return chance.uniform(0.1, 2.5)


class Monkey:
    """Breaks and mends the parts of an installation."""

    def __init__(self, town: Installation, seed: str) -> None:
        self.town, self.seed = town, seed
        self.outages: list[Outage] = []
        self.faults: list[str] = []
        self._waking: list[tuple[Fault, float]] = []  # mended, but they do not answer yet; with when they broke

    def run(self, seconds: float) -> None:
        """Strokes until the time is over; afterwards every part answers."""
        end = time.monotonic() + seconds
        for stroke in plan(self.seed):
            if time.monotonic() + stroke.after >= end:
                break
            self._wait(time.monotonic() + stroke.after)
            self._await({fault.part for fault in stroke.faults})
            self.strike(stroke)
        self._await(set(self.town.parts))

    def strike(self, stroke: Stroke) -> None:
        """Break all of the stroke's parts, mend each when its time has come."""
        begun = [(self._break(fault), fault) for fault in stroke.faults]
        for began, fault in sorted(begun, key=lambda each: each[0] + each[1].lasts):
            self._wait(began + fault.lasts)
            self._mend(fault)
            self._waking.append((fault, began))

    def _break(self, fault: Fault) -> float:
        began = time.monotonic()
        try:
            BREAK[fault.how](self.town.parts[fault.part])
        except subprocess.TimeoutExpired:
            self.faults.append(f"{fault.part} did not end when it was asked to")
            self.town.parts[fault.part].kill()
        return began

    def _mend(self, fault: Fault) -> None:
        part = self.town.parts[fault.part]
        if fault.how == "hang":
            part.resume()
        elif part.ended:
            part.launch()

    def _wait(self, until: float) -> None:
        while True:
            self._look()
            if (left := until - time.monotonic()) <= 0:
                return
            time.sleep(min(left, 0.1))

    def _await(self, parts: set[str]) -> None:
        """Until these parts answer."""
        deadline = time.monotonic() + HANG
        while any(fault.part in parts for fault, _ in self._waking) and time.monotonic() < deadline:
            self._wait(time.monotonic() + 0.1)
        self.faults += [f"{fault.part} does not answer after: {fault.how}" for fault, _ in self._waking
                        if fault.part in parts and time.monotonic() >= deadline]  # fmt: skip

    def _look(self) -> None:
        """Note who answers again. A part that fell without being pushed is a fault; it is started again."""
        for fault, began in list(self._waking):
            part = self.town.parts[fault.part]
            try:
                if part.stands():
                    self._waking.remove((fault, began))
                    self.outages.append(Outage(fault.part, fault.how, began, time.monotonic()))
            except RuntimeError as error:
                self.faults.append(f"{fault.part} fell after: {fault.how}. {error}")
                part.launch()
