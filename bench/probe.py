"""The limit we compare with: the same server, driver, rows and encoder, and nothing else. `granian bench.probe:app`.

PROBE_DATABASE is a PostgreSQL URL or a path to a SQLite database; PROBE_OWNER is the account's internal id.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import psycopg2

DATABASE, OWNER = os.environ["PROBE_DATABASE"], int(os.environ["PROBE_OWNER"])
POSTGRES = DATABASE.startswith("postgresql://")
MARK = "%s" if POSTGRES else "?"
PERSON = "uuid, email, name, locale, time_zone, version, created_at"
ME = f"SELECT {PERSON} FROM users WHERE id = {MARK} AND deleted_at IS NULL"
COLUMNS = (
    "uuid, name, folder_id, mime, size, sha256, number, description, tags, created_at, updated_at, deleted_at, version"
)
LIST = f"SELECT {COLUMNS} FROM files WHERE owner_id = {MARK} AND deleted_at IS NULL ORDER BY sort_key, id LIMIT {MARK}"
HEADERS = [("Content-Type", "application/json")]
encoder = msgspec.json.Encoder()


class Line(threading.local):
    """One connection a thread, kept."""

    def __init__(self) -> None:
        if POSTGRES:
            self.connection: Any = psycopg2.connect(DATABASE)
            self.connection.autocommit = True
        else:
            self.connection = sqlite3.connect(DATABASE, isolation_level=None)
            for pragma in ("cache_size=-16000", "mmap_size=268435456"):
                self.connection.execute(f"PRAGMA {pragma}")

    def rows(self, statement: str, values: tuple[Any, ...]) -> Sequence[tuple[Any, ...]]:
        cursor = self.connection.cursor()
        cursor.execute(statement, values)
        found: Sequence[tuple[Any, ...]] = cursor.fetchall()
        return found


line = Line()


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """/me is one row by its key, anything else a list of 25."""
    if environ["PATH_INFO"] == "/me":
        names = ("id", "email", "name", "locale", "time_zone", "version", "created_at")
        body = encoder.encode(dict(zip(names, line.rows(ME, (OWNER,))[0], strict=True)))
    else:
        names = tuple(COLUMNS.split(", "))
        items = [dict(zip(names, row, strict=True)) for row in line.rows(LIST, (OWNER, 26))[:25]]
        body = encoder.encode({"items": items, "next_cursor": "x"})
    start_response("200 OK", [*HEADERS, ("Content-Length", str(len(body)))])
    return [body]
