"""Jobs as they run: begun, beating, done, failed, taken back. Sending: turns.py; what people order: orders.py.

Every change is one conditional statement, so a job belongs to one runner however often its message arrives.
"""

import contextlib
import math
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningUpdate

from webapp.config import current_settings
from webapp.db import db, transactional, translated
from webapp.errors import HoldfastError, Invalid, Missing, Refused, TooLarge, Unavailable, Unsupported
from webapp.infra.clock import now
from webapp.infra.ids import next_id
from webapp.infra.lines import change
from webapp.infra.wakeups import wake_relay_now
from webapp.models import runs
from webapp.models.jobs import KINDS, JobAttempt, JobEffect, JobKind
from webapp.services.news import JobChange, tell_jobs, tell_jobs_later

SKEW = timedelta(seconds=1)  # clocks of two hosts differ; a message never comes earlier than this
LONGEST_DELAY = 3600.0
PROGRESS_EVERY = 0.5  # seconds between two writes of a job's progress


class Hopeless(HoldfastError):
    """Raised by a job that no repetition can help; its text is shown to the owner. `result` is kept with the job."""

    status, code, title = 422, "hopeless", "This cannot be done"

    def __init__(self, detail: str = "", result: dict[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.result = result


class Postponed(Unavailable):
    """Raised by a job that knows itself when to try again: in `retry_after` seconds, while it has attempts."""

    def __init__(self, detail: str, retry_after: float, result: dict[str, Any] | None = None) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.result = result


class NotNow(HoldfastError):
    """Raised by a job that has to wait for something else than time: this was no attempt."""

    status, code, title = 409, "not_now", "Not now"


class Taken(HoldfastError):
    """The job is no longer this runner's: cancelled, or given to another after a missing sign of life."""

    status, code, title = 409, "taken", "No longer ours"


@dataclass(slots=True)
class StartedJob:
    """One attempt at a job, for the function that does it. `started_at` fences: a later attempt has another."""

    id: int
    uuid: UUID
    name: str
    args: Mapping[str, Any]
    owner_id: int | None
    request_id: str | None
    attempts: int
    max_attempts: int
    started_at: datetime
    target_uuid: UUID | None = None
    deadline_at: datetime | None = None
    lost: bool = False
    _told: tuple[int, float] = field(default=(0, -math.inf))

    def progress(self, percent: float) -> None:
        """Show 0 to 100 to the owner, at most twice a second. Raises Taken when somebody cancelled the job."""
        whole = max(0, min(100, int(percent)))
        if self.lost:
            raise Taken
        if whole != self._told[0] and monotonic() - self._told[1] >= PROGRESS_EVERY:
            report_progress(self, whole)
            self._told = (whole, monotonic())

    def once(self, effect: str) -> bool:
        """See `once` below, for this job."""
        if self.lost:
            raise Taken
        return once(self.id, effect)


def _write(statement: Mapping[str, ReturningUpdate[Any]], **parameters: Any) -> Sequence[Sequence[Any]]:
    """One statement, one round trip: it is its own transaction. Raises Unavailable."""
    return change(statement[db.engine.dialect.name], {"moment": now(), **parameters})


def start_job(job_id: int) -> StartedJob | None:
    """Begin an attempt, counted before any work so that a job that kills its process runs out of attempts.

    None when there is nothing to do: a second message of the same job, one that is not due yet, or a cancelled one.
    """
    return next(iter(start_jobs([job_id])), None)


def start_jobs(job_ids: Sequence[int]) -> list[StartedJob]:
    """The same for several at once, in one statement; those with nothing to do are absent."""
    moment = now()
    rows = _write(runs.START, ids=list(job_ids), moment=moment, due_by=moment + SKEW)
    started = [StartedJob(*tuple(row)[:11]) for row in rows]
    tell_jobs([_stands(job, "running") for job in started])
    return started


def report_progress(job: StartedJob, percent: int) -> None:
    """Show the owner how far it is; counts as a sign of life. Raises Taken."""
    if not _write(runs.PROGRESS, job_id=job.id, begun=job.started_at, percent=percent):
        job.lost = True
        raise Taken
    tell_jobs([_stands(job, "running", percent)])


def heartbeat(jobs: Collection[StartedJob]) -> None:
    """Sign of life of all jobs that this process runs, in one statement. Those no longer its own become lost."""
    alive = {row[0] for row in _write(runs.BEAT, runs=[(job.id, job.started_at) for job in jobs])}
    for job in jobs:
        job.lost = job.lost or job.id not in alive


def finish_job(job: StartedJob, result: dict[str, Any] | None = None) -> bool:
    """The work is done. False when the job was no longer this runner's: then nothing changes."""
    return bool(finish_jobs([(job, result)]))


def finish_jobs(ends: Sequence[tuple[StartedJob, dict[str, Any] | None]]) -> int:
    """The same for several at once; how many were still ours."""
    rows: Sequence[Sequence[Any]]
    if db.engine.dialect.name == "sqlite":
        one_sync = db.engine.connect().execution_options(write=True)
        with translated(), one_sync as line, line.begin():
            finish = runs.FINISH["sqlite"]
            rows = [row for job, result in ends for row in line.execute(finish, _end(job, result)).all()]
    else:
        begun = {"ids": [job.id for job, _ in ends], "begun": [job.started_at for job, _ in ends]}
        outcomes = [None if result is None else msgspec.json.encode(result).decode() for _, result in ends]
        rows = _write(runs.FINISH, **begun, outcomes=outcomes)
    kept = {row[0] for row in rows}
    tell_jobs([_stands(job, "done", 100) for job, _ in ends if job.id in kept])
    _free_places([job for job, _ in ends])
    return len(rows)


def _free_places(over: Sequence[StartedJob]) -> None:
    """Where a limit holds others back, they need not wait until the relay looks again; a lost wake-up costs little."""
    settings = current_settings()
    limited = settings.queue_ceilings.keys() | settings.lane_limits.keys()
    if limited & {KINDS[job.name].queue for job in over if job.name in KINDS}:
        with contextlib.suppress(Unavailable):
            wake_relay_now()


def _end(job: StartedJob, result: dict[str, Any] | None) -> dict[str, Any]:
    return {"moment": now(), "job_id": job.id, "begun": job.started_at, "outcome": result}


def put_back(job: StartedJob) -> None:
    """It waits again, as though it had not begun; who keeps it waiting sees to it that it is not sent again at once."""
    if _write(runs.PUT_BACK, job_id=job.id, begun=job.started_at):
        tell_jobs([_stands(job, "queued")])
        _free_places([job])


@transactional
def fail_attempt(job: StartedJob, error: BaseException) -> str:
    """The attempt failed: queued again after a growing delay, dead after the last attempt or where the next would come
    after the deadline, failed when hopeless. The attempt is kept as the job's history.

    Returns the new state, "" when the job was no longer this runner's. The stored text holds no values of ours:
    messages of expected errors, otherwise only the kind of error; the log has the rest.
    """
    moment = now()
    kind = KINDS.get(job.name, JobKind(job.name, job.name))
    own = error.retry_after if isinstance(error, Postponed) else None
    later = moment + timedelta(seconds=own or delay_after(job.attempts, kind))
    late = job.deadline_at is not None and later > job.deadline_at
    state = "failed" if hopeless(error) else "dead" if late or job.attempts >= job.max_attempts else "queued"
    reason = text_of(error)
    changed = db.session.execute(
        runs.FAIL[db.engine.dialect.name],
        {"job_id": job.id, "begun": job.started_at, "next_state": state, "reason": reason, "moment": moment,
         "next_run_at": later if state == "queued" else moment, "ended_at": None if state == "queued" else moment,
         "outcome": getattr(error, "result", None)},
    ).all()  # fmt: skip
    if changed:
        _keep_attempts("failed", moment, [(job.id, job.attempts, job.started_at, reason)])
        tell_jobs_later([_stands(job, state)])
    return state if changed else ""


def _keep_attempts(outcome: str, moment: datetime, attempts: Sequence[tuple[int, int, datetime, str]]) -> None:
    rows = [
        {"id": next_id(), "job_id": job_id, "number": number, "outcome": outcome, "error": error,
         "started_at": started_at, "ended_at": moment}
        for job_id, number, started_at, error in attempts
    ]  # fmt: skip
    if rows:
        db.session.execute(insert(JobAttempt), rows)


def delay_after(attempts: int, kind: JobKind) -> float:
    """Seconds until the next attempt: doubled each time, up to an hour, ± 20 % so that they do not march in step."""
    return min(LONGEST_DELAY, kind.first_delay * 2.0 ** min(attempts - 1, 20)) * random.uniform(0.8, 1.2)  # noqa: S311


def hopeless(error: BaseException) -> bool:
    """Whether the same error would come again: the object is gone or is not what the job can work on."""
    return isinstance(error, (Hopeless, Missing, Invalid, Refused, TooLarge, Unsupported))


def text_of(error: BaseException) -> str:
    """What the owner may read about an error."""
    if isinstance(error, HoldfastError):
        return error.detail[:1000]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"Unexpected error ({type(error).__name__})"


@transactional
def rescue_orphans(silent_for: float, delay: float = 0.0) -> tuple[int, int]:
    """Take back jobs without a sign of life for so many seconds: (number queued again after `delay`, number dead)."""
    moment, dialect = now(), db.engine.dialect.name
    silent = {"silent_since": moment - timedelta(seconds=silent_for), "moment": moment}
    parked = db.session.execute(runs.PARK[dialect], silent).all()
    back = db.session.execute(
        runs.TAKE_BACK[dialect], {**silent, "next_run_at": moment + timedelta(seconds=delay)}
    ).all()
    lost = [*parked, *back]
    _keep_attempts("lost", moment, [(row.id, row.attempts, row.started_at, runs.STOPPED) for row in lost])
    tell_jobs_later([JobChange(*tuple(row)[:5]) for row in lost])
    return len(back), len(parked)


def give_up_late() -> int:
    """Park jobs that are still queued after their deadline; returns how many."""
    rows = _write(runs.GIVE_UP)
    tell_jobs([JobChange(*tuple(row)[:5]) for row in rows])
    return len(rows)


def _stands(job: StartedJob, state: str, progress: int = 0) -> JobChange:
    return JobChange(job.owner_id, job.uuid, state, progress, job.target_uuid)


def once(job_id: int, effect: str) -> bool:
    """Whether this effect of the job is still to do. Must run inside the transaction that does it: both or neither.

    A second runner waits for the first one's transaction, then gets False.
    """
    dialect = sqlite if db.engine.dialect.name == "sqlite" else postgresql
    row = dialect.insert(JobEffect).values(job_id=job_id, effect=effect, created_at=now())
    return bool(db.session.execute(row.on_conflict_do_nothing().returning(JobEffect.job_id)).first())
