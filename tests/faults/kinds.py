"""Kinds of jobs for processes under test: one leaves an effect, one is slow, one kills its process, one fails.

Importing it registers them. As a program it is a worker, or an embedded runtime without the web:
`dramatiq tests.faults.worker`, `python -m tests.faults.embedded`.
"""

import os
import signal
import time
from pathlib import Path

from sqlalchemy import insert

from tasks.actors import Result, functions, job
from webapp.db import db, transaction
from webapp.infra.clock import now
from webapp.infra.ids import next_id
from webapp.models.audit import AuditEntry
from webapp.models.jobs import KINDS, JobKind
from webapp.services.jobs import StartedJob

OWN = {
    name: JobKind(name, name, max_attempts=attempts, first_delay=0.2, time_limit=60)
    for name, attempts in (("test.effect", 20), ("test.slow", 20), ("test.poison", 3), ("test.fail", 3))
}
NAMES = tuple(OWN)
KINDS.update(OWN)


def leave_effect(started: StartedJob) -> None:
    """One audit entry per job, however often it runs."""
    with transaction():
        if started.once("entry"):
            db.session.execute(
                insert(AuditEntry).values(id=next_id(), created_at=now(), event="test.effect", target_type="job",
                                          target_uuid=started.uuid, changes={}, request_id=started.request_id)
            )  # fmt: skip


def note_start(started: StartedJob) -> None:
    """A line for every attempt that began, where the job's arguments say so."""
    if "log" in started.args:
        with Path(started.args["log"]).open("a") as log:
            log.write(f"{started.uuid}\n")


@job("test.effect")
def effect(started: StartedJob) -> Result:
    """Leaves its effect at once."""
    note_start(started)
    leave_effect(started)
    return {"pid": os.getpid()}


@job("test.slow")
def slow(started: StartedJob) -> None:
    """Works for args["seconds"], then leaves its effect."""
    note_start(started)
    until = time.monotonic() + float(started.args["seconds"])
    while time.monotonic() < until:
        time.sleep(0.02)
        started.progress(50)
    leave_effect(started)


@job("test.poison")
def poison(started: StartedJob) -> None:
    """Takes its process along, as a fault in a C library would."""
    note_start(started)
    os.kill(os.getpid(), signal.SIGKILL)


@job("test.fail")
def fail(_started: StartedJob) -> None:
    """Fails every time, with a secret in its message."""
    raise RuntimeError("postgresql://holdfast:hunter2@db/holdfast")


FUNCTIONS = {name: functions[name] for name in NAMES}
