"""From a function of a noun's module to a dramatiq actor: `@job("files.sniff")` registers, `declare_actors` declares.

A message carries a job's id only. The attempt is counted before the work; what the function returns is its result.
"""

import importlib
import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from dramatiq import Actor, Broker
from dramatiq.middleware import TimeLimitExceeded
from structlog.contextvars import bound_contextvars

from tasks.broker import queue_name
from tasks.clerk import Desk
from tasks.clerk import Result as Result
from tasks.pulse import pulse
from webapp.config import current_settings
from webapp.errors import Unavailable
from webapp.models.jobs import KINDS
from webapp.services import jobs
from webapp.services.jobs import StartedJob

Work = Callable[[StartedJob], Result]
T = TypeVar("T")

log = structlog.get_logger("tasks")
functions: dict[str, Work] = {}
PATIENCE = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # seconds between tries while the database does not answer


def job(name: str) -> Callable[[Work], Work]:
    """Register the function that does jobs of this name; models/jobs.py says what the name stands for."""
    if name not in KINDS:
        raise KeyError(f"{name} is no kind of job; add it to KINDS")

    def register(function: Work) -> Work:
        functions[name] = function
        return function

    return register


def load_functions() -> dict[str, Work]:
    """All functions, their modules imported: files.sniff stands in tasks/files.py. Raises KeyError for one missing."""
    for name in KINDS:
        if name not in functions:
            importlib.import_module(f"tasks.{name.partition('.')[0]}")
    return {name: functions[name] for name in KINDS}


def declare_actors(broker: Broker, desk: Desk) -> None:
    """Declare one actor for each kind of job on this broker, under the job's name."""
    for name, function in load_functions().items():
        declare_actor(broker, desk, name, function)


def declare_actor(broker: Broker, desk: Desk, name: str, function: Work) -> None:
    """Declare the actor of one kind."""

    def run(job_id: int) -> None:
        run_job(desk, function, job_id)

    kind = KINDS[name]
    queue, limit = queue_name(current_settings(), kind.queue), {"time_limit": kind.time_limit * 1000}
    Actor(run, broker=broker, actor_name=name, queue_name=queue, priority=kind.priority, options=limit)


def run_job(desk: Desk, function: Work, job_id: int) -> None:
    """Run one attempt and write down how it ended. A repeated message, or one whose job is not due, does nothing."""
    started = patiently(lambda: desk.start(job_id))
    if started is None:
        return
    with (
        desk.app.app_context(),
        pulse.watches(desk.app, started),
        bound_contextvars(job=started.name, job_id=str(started.uuid), request_id=started.request_id),
    ):
        _attempt(desk, function, started)


def _attempt(desk: Desk, function: Work, started: StartedJob) -> None:
    begun = time.perf_counter()
    try:
        result = function(started)
        patiently(lambda: desk.finish(started, result))
        log.debug("job_done", attempt=started.attempts, seconds=round(time.perf_counter() - begun, 3))
    except jobs.NotNow as wait:
        patiently(lambda: jobs.put_back(started))
        log.info("job_put_back", why=wait.detail)
    except jobs.Taken:
        log.info("job_taken", attempt=started.attempts)
    except BaseException as error:  # whatever ended the attempt, the table must know
        reason = OutOfTime(KINDS[started.name].time_limit) if isinstance(error, TimeLimitExceeded) else error
        state = patiently(lambda: jobs.fail_attempt(started, reason))
        log.warning("job_failed", attempt=started.attempts, next_state=state, error=jobs.text_of(reason),
                    exc_info=None if jobs.hopeless(reason) else error)  # fmt: skip


class OutOfTime(Unavailable):
    """The attempt took longer than its kind allows."""

    def __init__(self, limit: float) -> None:
        super().__init__(f"Took longer than {limit:g} seconds.")


def patiently(action: Callable[[], T]) -> T:
    """Repeat while the database is away, up to half a minute: the job is worth more than this thread's time.

    Raises Unavailable after that; the job is then taken back for its missing sign of life, or its message sent again.
    """
    for pause in PATIENCE:
        try:
            return action()
        except Unavailable:
            time.sleep(pause)
    return action()
