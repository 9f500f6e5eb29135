"""Connections to Redis that never hold a request up: half a second to connect, one to answer, no repetition.

redis://, rediss://, redis+sentinel://host:port,host:port/master and redis+cluster://host:port,host:port.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast
from urllib.parse import unquote, urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

CONNECT, ANSWER = 0.5, 1.0  # seconds
REST = 3.0  # seconds without a try after a failure
FAILURES = (RedisError, OSError)
T = TypeVar("T")


def connect(url: str) -> Any:
    """A client with a pool of its own; nothing is sent before the first command. Commands raise FAILURES."""
    patience: dict[str, Any] = {"socket_connect_timeout": CONNECT, "socket_timeout": ANSWER}
    parts = urlsplit(url)
    if parts.scheme in {"redis", "rediss"}:
        return Redis.from_url(url, retry=Retry(NoBackoff(), 0), health_check_interval=30, **patience)
    login: dict[str, Any] = {
        "username": unquote(parts.username or "") or None,
        "password": unquote(parts.password or "") or None,
    }
    if parts.scheme == "redis+sentinel":
        master, _, database = parts.path.strip("/").partition("/")
        sentinel: Any = cast(Any, Sentinel)(_hosts(parts.netloc, 26379), sentinel_kwargs=patience, **patience, **login)
        return sentinel.master_for(master or "mymaster", db=int(database or 0), retry=Retry(NoBackoff(), 0))
    nodes = [cast(Any, ClusterNode)(host, port) for host, port in _hosts(parts.netloc, 6379)]
    return RedisCluster(startup_nodes=nodes, retry=Retry(NoBackoff(), 1), **patience, **login)


def _hosts(netloc: str, port: int) -> list[tuple[str, int]]:
    """The members of a comma list; a cluster's client is made lazily, so that one that is down costs no start."""
    found = []
    for member in netloc.rpartition("@")[2].split(","):
        host, colon, number = member.rpartition(":")
        found.append((host if colon else member, int(number) if colon else port))
    return found


class Script:
    """An atomic script of Redis; a server that knows it is sent its digest alone, which saves a quarter of the trip."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def run(self, redis: Any, keys: Sequence[str], *arguments: str | bytes | int) -> Any:
        """What it returns. Raises FAILURES."""
        try:
            return redis.evalsha(self._digest, len(keys), *keys, *arguments)
        except NoScriptError:
            return redis.eval(self._text, len(keys), *keys, *arguments)


class Guarded:
    """A Redis behind a breaker: after a failure nobody waits for it for three seconds, then one finds out for all."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Any = None
        self._rests_until = 0.0

    @property
    def resting(self) -> bool:
        """Whether a call would give up at once."""
        return time.monotonic() < self._rests_until

    def try_(self, action: Callable[[Any], T]) -> T | None:
        """What the action makes of the client, or None when Redis does not answer."""
        if self.resting:
            return None
        if self._rests_until:
            self.rest()  # of the others, while this caller tries
        try:
            answer = action(self.client())
        except FAILURES:
            self.rest()
            return None
        self._rests_until = 0.0
        return answer

    def client(self) -> Any:
        """The client. Raises FAILURES where it has to look at a cluster that is away."""
        if self._client is None:
            self._client = connect(self._url)
        return self._client

    def rest(self) -> None:
        """Note a failure."""
        self._rests_until = time.monotonic() + REST
