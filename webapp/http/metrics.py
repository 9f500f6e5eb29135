"""What Prometheus reads at /metrics: requests, connections, the cache, streams, jobs."""

import platform
import time
from functools import lru_cache

from prometheus_client import Gauge, Histogram, generate_latest
from sqlalchemy import Engine, QueuePool

from webapp.config import VERSION
from webapp.infra.figures import registry, together
from webapp.services.health import Tallies

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
requests = Histogram("holdfast_request_seconds", "Seconds until the head of the answer", ["method", "route", "status"],
                     buckets=BUCKETS, registry=registry)  # fmt: skip
pool = Gauge("holdfast_database_connections", "Connections of the pools", ["state"], multiprocess_mode="livesum",
             registry=registry)  # fmt: skip


class _Pool:
    """The engine whose pool is shown, and when it was looked at last."""

    engine: Engine | None = None
    looked_at = 0.0


def watch_pool(engine: Engine) -> None:
    """Show the connections of this engine."""
    _Pool.engine = engine


@lru_cache(maxsize=2000)
def _series(method: str, route: str, status: str) -> Histogram:
    return requests.labels(method, route, status)


def observe(method: str, route: str | None, status: int, seconds: float) -> None:
    """Count one request. Labels are bounded: the rule instead of the path, the class instead of the status."""
    _series(method if method in METHODS else "other", route or "none", f"{status // 100}xx").observe(seconds)
    if time.monotonic() - _Pool.looked_at > 1:
        _look_at_pool()


def exposition(tallies: Tallies | None) -> bytes:
    """The text format. Without `tallies` (no database) the rest is shown: requests, connections, cache, build."""
    _look_at_pool()
    lines = _gauges(tallies) if tallies else []
    lines += ["# HELP holdfast_build_info What runs", "# TYPE holdfast_build_info gauge",
              f'holdfast_build_info{{version="{VERSION}",python="{platform.python_version()}"}} 1', ""]  # fmt: skip
    return generate_latest(together()) + "\n".join(lines).encode()


def _gauges(tallies: Tallies) -> list[str]:
    lines: list[str] = []
    for name, label, help_text, values in (
        ("jobs", "state", "Jobs by state", tallies.jobs),
        ("processes", "role", "Processes that live", tallies.processes),
        ("queue_oldest_seconds", "queue", "Seconds that the oldest due job waits", tallies.waits),
    ):
        lines += [f"# HELP holdfast_{name} {help_text}", f"# TYPE holdfast_{name} gauge"]
        lines += [f'holdfast_{name}{{{label}="{key}"}} {value:g}' for key, value in sorted(values.items())]
    return lines


def _look_at_pool() -> None:
    _Pool.looked_at = time.monotonic()
    connections = _Pool.engine.pool if _Pool.engine is not None else None
    if isinstance(connections, QueuePool):
        pool.labels("in use").set(connections.checkedout())
        pool.labels("idle").set(connections.checkedin())
