"""Row `archive`: 10,000 small files out of the vault as one zip, and what it holds in memory meanwhile."""

import hashlib
import http.client
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

from sqlalchemy import create_engine, insert, select

from bench.processes import web
from bench.rows import Row
from bench.vault import FIRST, NO_BROKER, Vault, vault
from webapp.models.files import Blob, File, FileVersion
from webapp.models.folders import Folder
from webapp.models.users import User
from webapp.services.names import name_key, sort_key

MIB = 1024**2


def archive(quick: bool) -> Iterator[Row]:
    """The whole stream is read, as by somebody on the same machine."""
    count, runs = (10_000, 1) if quick else (10_000, 3)
    with vault("sqlite", RABBITMQ_URL=NO_BROKER) as target:
        folder = _plant(target, count)
        with web(target.home, target.environ) as server:
            headers = target.headers(server.url)
            address = f"{server.url}/api/v1/folders/{folder}/archive"
            _fetch(address, headers)
            before = server.forget_peaks()
            spent = min(_fetch(address, headers) for _ in range(runs))
            grown = server.growth(before) / MIB
    yield Row(f"archive of {count:,} small files", count / spent, "files/s", at_least=1500)
    yield Row(f"archive of {count:,} small files: memory growth", grown, "MiB", at_most=64)


def _fetch(address: str, headers: dict[str, str]) -> float:
    parts = urlsplit(address)
    line = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=300)
    began, got = time.perf_counter(), 0
    line.request("GET", parts.path, headers=headers)
    answer = line.getresponse()
    while data := answer.read(MIB):
        got += len(data)
    line.close()
    if answer.status != 200 or got != int(answer.headers["Content-Length"]):
        raise RuntimeError(f"{address} answered {answer.status} with {got} bytes")
    return time.perf_counter() - began


def _plant(target: Vault, count: int) -> str:
    """A hundred folders with as many files each, of 2 kB and different content; the uuid of the one around them."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    record = {"created_at": moment, "updated_at": moment, "deleted_at": None, "version": 1}
    engine = create_engine(target.database.replace("postgresql://", "postgresql+psycopg2://"))
    with engine.begin() as connection:
        owner = connection.scalar(select(User.id))
        folders = [{"id": FIRST + n, "owner_id": owner, "parent_id": FIRST if n else None, **_named(f"Folder {n}"),
                    "path": f"/{FIRST}/{FIRST + n}/" if n else f"/{FIRST}/", **record} for n in range(101)]  # fmt: skip
        connection.execute(insert(Folder), folders)
        for start in range(0, count, 1000):
            stored = [(n, FIRST + 1000 + n, *_store(target, n)) for n in range(start, start + 1000)]
            blobs = [{"id": number, "sha256": digest, "size": size, "storage_key": key, "refcount": 1, "facts": {},
                      "created_at": moment} for _, number, digest, size, key in stored]  # fmt: skip
            files = [{"id": number, "owner_id": owner, "folder_id": FIRST + 1 + n % 100, **_named(f"{n}.txt"),
                      "number": 1, "mime": "text/plain", "size": size, "sha256": digest, "description": "",
                      "tags": [], **record}
                     for n, number, digest, size, _ in stored]  # fmt: skip
            versions = [{"id": number, "file_id": number, "number": 1, "blob_id": number, "author_id": owner,
                         "mime": "text/plain", "created_at": moment} for _, number, *_rest in stored]  # fmt: skip
            for model, rows in ((Blob, blobs), (File, files), (FileVersion, versions)):
                connection.execute(insert(model), rows)
        found = connection.scalar(select(Folder.uuid).where(Folder.id == FIRST))
    engine.dispose()
    return str(found)


def _named(name: str) -> dict[str, str]:
    return {"name": name, "name_key": name_key(name), "sort_key": sort_key(name)}


def _store(target: Vault, number: int) -> tuple[str, int, str]:
    """Content that is there already, as an upload leaves it: its digest, size and key."""
    data = hashlib.shake_128(str(number).encode()).digest(2048)
    digest = hashlib.sha256(data).hexdigest()
    key = f"{digest[:2]}/{digest[2:4]}/{digest}"
    path = target.home / "var" / "blobs" / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return digest, len(data), key
