"""How far ahead of the workers the relay sends."""

import pytest

from tasks import windows
from tasks.windows import AHEAD, LEAST, MOST, OFTEN, Window


class Broker:
    """A queue and its clock: `rate` messages a second are taken."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.moment, self.rest, self.rate = 100.0, 0.0, 0.0
        monkeypatch.setattr(windows, "monotonic", lambda: self.moment)
        self.window = Window()

    def run(self, seconds: float, rate: float) -> float:
        """A relay that always has jobs to send; returns how many were taken."""
        taken, until = 0.0, self.moment + seconds
        while self.moment < until:
            room = self.window.room(lambda: int(self.rest))
            self.rest += room
            self.window.sent += room
            self.moment += OFTEN
            now_taken = min(self.rest, rate * OFTEN)
            self.rest -= now_taken
            taken += now_taken
        return taken


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    return Broker(monkeypatch)


def test_little_waits_at_a_broker_whose_workers_are_slow(broker: Broker) -> None:
    broker.run(20, rate=2)
    assert broker.window.size == LEAST
    assert round(broker.rest) <= LEAST


def test_quick_workers_are_kept_busy(broker: Broker) -> None:
    broker.run(2, rate=1500)
    assert broker.run(2, rate=1500) > 0.95 * 2 * 1500


def test_a_window_that_grew_shrinks_when_the_jobs_become_slow(broker: Broker) -> None:
    broker.run(3, rate=5000)
    assert broker.window.size > 8 * LEAST
    broker.run(30 * AHEAD, rate=4)
    assert broker.window.size <= 2 * LEAST


def test_it_has_an_end(broker: Broker) -> None:
    broker.run(5, rate=10**6)
    assert broker.window.size == MOST


def test_single_jobs_ask_the_broker_nothing_often_and_leave_the_window_small(broker: Broker) -> None:
    asked = 0

    def count() -> int:
        nonlocal asked
        asked += 1
        return 0

    for _ in range(100):
        assert broker.window.room(count) > 0
        broker.window.sent += 1
        broker.moment += 0.3
    assert asked <= 35
    assert broker.window.size <= 2 * LEAST
