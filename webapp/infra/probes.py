"""Short questions to servers: does somebody answer there? Each is bounded by about a second."""

from functools import lru_cache
from typing import Any

from webapp.infra.redis import connect

SECOND = 1


def ping_redis(url: str) -> bool:
    """Whether Redis answers. Raises what its client raises."""
    return bool(_client(url).ping())


def ping_broker(url: str) -> bool:
    """Whether RabbitMQ accepts our sign-in. Raises what its client raises."""
    import pika

    parameters = pika.URLParameters(url)
    parameters.socket_timeout = parameters.stack_timeout = parameters.blocked_connection_timeout = SECOND
    parameters.connection_attempts = 1
    pika.BlockingConnection(parameters).close()
    return True


@lru_cache(maxsize=4)
def _client(url: str) -> Any:
    return connect(url)
