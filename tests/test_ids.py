"""Promise 12: ids are unique whatever processes, clocks and leases do."""

import array
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import delete, select

from webapp.db import db
from webapp.errors import Unavailable
from webapp.infra import ids
from webapp.infra.ids import (
    EPOCH_MS,
    LEASE_MS,
    SEQUENCES,
    Snowflakes,
    ensure_lease,
    lease_node,
    next_id,
    node_leases,
    release_node,
)

NOW = EPOCH_MS + 90_000_000_000
real_ns = time.time_ns


def node_of(number: int) -> int:
    return number >> 12 & 1023


def moment_of(number: int) -> int:
    return (number >> 22) + EPOCH_MS


class Clock:
    """A clock that shows what the test says and counts how often it was read."""

    def __init__(self, moment: int) -> None:
        self.moment, self.step = moment, 0

    def __call__(self) -> int:
        self.moment += self.step
        return self.moment


@pytest.fixture
def leases(app: Flask) -> Iterator[Callable[[], dict[int, Any]]]:
    """The table of leases, empty at first; the process starts and ends without one."""

    def forget() -> None:
        with db.engine.begin() as connection:
            connection.execute(delete(node_leases))
        ids._forget()

    forget()

    def read() -> dict[int, Any]:
        with db.engine.connect() as connection:
            return {row.node: row for row in connection.execute(select(node_leases))}

    yield read
    forget()


def in_child(deed: Callable[[], int]) -> int:
    """Run the deed in a forked process; its status as waitpid gives it."""
    child = os.fork()
    if child == 0:
        status = 99
        try:
            status = deed()
        finally:
            os._exit(status)
    return child


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@contextmanager
def clock_off_by(seconds: int) -> Iterator[None]:
    """The wall clock of this process is wrong by so much, and goes on from there."""
    time.time_ns = lambda: real_ns() + seconds * 1_000_000_000
    try:
        yield
    finally:
        time.time_ns = real_ns


def make_many(path: Path, count: int, wrong: int) -> int:
    """Half of the ids, then the clock steps back; the process is started anew, as a supervisor would, and goes on."""
    numbers = array.array("q")
    ensure_lease()
    numbers.extend(next_id() for _ in range(count // 2))
    with clock_off_by(wrong):
        if wrong:
            try:
                while True:  # what the sequence still holds of this millisecond is not refused
                    numbers.append(next_id())
            except Unavailable:
                ids._forget()
        ensure_lease()
        numbers.extend(next_id() for _ in range(count - len(numbers)))
    path.write_bytes(numbers.tobytes())
    return 0


def test_four_processes_make_a_million_ids_while_clocks_step_back(
    leases: Callable[[], dict[int, Any]], tmp_path: Path
) -> None:
    count = 250_000
    wrong = (0, -30, 0, -30)
    children = [in_child(lambda i=i, s=s: make_many(tmp_path / str(i), count, s)) for i, s in enumerate(wrong)]  # type: ignore[misc]
    assert [ended(child) for child in children] == [0] * 4
    made = [array.array("q", (tmp_path / str(i)).read_bytes()) for i in range(4)]
    assert [len(numbers) for numbers in made] == [count] * 4
    nodes = [{node_of(number) for number in numbers} for numbers in made]
    assert all(not one & two for i, one in enumerate(nodes) for two in nodes[i + 1 :]), "a lease was shared"
    assert [len(used) for used in nodes] == [1, 2, 1, 2], "the clock that stepped back got another node"
    assert len(set().union(*made)) == 4 * count


def test_threads_share_a_node_and_never_an_id() -> None:
    flakes = Snowflakes(
        5, NOW - 1, NOW + LEASE_MS * 100, clock=lambda: NOW + time.monotonic_ns() // 1_000_000 % 1_000_000
    )
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: [flakes.next() for _ in range(2_000)], range(8)))
    assert len({number for numbers in made for number in numbers}) == 16_000
    assert all(numbers == sorted(numbers) for numbers in made)


def test_processes_that_lease_together_get_different_nodes(leases: Callable[[], dict[int, Any]]) -> None:
    children = [in_child(lambda: lease_node().node) for _ in range(8)]
    nodes = [ended(child) for child in children]
    assert sorted(nodes) == list(range(8))
    assert sorted(leases()) == list(range(8))


def test_a_forked_child_does_not_inherit_the_lease(leases: Callable[[], dict[int, Any]]) -> None:
    mine = node_of(next_id())
    child = in_child(lambda: node_of(next_id()))
    assert ended(child) != mine
    assert len(leases()) == 2
    assert node_of(next_id()) == mine


def test_the_node_of_a_killed_process_is_not_used_again_while_its_ids_may_overlap(
    leases: Callable[[], dict[int, Any]],
) -> None:
    child = in_child(lambda: os.kill(os.getpid(), 9) or 0 if next_id() else 1)
    assert ended(child) == -9
    held = leases()[0]
    assert lease_node().node == 1, "its lease still runs"
    end = held.used_until_ms / 1000
    with time_machine.travel(end, tick=False):
        assert lease_node().node == 2, "it may have made an id in this very millisecond"
    with time_machine.travel(end + 0.002, tick=False):
        again = lease_node()
        assert again.node == 0
        assert moment_of(again.next()) > held.used_until_ms


def test_a_process_whose_clock_is_behind_takes_no_node_of_a_process_that_was_ahead(
    leases: Callable[[], dict[int, Any]],
) -> None:
    ids.ensure_lease()
    ahead = next_id()
    release_node()
    with clock_off_by(-30):
        behind = lease_node()
    assert (node_of(ahead), behind.node) == (0, 1)
    time.sleep(0.01)
    assert lease_node().node == 0, "given back and over: free for clocks that are right"


def test_a_lease_is_extended_when_half_of_it_is_over(leases: Callable[[], dict[int, Any]]) -> None:
    with time_machine.travel(NOW / 1000, tick=False) as clock:
        first = next_id()
        until = leases()[node_of(first)].leased_until_ms
        clock.shift(LEASE_MS / 1000 / 2 - 1)
        ensure_lease()
        assert leases()[node_of(first)].leased_until_ms == until
        clock.shift(2)
        ensure_lease()
        assert leases()[node_of(first)].leased_until_ms == until + LEASE_MS // 2 + 1000
        clock.shift(LEASE_MS / 1000 - 1)
        assert node_of(next_id()) == node_of(first), "the new end counts"


def test_a_lease_that_ran_out_makes_no_id_and_is_replaced_when_another_took_it(
    leases: Callable[[], dict[int, Any]],
) -> None:
    with time_machine.travel(NOW / 1000, tick=False) as clock:
        first = next_id()
        clock.shift(LEASE_MS / 1000 + 1)
        with pytest.raises(Unavailable):
            next_id()
        taken = lease_node()
        assert taken.node == node_of(first)
        with db.engine.begin() as connection:  # as if another process had done that
            connection.execute(node_leases.update().values(token=1))
        ensure_lease()
        assert node_of(next_id()) != node_of(first)


def test_a_write_leases_a_node_before_its_transaction(vault: Any, leases: Callable[[], dict[int, Any]]) -> None:
    ids._forget()
    vault.folder("One")
    assert len(leases()) == 1


def test_1024_nodes_are_enough_for_nobody_else(leases: Callable[[], dict[int, Any]]) -> None:
    until = ids.wall_ms() + LEASE_MS
    rows = [
        {"node": node, "host": "x", "pid": 1, "token": node, "leased_until_ms": until, "used_until_ms": until}
        for node in range(1024)
    ]
    with db.engine.begin() as connection:
        connection.execute(node_leases.insert(), rows)
    with pytest.raises(Unavailable, match="1,024"):
        lease_node()


def test_a_small_step_back_of_the_clock_goes_unnoticed() -> None:
    clock = Clock(NOW)
    flakes = Snowflakes(1, NOW - 1, NOW + LEASE_MS, clock)
    first = flakes.next()
    clock.moment -= 1_900
    assert flakes.next() == first + 1, "the sequence of the last millisecond goes on"


def test_a_full_millisecond_after_a_small_step_back_waits_for_the_clock() -> None:
    clock = Clock(NOW)
    flakes = Snowflakes(1, NOW - 1, NOW + LEASE_MS, clock)
    made = [flakes.next() for _ in range(SEQUENCES)]
    clock.moment, clock.step = NOW - 5, 1
    made.append(flakes.next())
    assert moment_of(made[-1]) == NOW + 1
    assert len(set(made)) == SEQUENCES + 1


def test_a_clock_that_stays_behind_is_refused_after_two_seconds_and_nothing_repeats() -> None:
    clock = Clock(NOW)
    flakes = Snowflakes(1, NOW - 1, NOW + LEASE_MS, clock)
    made = {flakes.next() for _ in range(10)}
    clock.moment -= 30_000
    began = time.monotonic()
    with pytest.raises(Unavailable, match="stepped back") as refusal:
        flakes.next()
    assert 1.9 < time.monotonic() - began < 20
    assert refusal.value.status == 503
    clock.moment += 30_001
    assert flakes.next() not in made


def test_no_id_is_made_after_the_end_of_the_lease() -> None:
    clock = Clock(NOW)
    flakes = Snowflakes(1, NOW - 1, NOW + 5, clock)
    assert moment_of(flakes.next()) == NOW
    clock.moment = NOW + 6
    with pytest.raises(Unavailable, match="lease"):
        flakes.next()


@pytest.mark.parametrize("node", [-1, 1024])
def test_a_node_outside_ten_bits_is_a_mistake(node: int) -> None:
    with pytest.raises(ValueError, match="node"):
        Snowflakes(node, NOW, NOW)
