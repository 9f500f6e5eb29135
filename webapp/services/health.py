"""Whether everything the vault needs is there: its parts, asked in parallel with one deadline."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from sqlalchemy import Engine, Executable, Row, func, text

from webapp.config import Settings, current_settings
from webapp.db import autocommitting, db, translated
from webapp.errors import Unavailable
from webapp.infra import scanner
from webapp.infra.holders import ROLES, read_processes
from webapp.infra.inquiries import Inquiries
from webapp.infra.probes import RedisState, probe_broker, probe_redis
from webapp.infra.storage import store
from webapp.models.jobs import STATES, Job
from webapp.models.record import live
from webapp.services.backlogs import behind, waits
from webapp.services.caches import JOBS, VAULT, cached

DEADLINE = 1.5  # seconds for all parts together
FRESH = 1.0  # seconds that an answer is given again
MISSING = {"down", "late", "behind"}
NEEDED = {"database", "migrations", "storage"}  # the vault works on without the others
ROOM = 50 * 1024**2  # bytes that must be free in the store
MIGRATIONS = Path(__file__).parents[2] / "migrations"

Check = Callable[[], Any]


class Absent(Exception):
    """A part answers, but does not do what it must; the text says what."""


class Lag(str):
    """The answer of a part that works, but too slowly: what waits there."""

    __slots__ = ()


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """`status` is ready, degraded (an optional part is missing) or unready; parts are up, down, late, behind (work
    waits there for too long) or in-process.
    """

    status: str
    checks: dict[str, str]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the vault as it was at most a second ago. `needed`: without it requests are refused.

    `latency` is what the question took, in seconds; `reason` is the part's own words when it is down.
    """

    name: str
    state: str
    needed: bool
    latency: float | None = None
    version: str = ""
    reason: str = ""
    redis: RedisState | None = None


class _State:
    """Answers of this process."""

    lock = threading.Lock()
    seen: tuple[float, dict[str, Part]] | None = None
    inquiries = Inquiries(8)
    job_threads: ClassVar[dict[str, Callable[[], bool]]] = {}


def watch_job_threads(**alive: Callable[[], bool]) -> None:
    """Let the embedded job threads answer for the processes they stand in for: relay and worker."""
    _State.job_threads = alive


def read_parts() -> dict[str, Part]:
    """The state of every part, at most a second old; answers within two seconds whatever hangs."""
    with _State.lock:
        moment = time.monotonic()
        if _State.seen is None or moment - _State.seen[0] > FRESH:
            _State.seen = (moment, _ask(_checks(current_settings(), db.engine)))
        return _State.seen[1]


def read_readiness() -> Readiness:
    """Whether requests can be served, and the state of every part."""
    parts = read_parts()
    return Readiness(status=sum_up(parts), checks={name: part.state for name, part in parts.items()})


def sum_up(parts: Mapping[str, Part]) -> str:
    """The state of the whole: ready, degraded or unready."""
    missing = [part for part in parts.values() if part.state in MISSING]
    return "unready" if any(part.needed for part in missing) else "degraded" if missing else "ready"


class Tallies(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured in the database: jobs by state, processes by role, seconds that the oldest waits by queue."""

    jobs: Mapping[str, int]
    processes: Mapping[str, int]
    waits: Mapping[str, float]


def read_tallies() -> Tallies:
    """All of them. Raises Unavailable."""
    jobs = count_jobs()
    with translated():
        lives = Counter(process.role for process in read_processes(db.engine))
    return Tallies(jobs=jobs, processes={role: lives[role] for role in ROLES}, waits=waits())


def count_jobs(engine: Engine | None = None) -> Mapping[str, int]:
    """Jobs by state, counted at most every 15 seconds by one of all processes. Raises Unavailable."""
    return cached(JOBS, VAULT, "by state", partial(_count_jobs, engine or db.engine))


def _count_jobs(engine: Engine) -> dict[str, int]:
    with translated():
        rows = read_aside(engine, live(Job, Job.state, func.count(Job.id).label("number")).group_by(Job.state))
    return {**dict.fromkeys(STATES, 0), **{row.state: row.number for row in rows}}


def read_aside(engine: Engine, statement: Executable) -> list[Row[Any]]:
    """The rows of a hot read on a thread that is no request's. Raises what the driver raises."""
    with autocommitting(engine) as connection:
        return list(connection.execute(statement))


def _checks(settings: Settings, engine: Engine) -> dict[str, Check | None]:
    redis, broker = settings.redis_url, settings.rabbitmq_url
    return {
        "database": partial(_database, engine),
        "migrations": partial(_migrations, engine),
        "storage": _storage,
        "cache": partial(probe_redis, redis.get_secret_value()) if redis else None,
        "broker": partial(probe_broker, broker.get_secret_value()) if broker else None,
        **{role: partial(_process, engine, role) if broker else _thread(role) for role in ("relay", "worker")},
        "queues": partial(_queues, engine),
        **({"scanner": partial(_scanner, settings.clamav_url)} if settings.clamav_url else {}),
    }


def _ask(checks: dict[str, Check | None]) -> dict[str, Part]:
    answers = _State.inquiries.ask({name: check for name, check in checks.items() if check}, DEADLINE)
    return {name: _part(name, answers.get(name)) for name in checks}


def _part(name: str, answer: Any) -> Part:
    needed = name in NEEDED
    if answer is None:
        return Part(name=name, state="in-process", needed=needed)
    redis = answer.value if isinstance(answer.value, RedisState) else None
    version = redis.version if redis else answer.value or ""
    if isinstance(answer.value, Lag):
        return Part(name=name, state="behind", needed=needed, latency=answer.seconds, reason=str(answer.value))
    return Part(name=name, state=answer.state, needed=needed, latency=answer.seconds, version=version, redis=redis,
                reason=answer.reason)  # fmt: skip


def _database(engine: Engine) -> str:
    sqlite = engine.dialect.name == "sqlite"
    (row,) = read_aside(engine, text("SELECT sqlite_version()" if sqlite else "SHOW server_version"))
    return f"{'SQLite' if sqlite else 'PostgreSQL'} {row[0].split()[0]}"


def _migrations(engine: Engine) -> str:
    present = {row[0] for row in read_aside(engine, text("SELECT version_num FROM alembic_version"))}
    if present != newest_revisions():
        raise Absent(f"The tables are at {', '.join(sorted(present)) or 'nothing'}, this code is made for others.")
    return ", ".join(sorted(present))


def _storage() -> str:
    with store().draft() as draft:
        draft.write(b"?")
    store().check()
    if store().free() <= ROOM:
        raise Absent("The disk is nearly full.")
    return ""


def _scanner(url: str) -> str:
    try:
        return scanner.version(url)
    except Unavailable as error:
        raise Absent(error.detail) from error


def _process(engine: Engine, role: str) -> str:
    versions = {process.version for process in read_processes(engine) if process.role == role}
    if not versions:
        raise Absent(f"No {role} has given a sign of life for {current_settings().gone_after:g} seconds.")
    return ", ".join(sorted(versions))


def _thread(role: str) -> Check | None:
    alive = _State.job_threads.get(role)
    if alive is None:  # a process that runs no jobs, such as a command
        return None

    def answer() -> str:
        if not alive():
            raise Absent(f"A thread of the {role} in the web process has ended.")
        return ""

    return answer


def _queues(engine: Engine) -> str:
    late = behind(waits(engine))
    return Lag("; ".join(f"{queue}: the oldest due job has waited for {seconds / 60:.0f} minutes"
                         for queue, seconds in late.items())) if late else ""  # fmt: skip


@cache
def newest_revisions() -> frozenset[str]:
    """The heads of the migrations that came with this code."""
    from alembic.script import ScriptDirectory

    return frozenset(ScriptDirectory(str(MIGRATIONS)).get_heads())
