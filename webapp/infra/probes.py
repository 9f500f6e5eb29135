"""Short questions to servers: who answers there, in which version? Each is bounded by about a second."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec
from redis.cluster import RedisCluster

from webapp.infra.redis import connect

SECOND = 1


class RedisState(msgspec.Struct, frozen=True, kw_only=True):
    """Of all nodes together, in bytes; `limit` is 0 where there is none. `evicted` counts keys since their start."""

    version: str
    used: int
    limit: int
    evicted: int


def probe_redis(url: str) -> RedisState:
    """What Redis says of itself. Raises what its client raises."""
    redis = client_of(url)
    if isinstance(redis, RedisCluster):
        return _state(redis.info(target_nodes=RedisCluster.PRIMARIES).values())
    return _state([redis.info()])


def probe_broker(url: str) -> str:
    """The version of the RabbitMQ that accepts our sign-in. Raises what its client raises."""
    import pika

    parameters = pika.URLParameters(url)
    parameters.socket_timeout = parameters.stack_timeout = parameters.blocked_connection_timeout = SECOND
    parameters.connection_attempts = 1
    connection = pika.BlockingConnection(parameters)
    try:
        return str(connection._impl.server_properties.get("version", ""))  # said in the handshake, kept nowhere else
    finally:
        connection.close()


def _state(nodes: Iterable[dict[str, Any]]) -> RedisState:
    nodes = list(nodes)
    used, limit, evicted = (
        sum(int(node[key]) for node in nodes) for key in ("used_memory", "maxmemory", "evicted_keys")
    )
    return RedisState(version=str(nodes[0]["redis_version"]), used=used, limit=limit, evicted=evicted)


@lru_cache(maxsize=4)
def client_of(url: str) -> Any:
    """The client of such questions: one for each Redis, with the short patience of all clients."""
    return connect(url)
