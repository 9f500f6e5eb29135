"""Fixtures of the jobs' tests: the kinds of the tests, jobs of them, and a count of what they left."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask import Flask

from tasks.actors import functions
from tasks.application import make_app
from tasks.serve import migrate
from tests.conftest import empty, make_settings
from webapp.db import db, read_rows, transaction
from webapp.infra import ids
from webapp.models.audit import AuditEntry
from webapp.models.jobs import KINDS, Job
from webapp.models.record import any_state
from webapp.policies import system_actor
from webapp.services import events


@contextmanager
def borrowed_kinds() -> Iterator[None]:
    """The kinds of tests/faults/kinds.py, for as long as the block lasts: other tests compare KINDS with the actors."""
    before, registered = dict(KINDS), dict(functions)
    from tests.faults import kinds

    KINDS.update(kinds.OWN)
    functions.update(kinds.FUNCTIONS)
    yield
    for table, old in ((KINDS, before), (functions, registered)):
        for name in kinds.NAMES:
            table.pop(name, None)
        table.update({name: value for name, value in old.items() if name not in kinds.NAMES})  # type: ignore[arg-type]


@pytest.fixture
def kinds() -> Iterator[None]:
    """See borrowed_kinds."""
    with borrowed_kinds():
        yield


def queue(name: str, count: int = 1, **args: Any) -> list[UUID]:
    """Commit so many jobs of one kind."""
    with transaction():
        target = events.Target("test", None, "a test", None, args)
        return [job for _ in range(count) for job in events.queue_jobs(system_actor("req-1"), (name,), target)]


def row_of(job: UUID) -> Any:
    """The job's row as it is committed now."""
    columns = (
        Job.id,
        Job.state,
        Job.attempts,
        Job.error,
        Job.run_at,
        Job.sent_at,
        Job.progress,
        Job.result,
        Job.version,
    )
    return read_rows(any_state(Job, *columns, Job.version).where(Job.uuid == job))[0]


def states() -> dict[str, int]:
    """How many jobs of the tests are in which state."""
    count: dict[str, int] = {}
    for row in read_rows(any_state(Job, Job.state).where(Job.name.startswith("test."))):
        count[row.state] = count.get(row.state, 0) + 1
    return count


def effects() -> dict[UUID, int]:
    """How often each job left its effect."""
    count: dict[UUID, int] = {}
    for row in read_rows(any_state(AuditEntry, AuditEntry.target_uuid).where(AuditEntry.event == "test.effect")):
        count[row.target_uuid] = count.get(row.target_uuid, 0) + 1
    return count


@contextmanager
def jobs_side(var_dir: Path, **environment: str) -> Iterator[Flask]:
    """The application of workers and relay on a migrated, empty database, in a context. The id node is its own."""
    settings = make_settings(var_dir, JOB_HEARTBEAT="0.5", JOB_ORPHAN_AFTER="3", **environment)
    app = make_app(settings)
    migrate()
    ids._forget()
    with app.app_context():
        empty(app)
        yield app
        db.session.remove()
        db.engine.dispose()
    ids._forget()
