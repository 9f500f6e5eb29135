"""The cache in two layers: promise 14, and what becomes of it when Redis goes."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from redis import Redis

from webapp.infra import listening
from webapp.infra.far import PREFIX, FarCache
from webapp.infra.figures import read_figures
from webapp.infra.layers import Layers, Namespace
from webapp.infra.near import MISSING, NearCache
from webapp.infra.redis import Guarded

from .servers import PrivateRedis, wait_until

ROOT = Path(__file__).parent.parent
SPACE: Namespace[int] = Namespace("numbers", int, fresh=60, near=30)


class Point(msgspec.Struct, frozen=True):
    x: int


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateRedis]:
    with PrivateRedis() as server:
        yield server


@pytest.fixture
def redis(server: PrivateRedis) -> PrivateRedis:
    Redis.from_url(server.url).flushall()
    return server


def counting(answers: list[int] | None = None) -> tuple[Callable[[], int], list[int]]:
    """A computation that counts how often it was made."""
    calls: list[int] = []

    def compute() -> int:
        calls.append(1)
        return answers[len(calls) - 1] if answers else len(calls)

    return compute, calls


@pytest.fixture(params=["embedded", "redis"])
def layers(request: pytest.FixtureRequest) -> Layers:
    return Layers(request.getfixturevalue("redis").url if request.param == "redis" else None)


def test_a_value_is_computed_once_and_none_is_a_value(layers: Layers) -> None:
    space: Namespace[None] = Namespace("nothing", type(None), fresh=60)
    calls: list[int] = []
    for _ in range(3):
        assert layers.get(space, "k", lambda: calls.append(1)) is None
    assert len(calls) == 1


def test_clearing_a_tag_clears_its_values_and_no_others(layers: Layers) -> None:
    compute, calls = counting()
    layers.get(SPACE, "a", compute, ["ana"])
    layers.get(SPACE, "b", compute, ["mira"])
    layers.clear(SPACE, "ana")
    assert (layers.get(SPACE, "a", compute, ["ana"]), layers.get(SPACE, "b", compute, ["mira"])) == (3, 2)
    assert len(calls) == 3


def test_a_slow_reader_does_not_bring_back_what_a_writer_ended(layers: Layers) -> None:
    def read_old_then_be_overtaken() -> int:
        layers.clear(SPACE, "ana")
        return 1

    assert layers.get(SPACE, "a", read_old_then_be_overtaken, ["ana"]) == 1
    assert layers.get(SPACE, "a", lambda: 2, ["ana"]) == 2


def test_what_a_computation_raises_reaches_the_caller_and_is_not_kept(layers: Layers) -> None:
    def fail() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        layers.get(SPACE, "a", fail)
    assert layers.get(SPACE, "a", lambda: 5) == 5


def test_many_threads_of_one_process_share_one_computation(layers: Layers) -> None:
    calls: list[int] = []

    def slow() -> int:
        calls.append(1)
        time.sleep(0.2)
        return 7

    with ThreadPoolExecutor(100) as pool:
        assert set(pool.map(lambda _: layers.get(SPACE, "cold", slow), range(100))) == {7}
    assert len(calls) == 1


CALLER = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from tests.test_layers import SPACE
from webapp.infra.layers import Layers
layers = Layers(sys.argv[1])
def slow():
    print("computed", flush=True)
    time.sleep(float(sys.argv[2]))
    return 7
with ThreadPoolExecutor(100) as pool:
    assert set(pool.map(lambda _: layers.get(SPACE, "cold", slow), range(100))) == {7}
"""


def call(redis: PrivateRedis, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CALLER, redis.url, str(seconds)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=dict(os.environ))


def test_two_hundred_threads_in_two_processes_share_one_computation(redis: PrivateRedis) -> None:
    callers = [call(redis, 1.0) for _ in range(2)]
    printed = "".join(caller.communicate(timeout=60)[0] for caller in callers)
    assert [caller.returncode for caller in callers] == [0, 0]
    assert printed.count("computed") == 1


def test_the_death_of_who_computes_holds_nobody_up_for_long(redis: PrivateRedis) -> None:
    dying = call(redis, 600)
    assert dying.stdout is not None
    assert dying.stdout.readline() == "computed\n"
    dying.kill()
    dying.communicate()
    assert Layers(redis.url).get(SPACE, "cold", lambda: 8) == 8


def test_another_process_sees_a_cleared_tag_at_once_in_the_far_layer_and_soon_in_its_near_one(
    redis: PrivateRedis,
) -> None:
    ours, theirs = Layers(redis.url), Layers(redis.url)
    assert ours.get(SPACE, "a", lambda: 1, ["ana"]) == theirs.get(SPACE, "a", lambda: 2, ["ana"]) == 1
    wait_until(lambda: Redis.from_url(redis.url).pubsub_numsub("holdfast:cache:clear")[0][1] >= 2, about="listeners")
    ours.clear(SPACE, "ana")
    wait_until(lambda: theirs.get(SPACE, "a", lambda: 3, ["ana"]) == 3, about="the message")


def test_a_stale_value_is_served_while_one_caller_renews_it(redis: PrivateRedis) -> None:
    space: Namespace[int] = Namespace("stale", int, fresh=0.2, near=0.0, stale=60)
    first, second = Layers(redis.url), Layers(redis.url)
    first.get(space, "a", lambda: 1)
    time.sleep(0.3)
    renewing, release = threading.Event(), threading.Event()

    def renew() -> int:
        renewing.set()
        release.wait(10)
        return 2

    with ThreadPoolExecutor(1) as pool:
        renewed = pool.submit(first.get, space, "a", renew)
        assert renewing.wait(10)
        assert second.get(space, "a", lambda: 99) == 1
        release.set()
        assert renewed.result() == 2
    assert second.get(space, "a", lambda: 99) == 2


def test_values_that_differ_in_shape_are_not_read(redis: PrivateRedis) -> None:
    Layers(redis.url).get(SPACE, "a", lambda: 1)
    as_point: Namespace[Point] = Namespace("numbers", Point, fresh=60)
    assert Layers(redis.url).get(as_point, "a", lambda: Point(3)) == Point(3)
    newer: Namespace[int] = Namespace("numbers", int, fresh=60, version=2)
    assert Layers(redis.url).get(newer, "a", lambda: 4) == 4


def test_a_far_value_ends_and_is_no_pickle(redis: PrivateRedis) -> None:
    Layers(redis.url).get(Namespace("short", int, fresh=5, stale=5), "a", lambda: 1)
    client = Redis.from_url(redis.url)
    (key,) = client.keys(PREFIX + "{short.1}:v:*")
    assert 5_000 < client.pttl(key) <= 10_000
    assert client.hget(key, "value") == msgspec.msgpack.encode(1)


def test_emptying_a_namespace_frees_its_values_of_all_versions_in_batches_and_no_others(redis: PrivateRedis) -> None:
    far, client = FarCache(redis.url), Redis.from_url(redis.url)
    for name, count in (("many.1", 1200), ("many.2", 3), ("manyfold.1", 1)):
        for number in range(count):
            found = far.look(name, str(number), [])
            assert found
            far.keep(name, str(number), b"x", found, 60, 60)
    client.config_resetstat()
    assert far.empty("many.2")
    commands = client.info("commandstats")
    assert "cmdstat_keys" not in commands
    assert 3 <= commands["cmdstat_unlink"]["calls"] <= 4
    assert [key.decode() for key in client.keys(PREFIX + "*:v:*")] == [PREFIX + "{manyfold.1}:v:0"]


def test_what_is_being_computed_while_a_namespace_is_emptied_does_not_come_back(layers: Layers) -> None:
    def read_old_then_be_overtaken() -> int:
        layers.empty(SPACE)
        return 1

    assert layers.get(SPACE, "a", read_old_then_be_overtaken, ["ana"]) == 1
    assert layers.get(SPACE, "a", lambda: 2, ["ana"]) == 2


def test_another_process_hears_that_a_namespace_is_empty(redis: PrivateRedis) -> None:
    ours, theirs = Layers(redis.url), Layers(redis.url)
    assert ours.get(SPACE, "a", lambda: 1) == theirs.get(SPACE, "a", lambda: 2) == 1
    wait_until(lambda: Redis.from_url(redis.url).pubsub_numsub("holdfast:cache:clear")[0][1] >= 2, about="listeners")
    ours.empty(SPACE)
    wait_until(lambda: theirs.get(SPACE, "a", lambda: 3) == 3, about="the message")


def test_more_clearings_than_can_be_remembered_clear_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.infra.layers.MOST_OWED", 10)
    with PrivateRedis() as server:
        ours, other = Layers(server.url), Layers(server.url)
        assert ours.get(SPACE, "a", lambda: 1, ["ana"]) == 1
        server.pause()
        for tag in ("sent, but not answered", "ana", *map(str, range(50))):
            ours.clear(SPACE, tag)
        assert len(ours._owed) <= 12
        server.resume()
        wait_until(lambda: ours._owed == {}, about="the debt")
        assert other.get(SPACE, "a", lambda: 2, ["ana"]) == 2


@pytest.mark.parametrize("how", ["stop", "pause"])
def test_without_redis_reads_compute_and_clearing_is_made_up_for_later(how: str) -> None:
    with PrivateRedis() as server:
        ours = Layers(server.url)
        assert ours.get(SPACE, "a", lambda: 1, ["ana"]) == 1
        getattr(server, how)()
        began = time.monotonic()
        ours.clear(SPACE, "ana")
        assert [ours.get(SPACE, f"b{n}", lambda: 2, ["ana"]) for n in range(50)] == [2] * 50
        assert ours.get(SPACE, "a", lambda: 3, ["ana"]) == 3
        assert time.monotonic() - began < 8
        server.resume() if how == "pause" else server.start()
        wait_until(lambda: not ours.far.redis.resting and ours._owed == {}, about="the debt")  # type: ignore[union-attr]
        fresh = Layers(server.url)
        assert fresh.get(SPACE, "a", lambda: 4, ["ana"]) == 4  # not the 1 that was there before


def test_a_redis_that_hangs_is_waited_for_by_one_caller_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.infra.redis.REST", 1.2)
    with PrivateRedis() as server:
        guarded = Guarded(server.url)
        assert guarded.try_(lambda redis: redis.ping())
        server.pause()
        assert guarded.try_(lambda redis: redis.ping()) is None
        waited: list[float] = []

        def ask(_: int) -> None:
            began = time.monotonic()
            assert guarded.try_(lambda redis: redis.ping()) is None
            waited.append(time.monotonic() - began)

        with ThreadPoolExecutor(20) as pool:
            list(pool.map(lambda _: time.sleep(0.05), range(20)))
            wait_until(lambda: not guarded.resting, about="the end of the rest")
            list(pool.map(ask, range(20)))
        assert max(waited) > 0.5
        assert sorted(waited)[-3] < 0.5, "a second one may have asked in the same moment"
        server.resume()
        wait_until(lambda: guarded.try_(lambda redis: redis.ping()), about="Redis to be asked again")
        assert all(guarded.try_(lambda redis: redis.ping()) for _ in range(5)), "by everybody"


def test_the_near_layer_is_bounded_by_entries_and_by_bytes() -> None:
    near = NearCache(entries=10, size=1000)
    for number in range(100):
        near.put(f"bounded.{number}", number, (), 60, 10)
    assert len(near) == 10
    assert near.get("bounded.0", ()) is MISSING
    assert near.get("bounded.99", ()) == 99
    near.put("bounded.large", "x", (), 60, 950)
    assert (samples("entries"), samples("bytes")) == (len(near), near.size)
    assert near.size <= 1000
    for number in range(30):
        near.clear_tag(str(number))
    assert len(near._marks) <= 10
    near.clear()
    assert (len(near), near.size, samples("entries"), samples("bytes")) == (0, 0, 0, 0)


def samples(what: str) -> float:
    """What the metrics say of the namespace of the test above."""
    return read_figures()[f"holdfast_cache_near_{what}"][("bounded",)]


def test_the_near_layer_sweeps_out_what_is_over() -> None:
    near = NearCache()
    for number in range(50):
        near.put(f"swept.{number}", number, (), 0.0, 10)
    assert len(near) <= 2


def test_a_fault_of_the_client_does_not_make_a_process_deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a dying connection raises: the thread that hears tries again."""
    monkeypatch.setattr(listening, "PAUSE", 0.01)
    tries = threading.Semaphore(0)
    faults = iter(range(3))

    class Broken:
        def client(self) -> None:
            tries.release()
            if next(faults, None) is None:
                threading.Event().wait()  # the test is over; the thread goes with the process
            raise AttributeError("'NoneType' object has no attribute 'sock'")

    listening.Listener(Broken(), print, print, print).ensure()  # type: ignore[arg-type]
    assert all(tries.acquire(timeout=5) for _ in range(3))
