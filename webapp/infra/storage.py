"""The store of bytes that STORAGE_URL names, what every store has to offer, and stored bytes as a file."""

import io
import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from webapp.config import current_settings
from webapp.infra.drafts import CHUNK as CHUNK
from webapp.infra.drafts import LocalDraft as LocalDraft
from webapp.infra.drafts import disk_errors as disk_errors
from webapp.infra.localstore import LocalStore as LocalStore
from webapp.infra.s3store import Place, S3Store
from webapp.infra.twostores import TwoStores


class Store(Protocol):
    """Where bytes lie, as they are given. Keys are relative paths that drafts have from digests or chance, never from
    names. Everything raises DiskFull or Unavailable when the store is full or away.
    """

    @property
    def drafts(self) -> Path: ...  # a folder on the local disk, for what is being written
    def draft(self) -> LocalDraft: ...
    def reopen(self, place: str, data_key: bytes) -> LocalDraft: ...
    def key(self, digest: str) -> str: ...
    def keep(self, draft: LocalDraft, *, replace: bool = False) -> str: ...
    def read(self, key: str, start: int = 0, length: int | None = None, piece: int = CHUNK) -> Iterator[bytes]: ...
    def path(self, key: str) -> Path | None: ...
    def link(self, key: str, headers: dict[str, str]) -> str | None: ...
    def check(self) -> None: ...
    def size(self, key: str) -> int | None: ...
    def touch(self, key: str) -> None: ...
    def delete(self, key: str) -> None: ...
    def free(self) -> int: ...
    def room(self) -> int: ...
    def keys_older_than(self, seconds: float) -> Iterator[str]: ...
    def older_than(self, key: str, seconds: float) -> bool: ...


class Reading(io.RawIOBase):
    """Stored bytes as a file that can be read and sought: for libraries that want one. Wrap it in BufferedReader."""

    def __init__(self, read: Callable[[int, int], Iterator[bytes]], size: int) -> None:
        self._read, self._size, self._at = read, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        wanted = min(len(view), self._size - self._at)
        if wanted <= 0:
            return 0
        data = b"".join(self._read(self._at, wanted))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


@lru_cache(maxsize=8)
def _local_store(root: Path) -> LocalStore:
    return LocalStore(root)


@lru_cache(maxsize=8)
def _s3_store(place: Place) -> S3Store:
    return S3Store(place)


def _store_at(url: str) -> LocalStore | S3Store:
    if url.startswith("s3://"):
        return _s3_store(Place.of(url, current_settings()))
    return _local_store(Path(urlsplit(url).path))


def store() -> Store:
    """The store of STORAGE_URL, with that of FORMER_STORAGE_URL behind it if there is one."""
    settings = current_settings()
    first = _store_at(settings.storage_url)
    return TwoStores(first, _store_at(settings.former_storage_url)) if settings.former_storage_url else first
