"""The store of bytes that STORAGE_URL names, what every store has to offer, and stored bytes as a file."""

import io
import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from webapp.config import current_settings
from webapp.infra.drafts import CHUNK as CHUNK
from webapp.infra.drafts import LocalDraft as LocalDraft
from webapp.infra.drafts import disk_errors as disk_errors
from webapp.infra.localstore import LocalStore as LocalStore


class Store(Protocol):
    """Where bytes lie, as they are given. Keys are relative paths that drafts have from digests or chance, never from
    names. Everything raises DiskFull or Unavailable when the store is full or away.
    """

    def draft(self) -> LocalDraft: ...
    def reopen(self, place: str, data_key: bytes) -> LocalDraft: ...
    def keep(self, draft: LocalDraft, *, replace: bool = False) -> str: ...
    def read(self, key: str, start: int = 0, length: int | None = None, piece: int = CHUNK) -> Iterator[bytes]: ...
    def path(self, key: str) -> Path | None: ...
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


def store() -> LocalStore:
    """The store of STORAGE_URL."""
    return _local_store(current_settings().storage_path)
