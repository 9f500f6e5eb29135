"""Empty databases of either kind, for tests that need one of their own."""

import os
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2

from tests.conftest import SERVER, need

KINDS = ("sqlite", "postgresql")


@contextmanager
def empty_database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a database without tables; dropped at the end."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'own.db'}"
        return
    need("postgresql")
    name = f"holdfast_own_{os.getpid()}_{secrets.token_hex(3)}"
    with closing(psycopg2.connect(SERVER)) as server:
        server.autocommit = True
        server.cursor().execute(f'CREATE DATABASE "{name}"')
        try:
            yield SERVER.rsplit("/", 1)[0].replace("postgresql:", "postgresql+psycopg2:") + f"/{name}"
        finally:
            server.cursor().execute(f'DROP DATABASE "{name}" WITH (FORCE)')
