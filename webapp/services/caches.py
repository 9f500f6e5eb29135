"""What services cache, for how long, and what clears it: the one table.

Beside it: identities for a second (services/sessions) and the numbers around a page for a second (http/formats, by
Flask-Caching), which nothing needs to clear.

| namespace | holds                                  | fresh | cleared by                                            |
|-----------|----------------------------------------|-------|-------------------------------------------------------|
| folders   | which folder of an owner has a uuid    | 300 s | every folder event of the owner                       |
| previews  | where a file's preview lies, or none   | 300 s | every file event of the owner, a preview drawn for it |
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, TypeVar

from webapp.config import current_settings
from webapp.db import after_commit
from webapp.infra.layers import Layers, Namespace

T = TypeVar("T")
FOLDERS: Namespace[int | None] = Namespace("folders", int | None, fresh=300)  # type: ignore[arg-type]
PREVIEWS: Namespace[tuple[str, str, int] | None] = Namespace("previews", tuple[str, str, int] | None, fresh=300)  # type: ignore[arg-type]
CLEARED_BY: dict[str, tuple[Namespace[Any], ...]] = {"folder": (FOLDERS,), "file": (PREVIEWS,)}


@lru_cache(maxsize=8)
def _layers(url: str | None) -> Layers:
    return Layers(url)


def layers() -> Layers:
    """The cache of this process, on the Redis of the settings where there is one."""
    url = current_settings().redis_url
    return _layers(url.get_secret_value() if url else None)


def cached(space: Namespace[T], owner_id: int, key: str, compute: Callable[[], T]) -> T:
    """An owner's value of this namespace. What `compute` raises is not cached."""
    return layers().get(space, f"{owner_id}:{key}", compute, (str(owner_id),))


def forget(owner_id: int | None, event: str) -> None:
    """Clear what an event of this owner outdates, once the present transaction commits."""
    after_commit(partial(forget_now, owner_id, event))


def forget_now(owner_id: int | None, event: str) -> None:
    """Clear what an event of this owner has outdated. Never raises."""
    for space in CLEARED_BY.get(event.partition(".")[0], ()):
        layers().clear(space, str(owner_id))
