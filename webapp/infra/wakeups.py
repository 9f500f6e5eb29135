"""Tells the relay that jobs are due: NOTIFY on PostgreSQL (at commit), an event inside the process otherwise."""

import threading

from sqlalchemy import text

from webapp.db import after_commit, autocommitting, db, translated

CHANNEL = "holdfast_jobs"
due = threading.Event()
_NOTIFY = text(f"NOTIFY {CHANNEL}")


def wake_relay_now() -> None:
    """Wake it for a place that became free; outside transactions. Raises Unavailable."""
    if db.engine.dialect.name == "postgresql":
        with translated(), autocommitting(db.engine) as line:
            line.execute(_NOTIFY)
    due.set()


def wake_relay() -> None:
    """Wake it once the present transaction commits. A lost wake-up costs a poll interval, never a job."""
    if due.set in db.session().info["callbacks"]:
        return  # an upload queues three jobs and needs one call
    if db.engine.dialect.name == "postgresql":
        db.session.execute(_NOTIFY)
    after_commit(due.set)
