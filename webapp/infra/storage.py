"""The blob store: whole files under their sha-256. A draft is written aside, synced, then renamed into place.

Local disk; the protocol is what another store has to offer.
"""

import errno
import hashlib
import io
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, Self

from webapp.config import current_settings
from webapp.errors import DiskFull, Unavailable

CHUNK = 256 * 1024
HEAD = 8192
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Draft(Protocol):
    """Bytes on their way in. Leaving the `with` block without keep() removes every trace."""

    size: int

    def write(self, data: bytes) -> int: ...
    def sha256(self) -> str: ...
    def sync(self) -> None: ...
    def discard(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...


class Store(Protocol):
    """Where blobs live. Keys are relative paths that this store makes from digests, never from names."""

    def draft(self) -> Draft: ...
    def key(self, digest: str) -> str: ...
    def keep(self, draft: Draft, *, replace: bool = False) -> str: ...
    def read(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]: ...
    def size(self, key: str) -> int | None: ...
    def delete(self, key: str) -> None: ...
    def free(self) -> int: ...
    def room(self) -> int: ...


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DiskFull("The vault's disk is full. Nothing was stored; tell your administrator.") from error
        raise Unavailable("The file store does not answer. Try again in a moment.", retry_after=5) from error


class LocalDraft:
    """A draft on the same file system as its final place, so that the rename is atomic."""

    def __init__(self, path: Path) -> None:
        self.path, self.size, self._digest, self._open = path, 0, hashlib.sha256(), True
        self._head = b""
        with _disk_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes) -> int:
        """Append and hash. Raises DiskFull."""
        view = memoryview(data)
        with _disk_errors():
            while view:
                view = view[os.write(self._file, view) :]
        self._digest.update(data)
        if len(self._head) < HEAD:
            self._head += bytes(data[: HEAD - len(self._head)])
        self.size += len(data)
        return len(data)

    def head(self) -> bytes:
        """The first 8 KiB, for guessing the type; also after sync()."""
        return self._head

    def sha256(self) -> str:
        """Hex digest of all bytes written."""
        return self._digest.hexdigest()

    def sync(self) -> None:
        """Force the bytes to the disk and close. Raises DiskFull: some file systems say so only here."""
        if self._open:
            with _disk_errors():
                os.fsync(self._file)
            self._close()

    def _close(self) -> None:
        self._open = False
        os.close(self._file)

    def discard(self) -> None:
        """Remove the draft; does nothing once it is kept."""
        if self._open:
            self._close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.discard()


class LocalStore:
    """Blobs in a directory: drafts/ for what is being written, ab/cd/<sha256> for what is whole."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.drafts = root / "drafts"

    def draft(self) -> LocalDraft:
        """A new empty draft. Raises DiskFull or Unavailable."""
        return LocalDraft(self.drafts / f"{time.time_ns():x}-{secrets.token_hex(6)}")

    def key(self, digest: str) -> str:
        """Where content of this sha-256 belongs."""
        return f"{digest[:2]}/{digest[2:4]}/{digest}"

    def keep(self, draft: LocalDraft, *, replace: bool = False) -> str:
        """Put the draft in its place and return the key. Content that is there already is not written again.

        After the return the bytes and their directory entry survive a power cut. Call it while the blob's row is
        locked: a sweep must not remove what is being reused.
        """
        draft.sync()
        digest = draft.sha256()
        key = self.key(digest)
        final = self.root / key
        with _disk_errors():
            if not replace and self.size(key) == draft.size:
                os.utime(final)  # young again: the sweep of orphans leaves it alone
                draft.discard()
                return key
            fresh = [folder for folder in (final.parent, final.parent.parent) if not folder.exists()]
            final.parent.mkdir(parents=True, exist_ok=True)
            draft.path.rename(final)
            for folder in {final.parent, *(made.parent for made in fresh)}:
                _sync_folder(folder)
        return key

    def path(self, key: str) -> Path:
        """Where the bytes lie, for nginx and for previews."""
        return self.root / key

    def read(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """`length` bytes from `start` (all by default) in chunks of 256 KiB. Raises Unavailable for a lost file."""
        with _disk_errors():
            file = (self.root / key).open("rb", buffering=0)
        return _chunks(file, start, length)

    def size(self, key: str) -> int | None:
        """Bytes stored under the key, None when there are none."""
        try:
            return (self.root / key).stat().st_size
        except FileNotFoundError:
            return None

    def delete(self, key: str) -> None:
        """Remove the bytes; does nothing when they are gone."""
        (self.root / key).unlink(missing_ok=True)

    def free(self) -> int:
        """Bytes the disk still takes from us."""
        self.root.mkdir(parents=True, exist_ok=True)
        room = os.statvfs(self.root)
        return room.f_bavail * room.f_frsize

    def room(self) -> int:
        """Bytes of the whole disk."""
        disk = os.statvfs(self.root)
        return disk.f_blocks * disk.f_frsize

    def keys_older_than(self, seconds: float) -> Iterator[str]:
        """Keys of everything, drafts too, that was neither written, renamed nor reused in the last `seconds`."""
        for folder, _, names in os.walk(self.root):
            for key in (str(Path(folder, name).relative_to(self.root)) for name in names):
                if self.older_than(key, seconds):
                    yield key

    def older_than(self, key: str, seconds: float) -> bool:
        """Whether the key is there and was left alone for so long."""
        try:
            return (self.root / key).stat().st_ctime < time.time() - seconds
        except FileNotFoundError:
            return False


def _chunks(file, start: int, length: int | None) -> Iterator[bytes]:  # type: ignore[no-untyped-def]
    with file:
        file.seek(start)
        left = length
        while left is None or left > 0:
            data = file.read(CHUNK if left is None else min(CHUNK, left))
            if not data:
                return
            if left is not None:
                left -= len(data)
            yield data


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


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@lru_cache(maxsize=8)
def _local_store(root: Path) -> LocalStore:
    return LocalStore(root)


def store() -> LocalStore:
    """The store of STORAGE_URL."""
    return _local_store(current_settings().storage_path)
