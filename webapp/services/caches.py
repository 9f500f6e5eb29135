"""What services cache, for how long, and what clears it: the one table.

| namespace  | holds                                  | fresh | cleared by                                            |
|------------|----------------------------------------|-------|-------------------------------------------------------|
| identities | the person and rights of a session     | 1 s   | time; here at once by every change of one (sessions)  |
| settings   | what administrators set                | 1 s   | time (services/settings)                              |
| meters     | the numbers around a page              | 1 s   | time (http/formats, by Flask-Caching)                 |
| folders    | which folder of an owner has a uuid    | 300 s | every folder event of the owner                       |
| previews   | where a file's preview lies, or none   | 300 s | every event of the file, its preview drawn, its scan  |
| jobs       | how many jobs there are in each state  | 15 s  | time; told for another minute while one counts anew   |
| backlogs   | since when each queue's oldest waits   | 5 s   | time; told for another minute, likewise               |
| holders    | held locks, processes that live        | 2 s   | time; told for ten more seconds, likewise             |

The first three are within the process only: a second needs no message.
"""

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, TypeVar
from uuid import UUID

from webapp.config import current_settings
from webapp.db import after_commit
from webapp.infra.holders import Holders
from webapp.infra.layers import Layers, Namespace

T = TypeVar("T")
VAULT = 0  # the owner of what belongs to nobody; no account has this id
FOLDERS: Namespace[int | None] = Namespace("folders", int | None, fresh=300)  # type: ignore[arg-type]
Address = tuple[str, str, int, datetime | None, str | None]  # key, media type, bytes; when scanned, with what infected
PREVIEWS: Namespace[Address | None] = Namespace("previews", Address | None, fresh=300, version=2)  # type: ignore[arg-type]
JOBS: Namespace[dict[str, int]] = Namespace("jobs", dict[str, int], fresh=15, near=15, stale=60)
BACKLOGS: Namespace[dict[str, float]] = Namespace("backlogs", dict[str, float], fresh=5, near=5, stale=60)
HOLDERS: Namespace[Holders] = Namespace("holders", Holders, fresh=2, stale=10, version=2)
SPACES: dict[str, Namespace[Any]] = {space.name: space for space in (FOLDERS, PREVIEWS, JOBS, BACKLOGS, HOLDERS)}
ABOUT_ONE = (PREVIEWS,)  # values about one object each: its tag is the object, elsewhere the owner
CLEARED_BY: dict[str, tuple[Namespace[Any], ...]] = {"folder": (FOLDERS,), "file": (PREVIEWS,)}


@lru_cache(maxsize=8)
def _layers(url: str | None) -> Layers:
    return Layers(url)


def layers() -> Layers:
    """The cache of this process, on the Redis of the settings where there is one."""
    url = current_settings().redis_url
    return _layers(url.get_secret_value() if url else None)


def cached(space: Namespace[T], owner_id: int, key: str, compute: Callable[[], T], about: UUID | None = None) -> T:
    """An owner's value of this namespace, about one object or about all. What `compute` raises is not cached."""
    return layers().get(space, f"{owner_id}:{key}", compute, (str(about or owner_id),))


def forget(owner_id: int | None, event: str, about: UUID | None) -> None:
    """Clear what an event of this owner's object outdates, once the present transaction commits."""
    after_commit(partial(forget_now, owner_id, event, about))


def empty_later(space: Namespace[Any]) -> None:
    """Forget all values of a namespace once the present transaction commits."""
    after_commit(partial(layers().empty, space))


def forget_now(owner_id: int | None, event: str, about: UUID | None) -> None:
    """Clear what an event of this owner's object has outdated. Never raises."""
    for space in CLEARED_BY.get(event.partition(".")[0], ()):
        layers().clear(space, str(about if space in ABOUT_ONE else owner_id))
