"""A vault to measure: its own directory and database, one account, many rows of files, gone afterwards."""

import base64
import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2
from sqlalchemy import create_engine, insert, select

from bench.load import fetch
from bench.processes import ROOT, environment, flask
from tests.servers import connects
from webapp.models.files import Blob, File, FileVersion
from webapp.models.users import User
from webapp.services.names import name_key, sort_key

POSTGRES = os.environ.get("BENCH_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")
REDIS = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/15")
RABBITMQ = os.environ.get("BENCH_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672/%2F")
NO_BROKER = "amqp://bench:bench@127.0.0.1:9/"  # jobs stay in the table: the web process never calls a broker
EMAIL, PASSWORD = "bench@harbour.example", "Correct-Horse-7-Battery"
BATCH = 5000
FIRST = 10**12  # of the made-up ids: older than any real one


@dataclass(slots=True)
class Vault:
    """Where it lives and how its processes are started."""

    home: Path
    environ: dict[str, str]
    database: str

    def headers(self, url: str) -> dict[str, str]:
        """Those of a program that has signed in."""
        status, _, answer = fetch(f"{url}/api/v1/auth/login", body={"email": EMAIL, "password": PASSWORD})
        if status != 200:
            raise RuntimeError(f"sign-in answered {status}: {answer}")
        return {"Authorization": f"Bearer {answer['access_token']}"}


def postgres_answers() -> bool:
    """Whether BENCH_POSTGRES takes us in."""
    try:
        psycopg2.connect(POSTGRES, connect_timeout=2).close()
    except psycopg2.OperationalError:
        return False
    return True


@contextlib.contextmanager
def vault(kind: str, **extra: str) -> Iterator[Vault]:
    """A new vault on `sqlite` or `postgresql` with its tables and one account."""
    home = Path(os.environ.get("BENCH_DIR") or ROOT / "var" / "bench") / f"{kind}-{secrets.token_hex(4)}"
    (home / "var").mkdir(parents=True)
    try:
        with _database(kind, home) as url:
            servers = {"REDIS_URL": REDIS} if connects(6379) else {}
            environ = environment(home, **{"DATABASE_URL": url, **servers, **extra})
            flask(environ, "db", "upgrade")
            flask(
                environ, "users", "create", "--email", EMAIL, "--name", "Bench", "--role", "admin", feed=f"{PASSWORD}\n"
            )
            yield Vault(home, environ, url)
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def _database(kind: str, home: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{home / 'var' / 'holdfast.db'}"
        return
    name = f"holdfast_bench_{os.getpid()}_{secrets.token_hex(3)}"
    with contextlib.closing(psycopg2.connect(POSTGRES)) as admin, admin.cursor() as cursor:
        admin.autocommit = True
        cursor.execute(f'CREATE DATABASE "{name}"')
        try:
            yield POSTGRES.rsplit("/", 1)[0] + f"/{name}"
        finally:
            cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def fill(target: Vault, count: int) -> None:
    """Give the account so many files at its top level, of one content, with names that sort by their number."""
    engine = create_engine(target.database.replace("postgresql://", "postgresql+psycopg2://"))
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    digest = "0" * 64
    with engine.begin() as connection:
        owner = connection.scalar(select(User.id))
        blob = {"id": FIRST, "sha256": digest, "size": 4096, "storage_key": f"00/00/{digest}", "refcount": count,
                "created_at": moment, "facts": {}}  # fmt: skip
        connection.execute(insert(Blob), [blob])
        for start in range(0, count, BATCH):
            files = [_file(owner, number, moment, digest) for number in range(start, min(start + BATCH, count))]
            connection.execute(insert(File), files)
            versions = [{"id": file["id"], "file_id": file["id"], "number": 1, "blob_id": FIRST, "author_id": owner,
                         "mime": file["mime"], "created_at": moment} for file in files]  # fmt: skip
            connection.execute(insert(FileVersion), versions)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    engine.dispose()


def _file(owner: int, number: int, moment: datetime, digest: str) -> dict[str, object]:
    name = file_name(number)
    changed = moment + timedelta(seconds=number)
    return {"id": FIRST + number, "owner_id": owner, "folder_id": None, "name": name, "name_key": name_key(name),
            "sort_key": sort_key(name), "number": 1, "mime": "application/pdf", "size": 4096 + number, "sha256": digest,
            "description": "", "tags": [], "created_at": changed, "updated_at": changed, "deleted_at": None,
            "version": 1}  # fmt: skip


def file_name(number: int) -> str:
    """The name of the file with this number; lists by name show them in order."""
    return f"Quarterly report {number}.pdf"


def cursor_after(sample: str, number: int) -> str:
    """A cursor like this one of a list by name, for the page that begins after the file with this number."""
    values = json.loads(base64.urlsafe_b64decode(sample + "=" * (-len(sample) % 4)))
    values[-2:] = [sort_key(file_name(number)), FIRST + number]
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")
