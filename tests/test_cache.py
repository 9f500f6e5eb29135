"""The page layer's cache: JSON only, the same embedded and on Redis, and no obstacle when Redis is away."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask_caching.backends.base import BaseCache
from redis import Redis

from webapp.infra.cache import PREFIX, ProcessCache, RedisCache

from .servers import PrivateRedis


@pytest.fixture
def redis() -> Iterator[PrivateRedis]:
    with PrivateRedis() as server:
        yield server


@pytest.fixture(params=["process", "redis"])
def cache(request: pytest.FixtureRequest) -> BaseCache:
    makers: dict[str, Callable[[], BaseCache]] = {
        "process": ProcessCache,
        "redis": lambda: RedisCache(request.getfixturevalue("redis").url),
    }
    return makers[request.param]()


def test_a_value_comes_back_until_its_time_is_over(cache: BaseCache) -> None:
    value = {"used": 3, "names": ["a"], "none": None}
    assert cache.get("k") is None
    assert cache.set("k", value, timeout=1)
    assert (cache.get("k"), cache.has("k")) == (value, True)
    time.sleep(1.1)
    assert (cache.get("k"), cache.has("k")) == (None, False)


def test_a_value_can_be_forgotten(cache: BaseCache) -> None:
    cache.set("k", 1)
    assert cache.delete("k") is True
    assert cache.get("k") is None
    assert cache.delete("k") is False


def test_what_is_no_json_is_refused_everywhere(cache: BaseCache) -> None:
    with pytest.raises(TypeError):
        cache.set("k", object())


def test_a_pickle_written_to_redis_runs_nothing(redis: PrivateRedis) -> None:
    import pickle

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (pytest.fail, ("it ran",))

    cache = RedisCache(redis.url)
    Redis.from_url(redis.url).set(PREFIX + "k", b"!" + pickle.dumps(Bomb()))
    assert cache.get("k") is None


@pytest.mark.parametrize("fault", ["stop", "pause"])
def test_without_redis_reads_miss_at_once_and_invalidation_is_loud(redis: PrivateRedis, fault: str) -> None:
    cache = RedisCache(redis.url)
    cache.set("k", 1)
    getattr(redis, fault)()
    began = time.monotonic()
    assert [cache.get("k") for _ in range(50)] == [None] * 50
    assert not cache.set("k", 2)
    assert time.monotonic() - began < 4
    with pytest.raises(Exception, match=r"(?i)refused|timeout"):
        cache.delete("k")


def test_the_process_keeps_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.infra.cache.CROWD", 10)
    cache = ProcessCache()
    for number in range(100):
        cache.set(f"k{number}", number, timeout=1)
    assert len(cache._values) <= 10
