"""Row `cache`: a hit in each layer, one cold key that two processes ask for, and Redis' part in a common request."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import requests
from redis import Redis

from bench.processes import ROOT, settle, web
from bench.reads import kinds, sign_in
from bench.rows import Row
from bench.vault import NO_BROKER, vault
from tests.servers import PrivateRedis

PROCESSES = 2
LIMIT = "1000000 per minute"  # counted like any other: leased in portions of twenty
BESIDE = {"PING", "SUBSCRIBE", "CLIENT", "HELLO", "INFO", "MONITOR"}  # of connections and listeners, not of requests


def cache(quick: bool) -> Iterator[Row]:
    """On a Redis of its own."""
    if not PrivateRedis.available():
        raise RuntimeError("needs redis-server")
    with PrivateRedis() as redis:
        with TemporaryDirectory(prefix="holdfast-bench-") as home:
            yield Row("cache: hit in the process", _run("near", redis, Path(home))["us"], "µs", at_most=5)
            far = _run("far", redis, Path(home))
            yield Row("cache: hit in Redis", far["us"], "µs", at_most=250, more={"a plain GET µs": far["plain"]})
            yield _cold(redis, Path(home))
        yield from _trips(redis, 200 if quick else 1000)


def _start(what: str, redis: PrivateRedis, home: Path) -> subprocess.Popen[str]:
    """As a web process counts: into files that all share."""
    environ = {"PROMETHEUS_MULTIPROC_DIR": str(home), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "bench.callers", what, redis.url]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environ, stdin=pipe, stdout=pipe, text=True)


def _result(process: subprocess.Popen[str]) -> dict[str, float]:
    printed = process.communicate("\n", timeout=120)[0]
    if process.returncode:
        raise RuntimeError(f"callers ended with {process.returncode}")
    found: dict[str, float] = json.loads(printed.splitlines()[-1])
    return found


def _run(what: str, redis: PrivateRedis, home: Path) -> dict[str, float]:
    return _result(_start(what, redis, home))


def _cold(redis: PrivateRedis, home: Path) -> Row:
    callers = [_start("herd", redis, home) for _ in range(PROCESSES)]
    for caller in callers:
        assert caller.stdout is not None
        assert caller.stdout.readline() == "ready\n"
    results = [_result(caller) for caller in callers]
    computed = sum(result["computed"] for result in results)
    return Row("200 callers of one cold key in 2 processes", computed, "computations", at_most=1,
               more={"s until all have it, computing 0.5": max(result["seconds"] for result in results)})  # fmt: skip


def _trips(redis: PrivateRedis, count: int) -> Iterator[Row]:
    """What reaches Redis, seen by Redis (MONITOR), for each 1,000 requests."""
    with (
        vault(kinds()[0], REDIS_URL=redis.url, RABBITMQ_URL=NO_BROKER, RATE_LIMIT=LIMIT) as target,
        web(target.home, target.environ) as server,
    ):
        headers = target.headers(server.url)
        browser = sign_in(server.url)
        with requests.Session() as program:
            program.headers.update(headers)
            commands = _heard(redis, program, f"{server.url}/api/v1/users/me", count)
        leases = commands.pop("lease", 0)
        trips = sum(commands.values()) / count * 1000
        yield Row("Redis trips of 1,000 requests, general limit on", trips, "trips", at_most=0,
                  more={"leases of the limit": round(leases / count * 1000), **commands})  # fmt: skip
        commands = _heard(redis, browser, f"{server.url}/files", count // 5)
        pages = {name: round(number / (count // 5) * 1000) for name, number in commands.items()}
        yield Row("Redis trips of 1,000 files pages", sum(pages.values()), "trips", more=pages)


def _heard(redis: PrivateRedis, session: requests.Session, url: str, count: int) -> Counter[str]:
    for _ in range(20):
        session.get(url).raise_for_status()  # connections and memories are warm
    with _monitored(redis) as commands:
        for _ in range(count):
            session.get(url).raise_for_status()
        settle(0.2)
    return Counter(commands)


@contextlib.contextmanager
def _monitored(redis: PrivateRedis) -> Iterator[list[str]]:
    """The commands that clients send meanwhile, by name; those of scripts are part of their script's trip."""
    found: list[str] = []

    def listen() -> None:
        with Redis.from_url(redis.url).monitor() as monitor:
            for seen in monitor.listen():
                word = seen["command"].split(" ", 1)[0].upper()
                if word == "ECHO":
                    return
                if seen["client_type"] != "lua" and word not in BESIDE:
                    found.append("lease" if word.startswith("EVAL") and "holdfast:limit:" in seen["command"] else word)

    thread = threading.Thread(target=listen)
    thread.start()
    time.sleep(0.3)
    try:
        yield found
    finally:
        Redis.from_url(redis.url).echo("end")
        thread.join(10)
