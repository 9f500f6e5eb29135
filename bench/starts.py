"""Row `start`: how long the second `make run` takes to its first page, and what it holds in memory at rest."""

import os
import sys
import time
from collections.abc import Iterator

import requests

from bench.load import fetch
from bench.processes import Server, running, settle
from bench.rows import Row
from bench.vault import RABBITMQ, postgres_answers, vault
from tests.servers import free_port, wait_until

MIB = 1024**2


def start(quick: bool) -> Iterator[Row]:
    """Embedded, and with PostgreSQL, Redis and RabbitMQ."""
    kinds = [("embedded", "sqlite", {})]
    if postgres_answers():
        kinds.append(
            ("servers", "postgresql", {"RABBITMQ_URL": RABBITMQ, "RABBITMQ_QUEUE_PREFIX": f"bench-{os.getpid()}"})
        )
    for name, database, extra in kinds:
        with vault(database, APP_ENV="test", **extra) as target:
            port = free_port()
            environ = {**target.environ, "HOST": "127.0.0.1", "PORT": str(port)}
            runs = []
            for _ in range(2 if quick else 4):
                began = time.perf_counter()
                with running([sys.executable, "-m", "tasks.serve"], target.home, environ, name="serve") as server:
                    wait_until(lambda: _answers(port, server), about="a page")  # noqa: B023
                    runs.append(time.perf_counter() - began)
                    url = f"http://127.0.0.1:{port}"
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
