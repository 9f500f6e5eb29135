"""The condition of the vault, as administrators see it: parts, what the cache saves, who holds what, what is left."""

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Engine, case, func, text

from webapp.config import Settings, current_settings
from webapp.db import db, engine_options, transactional
from webapp.errors import Missing
from webapp.infra.clock import now
from webapp.infra.figures import Labels, read_figures, summed
from webapp.infra.holders import Holders, read_holders
from webapp.infra.inquiries import Inquiries
from webapp.infra.storage import store
from webapp.models.jobs import Job
from webapp.models.record import live
from webapp.models.webhooks import Webhook, WebhookHealth
from webapp.policies import Actor, require
from webapp.services.caches import HOLDERS, SPACES, VAULT, cached, empty_later
from webapp.services.events import Target, record
from webapp.services.health import Part, count_jobs, read_aside, read_parts, sum_up

PATIENCE = 1.0  # seconds for all that is asked beside the parts

_DEAD = live(Job, func.count(Job.id)).where(Job.state == "dead")
_HOOKS = live(
    Webhook,
    func.count(Webhook.paused_at).label("paused"),
    func.count(case((Webhook.paused_at.is_(None), WebhookHealth.failing_since))).label("failing"),
).outerjoin(WebhookHealth, WebhookHealth.webhook_id == Webhook.id)

Figures = Mapping[str, Mapping[Labels, float]]


class CacheFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Look-ups of one namespace by who answered, and what its values take in the processes' first layers.

    `ratio` is the share that needed no computation, None before the first look-up; `saved` callers took the result
    that another one was just computing.
    """

    name: str
    near: int
    far: int
    misses: int
    saved: int
    ratio: float | None
    near_entries: int
    near_bytes: int


class Connections(msgspec.Struct, frozen=True, kw_only=True):
    """To the database; `limit` is what one process may open."""

    used: int
    idle: int
    limit: int


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """Of the store, in bytes."""

    free: int
    size: int


class Notices(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong without a fault of the vault: jobs given up in the last day; webhooks that are paused, and that
    fail but are not paused yet.
    """

    dead_jobs: int
    paused_webhooks: int
    failing_webhooks: int


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """`status` is ready, degraded or unready. `caches`, `connections` and `streams` are of all web processes of this
    host when `summed`, else of the one that answers.

    `holders`, `jobs`, `notices`, `disk` and `clock` (seconds that this host is ahead of the database's, to a few
    milliseconds) are None when nobody answers in time; on SQLite there is one clock.
    """

    status: str
    parts: list[Part]
    caches: list[CacheFigures]
    connections: Connections
    streams: int
    summed: bool
    holders: Holders | None
    jobs: dict[str, int] | None
    notices: Notices | None
    disk: Disk | None
    clock: float | None


class _State:
    inquiries = Inquiries(5)


def read_condition(actor: Actor) -> Condition:
    """All of it. Answers within three seconds whatever hangs."""
    require(actor, "health.read")
    settings, engine = current_settings(), db.engine
    parts = read_parts()
    answers = _State.inquiries.ask(_questions(settings, engine), PATIENCE)
    figures = read_figures()
    return Condition(
        status=sum_up(parts),
        parts=list(parts.values()),
        caches=[_cache(name, figures) for name in SPACES],
        connections=_connections(settings, figures),
        streams=int(figures.get("holdfast_event_streams", {}).get((), 0)),
        summed=summed(),
        **{name: answer.value for name, answer in answers.items()},
    )


@transactional
def empty_cache(actor: Actor, name: str) -> None:
    """Forget all values of a namespace in all processes, as after a restored backup. Raises Missing."""
    require(actor, "health.write")
    if name not in SPACES:
        raise Missing("There is no such cache.")
    empty_later(SPACES[name])
    record(actor, "cache.emptied", Target("cache", None, name), {"name": (name, None)})


def _questions(settings: Settings, engine: Engine) -> dict[str, Callable[[], Any]]:
    url = settings.redis_url.get_secret_value() if settings.redis_url else None
    return {
        "holders": lambda: cached(HOLDERS, VAULT, "all", partial(read_holders, engine, url)),
        "jobs": partial(count_jobs, engine),
        "notices": partial(_notices, engine),
        "disk": lambda: Disk(free=store().free(), size=store().room()),
        "clock": partial(_clock, engine),
    }


def _notices(engine: Engine) -> Notices:
    (dead,) = read_aside(engine, _DEAD.where(Job.finished_at > now() - timedelta(days=1)))
    (hooks,) = read_aside(engine, _HOOKS)
    return Notices(dead_jobs=dead[0], paused_webhooks=hooks.paused or 0, failing_webhooks=hooks.failing or 0)


def _clock(engine: Engine) -> float | None:
    if engine.dialect.name == "sqlite":
        return None
    began = time.time()
    (row,) = read_aside(engine, text("SELECT extract(epoch FROM clock_timestamp())"))
    return (began + time.time()) / 2 - float(row[0])


def _cache(name: str, figures: Figures) -> CacheFigures:
    reads = figures.get("holdfast_cache_reads_total", {})
    near, far, misses = (int(reads.get((layer, name), 0)) for layer in ("near", "far", "miss"))
    saved, entries, size = (
        int(figures.get(f"holdfast_cache_{sample}", {}).get((name,), 0))
        for sample in ("stampedes_avoided_total", "near_entries", "near_bytes")
    )
    total = near + far + misses
    return CacheFigures(name=name, near=near, far=far, misses=misses, saved=saved, near_entries=entries,
                        near_bytes=size, ratio=(near + far) / total if total else None)  # fmt: skip


def _connections(settings: Settings, figures: Figures) -> Connections:
    held, options = figures.get("holdfast_database_connections", {}), engine_options(settings)
    return Connections(used=int(held.get(("in use",), 0)), idle=int(held.get(("idle",), 0)),
                       limit=options["pool_size"] + options["max_overflow"])  # fmt: skip
