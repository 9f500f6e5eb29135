"""Connections to Redis that never hold a request up: half a second to connect, one to answer, no repetition."""

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

CONNECT, ANSWER = 0.5, 1.0  # seconds
FAILURES = (RedisError, OSError)


def connect(url: str) -> Redis:
    """A client with a pool of its own; nothing is sent before the first command. Commands raise FAILURES."""
    return Redis.from_url(
        url,
        socket_connect_timeout=CONNECT,
        socket_timeout=ANSWER,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=30,
    )
