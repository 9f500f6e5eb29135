"""Row `start`: how long the second `make run` takes to its first page, and what it holds in memory at rest."""

import os
import sys
import time
from collections.abc import Iterator

import requests

from bench.jobs import broker_answers, passing_queues
from bench.load import fetch
from bench.processes import Server, running, settle
from bench.rows import Row
from bench.vault import RABBITMQ, postgres_answers, vault
from tests.servers import free_port, wait_until

MIB = 1024**2


def start(quick: bool) -> Iterator[Row]:
    """Embedded, and with PostgreSQL, Redis and RabbitMQ."""
    yield from _started("embedded", "sqlite", 2 if quick else 4, REDIS_URL="")
    if postgres_answers() and broker_answers():
        prefix = f"bench-{os.getpid()}"
        with passing_queues(prefix):
            extra = {"RABBITMQ_URL": RABBITMQ, "RABBITMQ_QUEUE_PREFIX": prefix}
            yield from _started("servers", "postgresql", 2 if quick else 4, **extra)


def _started(name: str, database: str, times: int, **extra: str) -> Iterator[Row]:
    with vault(database, APP_ENV="test", **extra) as target:
        port = free_port()
        environ = {**target.environ, "HOST": "127.0.0.1", "PORT": str(port), "STREAMS_PORT": str(free_port())}
        url, runs, resident, shared = f"http://127.0.0.1:{port}", [], 0.0, 0.0
        for _ in range(times):
            began = time.perf_counter()
            with running([sys.executable, "-m", "tasks.serve"], target.home, environ, name="serve") as server:
                wait_until(lambda: _answers(port, server), about="a page")
                runs.append(time.perf_counter() - began)
                fetch(f"{url}/api/v1/users/me", target.headers(url))
                settle(3)
                resident, shared = server.memory("Rss") / MIB, server.memory("Pss") / MIB
        yield Row(f"start to first page, {name}", min(runs[1:]), "s", at_most=3, more={"first start": runs[0]})
        yield Row(f"memory at rest, {name}", resident, "MiB", at_most=350, more={"shared pages once": shared})


def _answers(port: int, server: Server) -> bool:
    if server.process.poll() is not None:
        raise RuntimeError(f"the server ended:\n{server.log.read_text(errors='replace')[-3000:]}")
    try:
        return requests.get(f"http://127.0.0.1:{port}/sign-in", timeout=2).status_code == 200
    except requests.RequestException:
        return False
