"""Tells the relay that jobs are due: NOTIFY on PostgreSQL (at commit), an event inside the process otherwise."""

import threading

from sqlalchemy import text

from webapp.db import after_commit, db

CHANNEL = "holdfast_jobs"
due = threading.Event()


def wake_relay() -> None:
    """Wake it once the present transaction commits. A lost wake-up costs a poll interval, never a job."""
    if db.engine.dialect.name == "postgresql":
        db.session.execute(text(f"NOTIFY {CHANNEL}"))
    after_commit(due.set)
