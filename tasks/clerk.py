"""Who writes down that jobs begin and end: one thread for a whole process, many jobs in one statement.

A statement costs the same for one job as for twenty, and a worker's threads all wait for theirs at the same moment.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
import structlog
from flask import Flask

from webapp.errors import Unavailable
from webapp.infra.lines import keeping_a_line
from webapp.services import jobs
from webapp.services.jobs import StartedJob

Result = dict[str, Any] | None
BATCH = 100
GATHER = 0.0003  # seconds in which the other threads' wishes may join the first
AGAIN = 0.3  # seconds until ends that the database did not take are offered again

log = structlog.get_logger("tasks")


class Desk(Protocol):
    """Where a job begins and ends."""

    app: Flask

    def start(self, job_id: int) -> StartedJob | None: ...
    def finish(self, job: StartedJob, result: Result) -> None: ...


class DirectDesk:
    """Each at once, in the calling thread."""

    def __init__(self, app: Flask) -> None:
        self.app = app

    def start(self, job_id: int) -> StartedJob | None:
        """See services.jobs.start_job."""
        with self.app.app_context():
            return jobs.start_job(job_id)

    def finish(self, job: StartedJob, result: Result) -> None:
        """See services.jobs.finish_job."""
        jobs.finish_job(job, result)


class _Beginning:
    """A thread that waits to hear whether a job is its own."""

    __slots__ = ("answer", "error", "heard", "job_id")

    def __init__(self, job_id: int) -> None:
        self.job_id = job_id
        self.answer: StartedJob | None = None
        self.error: Exception | None = None
        self.heard = threading.Lock()
        self.heard.acquire()


End = tuple[StartedJob, Result]


class Clerk:
    """Begins jobs while their threads wait; writes ends when it gets to them: in milliseconds, at the latest at close.

    A process that is killed in between did the work and will do it again, as after any kill.
    """

    def __init__(self, app: Flask) -> None:
        self.app = app
        self._wishes: queue.SimpleQueue[_Beginning | End | None] = queue.SimpleQueue()
        self._ends: list[End] = []
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self, job_id: int) -> StartedJob | None:
        """See services.jobs.start_job. Raises Unavailable."""
        if self._thread is None:
            self._open()
        beginning = _Beginning(job_id)
        self._wishes.put(beginning)
        beginning.heard.acquire()
        if beginning.error is not None:
            raise beginning.error
        return beginning.answer

    def finish(self, job: StartedJob, result: Result) -> None:
        """Have the end written soon. Raises TypeError for a result that JSON cannot hold."""
        msgspec.json.encode(result)
        self._wishes.put((job, result))

    def close(self) -> None:
        """Return when every end is written; to be called when no job runs any more."""
        if self._thread is not None:
            self._wishes.put(None)
            self._thread.join(30)

    def _open(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="clerk", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        closing = False
        with self.app.app_context(), keeping_a_line():
            while not closing or self._ends:
                wishes = self._take()
                closing = closing or None in wishes
                self._ends += [wish for wish in wishes if isinstance(wish, tuple)]
                if self._ends:
                    self._write_ends()
                self._begin([wish for wish in wishes if isinstance(wish, _Beginning)])

    def _take(self) -> list[_Beginning | End | None]:
        """What there is to do now; waits for the first of it."""
        wishes: list[_Beginning | End | None] = []
        with contextlib.suppress(queue.Empty):
            wishes.append(self._wishes.get(timeout=AGAIN if self._ends else None))
            time.sleep(GATHER)
            while len(wishes) < BATCH:
                wishes.append(self._wishes.get_nowait())
        return wishes

    def _begin(self, beginnings: Sequence[_Beginning]) -> None:
        if not beginnings:
            return
        try:
            started = {job.id: job for job in jobs.start_jobs([beginning.job_id for beginning in beginnings])}
        except Exception as error:  # noqa: BLE001 - each waiting thread raises it
            for beginning in beginnings:
                beginning.error = error
            started = {}
        for beginning in beginnings:
            beginning.answer = started.pop(beginning.job_id, None)  # a job's second message gets nothing
            beginning.heard.release()

    def _write_ends(self) -> None:
        ends, self._ends = self._ends, []
        try:
            kept = jobs.finish_jobs(ends)
        except Unavailable:
            self._ends = ends
        except Exception:  # noqa: BLE001 - one of them cannot be written: find out which
            for job, result in ends:
                _write_end(job, result)
        else:
            if kept < len(ends):
                log.info("jobs_taken", jobs=len(ends) - kept)


def _write_end(job: StartedJob, result: Result) -> None:
    try:
        jobs.finish_job(job, result)
    except Exception as error:  # a result that the database refuses is a failed attempt
        log.warning("job_failed", job=job.name, job_id=str(job.uuid), attempt=job.attempts, exc_info=error)
        jobs.fail_attempt(job, error)
