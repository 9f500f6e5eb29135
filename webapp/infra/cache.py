"""Backends of flask-caching: values are JSON (a pickle in Redis runs whatever was written there), reads fail open."""

import time
from typing import Any

import msgspec
from flask_caching.backends.base import BaseCache

from webapp.infra.redis import Guarded

PREFIX = "holdfast:cache:"
CROWD = 10_000  # values of a process before those that end soonest give way


class RedisCache(BaseCache):
    """Values shared by all processes. Without Redis every read misses and every write is dropped, with no waiting."""

    def __init__(self, url: str, default_timeout: int = 300) -> None:
        super().__init__(default_timeout)
        self._redis = Guarded(url)

    @classmethod
    def factory(cls, app: Any, config: dict[str, Any], args: list[Any], kwargs: dict[str, Any]) -> "RedisCache":
        """Made by flask-caching from CACHE_REDIS_URL."""
        return cls(config["CACHE_REDIS_URL"], kwargs["default_timeout"])

    def get(self, key: str) -> Any:
        """The value, or None."""
        raw = self._try("get", PREFIX + key)
        try:
            return None if raw is None else msgspec.json.decode(raw)
        except msgspec.DecodeError:  # somebody else's writing
            return None

    def set(self, key: str, value: Any, timeout: Any = None) -> bool | None:
        """Keep a JSON value for `timeout` seconds."""
        seconds = timeout if timeout is not None else self.default_timeout
        return bool(self._try("set", PREFIX + key, msgspec.json.encode(value), px=max(1, int(seconds * 1000))))

    def delete(self, key: str) -> bool:
        """Forget the value. Raises redis' errors: who invalidates must know that it worked."""
        return bool(self._redis.client().delete(PREFIX + key))

    def has(self, key: str) -> bool:
        """Whether there is a value."""
        return bool(self._try("exists", PREFIX + key))

    def _try(self, command: str, *args: Any, **kwargs: Any) -> Any:
        return self._redis.try_(lambda redis: getattr(redis, command)(*args, **kwargs))


class ProcessCache(BaseCache):
    """The same inside one process: JSON too, so that nothing works embedded that fails on Redis."""

    def __init__(self, default_timeout: int = 300) -> None:
        super().__init__(default_timeout)
        self._values: dict[str, tuple[float, bytes]] = {}

    @classmethod
    def factory(cls, app: Any, config: dict[str, Any], args: list[Any], kwargs: dict[str, Any]) -> "ProcessCache":
        """Made by flask-caching."""
        return cls(kwargs["default_timeout"])

    def get(self, key: str) -> Any:
        """The value, or None."""
        found = self._values.get(key)
        return msgspec.json.decode(found[1]) if found and found[0] > time.monotonic() else None

    def set(self, key: str, value: Any, timeout: Any = None) -> bool | None:
        """Keep a JSON value for `timeout` seconds."""
        moment = time.monotonic()
        if len(self._values) >= CROWD:
            living = [pair for pair in list(self._values.items()) if pair[1][0] > moment]
            living.sort(key=lambda pair: pair[1][0])
            self._values = dict(living[-CROWD // 2 :])
        seconds = timeout if timeout is not None else self.default_timeout
        self._values[key] = (moment + seconds, msgspec.json.encode(value))
        return True

    def delete(self, key: str) -> bool:
        """Forget the value."""
        return self._values.pop(key, None) is not None

    def has(self, key: str) -> bool:
        """Whether there is a value."""
        return self.get(key) is not None
