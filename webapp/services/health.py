"""Whether everything the vault needs is there. Each part is asked on a thread of its own and given little time."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from sqlalchemy import Engine, func, text

from webapp.config import Settings, current_settings
from webapp.db import READ, READ_SQLITE, db, read_rows
from webapp.infra.probes import ping_broker, ping_redis
from webapp.infra.storage import store
from webapp.models.jobs import STATES, Job
from webapp.models.record import live

DEADLINE = 1.5  # seconds for all parts together
FRESH = 1.0  # seconds that an answer is given again
JOBS_FRESH = 15.0  # counting the jobs reads the whole table
NEEDED = {"database", "migrations", "storage"}  # the vault works on without the others
ROOM = 50 * 1024**2  # bytes that must be free in the store
MIGRATIONS = Path(__file__).parents[2] / "migrations"

Check = Callable[[], bool]


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """`status` is ready, degraded (an optional part is missing) or unready; parts are up, down, late or in-process."""

    status: str
    checks: dict[str, str]


class _State:
    """Answers of this process, and checks that have not come back yet."""

    lock = threading.Lock()
    seen: tuple[float, Readiness] | None = None
    jobs: tuple[float, dict[str, int]] | None = None
    pending: ClassVar[dict[str, Future[bool]]] = {}
    threads: ThreadPoolExecutor | None = None
    job_threads: Check | None = None


def watch_job_threads(alive: Check) -> None:
    """Let the embedded job threads answer for the broker they stand in for."""
    _State.job_threads = alive


def read_readiness() -> Readiness:
    """The state of every part, at most a second old; answers within two seconds whatever hangs."""
    with _State.lock:
        moment = time.monotonic()
        if _State.seen is None or moment - _State.seen[0] > FRESH:
            states = _ask(_checks(current_settings(), db.engine))
            _State.seen = (moment, Readiness(status=_sum(states), checks=states))
        return _State.seen[1]


def count_jobs() -> Mapping[str, int]:
    """Jobs by state, at most 15 seconds old. Raises Unavailable."""
    moment = time.monotonic()
    if _State.jobs is None or moment - _State.jobs[0] > JOBS_FRESH:
        rows = read_rows(live(Job, Job.state, func.count(Job.id).label("number")).group_by(Job.state))
        _State.jobs = (moment, {**dict.fromkeys(STATES, 0), **{row.state: row.number for row in rows}})
    return _State.jobs[1]


def _checks(settings: Settings, engine: Engine) -> dict[str, Check | None]:
    redis, broker = settings.redis_url, settings.rabbitmq_url
    return {
        "database": partial(_database, engine),
        "migrations": partial(_migrations, engine),
        "storage": _storage,
        "cache": partial(ping_redis, redis.get_secret_value()) if redis else None,
        "broker": partial(ping_broker, broker.get_secret_value()) if broker else _State.job_threads,
    }


def _ask(checks: dict[str, Check | None]) -> dict[str, str]:
    if _State.threads is None:
        _State.threads = ThreadPoolExecutor(max_workers=len(checks), thread_name_prefix="health")
    until = time.monotonic() + DEADLINE
    for name, check in checks.items():
        known = _State.pending.get(name)
        if check is not None and (known is None or known.done()):  # one that hangs is not asked twice
            _State.pending[name] = _State.threads.submit(check)
    return {
        name: "in-process" if check is None else _outcome(_State.pending[name], until) for name, check in checks.items()
    }


def _outcome(answer: Future[bool], until: float) -> str:
    try:
        return "up" if answer.result(max(0.0, until - time.monotonic())) else "down"
    except TooLate:
        return "late"
    except Exception:  # noqa: BLE001  (whatever a part raises, it is not there)
        return "down"


def _sum(states: dict[str, str]) -> str:
    missing = {name for name, state in states.items() if state in {"down", "late"}}
    return "unready" if missing & NEEDED else "degraded" if missing else "ready"


def _database(engine: Engine) -> bool:
    with engine.connect().execution_options(**_read_options(engine)) as connection:
        return bool(connection.scalar(text("SELECT 1")))


def _migrations(engine: Engine) -> bool:
    with engine.connect().execution_options(**_read_options(engine)) as connection:
        present = set(connection.scalars(text("SELECT version_num FROM alembic_version")))
    return present == newest_revisions()


def _storage() -> bool:
    with store().draft() as draft:
        draft.write(b"?")
    return store().free() > ROOM


def _read_options(engine: Engine) -> dict[str, Any]:
    return dict(READ_SQLITE if engine.dialect.name == "sqlite" else READ)


@cache
def newest_revisions() -> frozenset[str]:
    """The heads of the migrations that came with this code."""
    from alembic.script import ScriptDirectory

    return frozenset(ScriptDirectory(str(MIGRATIONS)).get_heads())
