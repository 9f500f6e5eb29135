"""The program of the row `cache`: `python -m bench.callers near|far|herd URL`, one line of JSON on standard output."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from redis import Redis

from webapp.infra.layers import Layers, Namespace

NEAR: Namespace[str] = Namespace("bench-near", str, fresh=300, near=300)
FAR: Namespace[str] = Namespace("bench-far", str, fresh=300, near=0)
THREADS, SLOW = 100, 0.5  # callers of each process, seconds of the computation
VALUE = "0197f5c2-2f6e-7cc1-a9b5-0c5e8f0a1b2c" * 4  # bytes as of a preview's address


def hits(layers: Layers, space: Namespace[str], count: int) -> dict[str, float]:
    """Microseconds of a hit, the best of five rounds, so that a busy moment of the machine does not count."""
    layers.get(space, "a", lambda: VALUE, ("1",))
    rounds = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(count):
            layers.get(space, "a", lambda: "computed again", ("1",))
        rounds.append((time.perf_counter() - began) / count * 1e6)
    assert layers.get(space, "a", lambda: "computed again", ("1",)) == VALUE
    return {"us": min(rounds)}


def herd(layers: Layers) -> dict[str, float]:
    """All threads ask for one key that nobody has; how many computed it, and when the last one had it."""
    computed: list[int] = []

    def compute() -> str:
        computed.append(1)
        time.sleep(SLOW)
        return VALUE

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda _: time.sleep(0.01), range(THREADS)))  # all threads are there
        print("ready", flush=True)
        sys.stdin.readline()
        began = time.perf_counter()
        answers = set(pool.map(lambda _: layers.get(FAR, "cold", compute, ("1",)), range(THREADS)))
        seconds = time.perf_counter() - began
    assert answers == {VALUE}
    return {"computed": len(computed), "seconds": seconds}


def trip(redis: Redis, count: int = 2000) -> float:
    """Microseconds of a plain GET: what any use of Redis costs here and now."""
    redis.set("bench-plain", VALUE)
    began = time.perf_counter()
    for _ in range(count):
        redis.get("bench-plain")
    return (time.perf_counter() - began) / count * 1e6


if __name__ == "__main__":
    what, url = sys.argv[1:]
    cache = Layers(url)
    found = herd(cache) if what == "herd" else hits(cache, *((NEAR, 50_000) if what == "near" else (FAR, 2_000)))
    if what == "far":
        found["plain"] = min(trip(Redis.from_url(url)) for _ in range(5))
    print(json.dumps(found), flush=True)
