"""When a session or token was last used: written at most once a minute by a thread, so no request waits for it."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Engine, Executable
from sqlalchemy.exc import SQLAlchemyError

from webapp.infra.clock import now
from webapp.infra.crypto import in_row
from webapp.infra.memory import Memory
from webapp.models.sessions import session_seen
from webapp.models.tokens import token_used
from webapp.services.timeouts import session_end

EVERY = timedelta(minutes=1)

log = structlog.get_logger("webapp.presence")
_noted: Memory[int, bool] = Memory(max_age=EVERY.total_seconds(), size=65536)
_writers: list[ThreadPoolExecutor] = []

os.register_at_fork(after_in_child=_writers.clear)  # a child has no threads of its parent


def note_presence(engine: Engine, session_id: int, seen_at: datetime, started_at: datetime, *, brief: bool) -> None:
    """Have the session's last use written soon, and its end moved on, when the last note is over a minute old."""
    moment = now()
    if moment - seen_at < EVERY or _noted.get(session_id):
        return
    _noted.put(session_id, True, _noted.mark())
    write_soon(engine, session_seen(session_id, moment, session_end(started_at, moment, brief=brief)))


def note_token_use(engine: Engine, token_id: int, used_at: datetime | None, address: str | None) -> None:
    """The same of a token, and where from."""
    moment = now()
    if (used_at is not None and moment - used_at < EVERY) or _noted.get(token_id):
        return
    _noted.put(token_id, True, _noted.mark())
    write_soon(engine, token_used(token_id, moment, in_row(address, token_id) if address else None))


def write_soon(engine: Engine, note: Executable) -> None:
    """Have a note written by the thread, after the request perhaps; where the database is away, never."""
    if not _writers:
        _writers.append(ThreadPoolExecutor(1, thread_name_prefix="presence"))
    _writers[0].submit(_write, engine, note)


def _write(engine: Engine, note: Executable) -> None:
    try:
        with engine.connect().execution_options(write=True) as connection, connection.begin():
            connection.execute(note)
    except SQLAlchemyError as error:
        log.warning("presence_not_written", error=type(error).__name__)
