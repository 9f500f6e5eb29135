"""What Prometheus reads at /metrics. With PROMETHEUS_MULTIPROC_DIR set before start, the numbers of all web processes."""

import os
from collections.abc import Iterator
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
registry = CollectorRegistry()
requests = Histogram("holdfast_request_seconds", "Time to the end of the answer's head", ["method", "route", "status"],
                     buckets=BUCKETS, registry=registry)  # fmt: skip
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


@lru_cache(maxsize=2000)
def _series(method: str, route: str, status: str):  # type: ignore[no-untyped-def]
    return requests.labels(method, route, status)


def observe(method: str, route: str | None, status: int, seconds: float) -> None:
    """Count one request. Labels are bounded: the rule instead of the path, the class instead of the status."""
    _series(method if method in METHODS else "other", route or "none", f"{status // 100}xx").observe(seconds)
