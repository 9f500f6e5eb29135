"""What listeners are told: jobs that moved, files and folders that changed, notifications. Told after the commit.

| event          | data                              | told to who may |
|----------------|-----------------------------------|-----------------|
| job.changed    | id, state, progress, target_id    | jobs.read       |
| file.changed   | id, what ("renamed", "trashed" …) | files.read      |
| folder.changed | id, what                          | files.read      |
| notification   | kind ("job.failed"), id           | jobs.read       |
| sync           | –: read again what you show       | everybody       |
"""

from collections.abc import Iterable
from functools import lru_cache
from uuid import UUID

import msgspec

from webapp.config import current_settings
from webapp.db import after_commit
from webapp.infra.farnews import FarBoard
from webapp.infra.nearnews import NearBoard
from webapp.infra.news import News
from webapp.policies import Actor

HEARD_WITH = {
    "job.changed": "jobs.read",
    "file.changed": "files.read",
    "folder.changed": "files.read",
    "notification": "jobs.read",
}
HOPELESS = ("failed", "dead")
OBJECTS = ("file", "folder")


class JobChange(msgspec.Struct, frozen=True):
    """How a job stands. `progress` is 0 to 100, `target_id` the object it works on."""

    owner_id: int | None
    id: UUID
    state: str
    progress: int = 0
    target_id: UUID | None = None


@lru_cache(maxsize=8)
def _board(url: str | None) -> FarBoard | NearBoard:
    return FarBoard(url) if url else NearBoard()


def board() -> FarBoard | NearBoard:
    """Where this process tells and hears news: Redis where the settings name one."""
    url = current_settings().redis_url
    return _board(url.get_secret_value() if url else None)


def types_for(actor: Actor) -> frozenset[str]:
    """The events that the actor may hear."""
    return frozenset(type_ for type_, permission in HEARD_WITH.items() if actor.can(permission))


def tell_jobs(changes: Iterable[JobChange]) -> None:
    """Tell the owners now: the change is committed. Never waits, never raises."""
    _tell([piece for change in changes for piece in news_of_job(change)])


def tell_jobs_later(changes: Iterable[JobChange]) -> None:
    """Tell the owners once the present transaction commits."""
    news = [piece for change in changes for piece in news_of_job(change)]
    if news:
        after_commit(lambda: _tell(news))


def tell_change_later(owner_id: int | None, event: str, target_id: UUID | None) -> None:
    """Tell the owner of a file or folder of this event, once the present transaction commits."""
    news = news_of_event(owner_id, event, target_id)
    if news:
        after_commit(lambda: _tell(news))


def news_of_job(change: JobChange) -> list[News]:
    """What there is to tell; nothing of jobs that belong to nobody."""
    if change.owner_id is None:
        return []
    data = {"id": change.id, "state": change.state, "progress": change.progress, "target_id": change.target_id}
    news = [News(change.owner_id, "job.changed", _json(data))]
    if change.state in HOPELESS:
        news.append(News(change.owner_id, "notification", _json({"kind": f"job.{change.state}", "id": change.id})))
    return news


def news_of_event(owner_id: int | None, event: str, target_id: UUID | None) -> list[News]:
    """What there is to tell of an audit event such as file.renamed; nothing of other objects."""
    noun, _, what = event.partition(".")
    if owner_id is None or target_id is None or noun not in OBJECTS:
        return []
    return [News(owner_id, f"{noun}.changed", _json({"id": target_id, "what": what}))]


def _tell(news: list[News]) -> None:
    if news:
        board().tell(news)


def _json(data: object) -> str:
    return msgspec.json.encode(data).decode()
