"""How the relay waits for work: PostgreSQL's LISTEN where there is one, else this process's event and short polls."""

import os
import select
import threading
from typing import Any

import psycopg2
from sqlalchemy.exc import SQLAlchemyError

from webapp.db import db
from webapp.infra import wakeups

POLL, SHORT_POLL = 1.0, 0.25  # seconds; a lost wake-up costs at most this


class Listener:
    """Waits until a job may be due. `wake()` ends a wait from any thread or signal handler."""

    def __init__(self) -> None:
        self._reader, writer = os.pipe()
        self._writer: int | None = writer
        self._lock = threading.RLock()  # re-entered where a signal's wake() interrupts close()
        self._line: Any = None

    def wait(self, limit: float = POLL) -> None:
        """Return when somebody queued a job, after so many seconds, or on wake(); a lost database is no error."""
        if db.engine.dialect.name == "sqlite":
            wakeups.due.wait(min(limit, SHORT_POLL))
            wakeups.due.clear()
            return
        try:
            if self._line is None:
                self._listen()
                return  # what was queued before we listened is found by looking
            ready, _, _ = select.select([self._line, self._reader], [], [], limit)
            if self._line in ready:
                self._line.poll()
                self._line.notifies.clear()
        except (psycopg2.Error, SQLAlchemyError, OSError):
            self._line = None

    def pause(self, seconds: float) -> None:
        """Return after so many seconds, whatever is queued, or on wake()."""
        select.select([self._reader], [], [], seconds)

    def _listen(self) -> None:
        fairy = db.engine.raw_connection()
        fairy.detach()  # kept for as long as it lives, so it is not the pool's
        self._line = fairy.dbapi_connection
        self._line.autocommit = True
        with self._line.cursor() as cursor:
            cursor.execute(f"LISTEN {wakeups.CHANNEL}")

    def wake(self) -> None:
        """End the present wait. After close() nobody waits, and the descriptor's number may be another file's."""
        with self._lock:
            if self._writer is not None:
                os.write(self._writer, b"x")

    def close(self) -> None:
        """Give the connection and the pipe back."""
        if self._line is not None:
            self._line.close()
        with self._lock:
            writer, self._writer = self._writer, None
            if writer is not None:
                os.close(self._reader)
                os.close(writer)
