"""Bytes on their way in: hashed, sealed or marked while they are written, so that nothing has to be read twice."""

import errno
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Self

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from webapp.errors import DiskFull, Unavailable
from webapp.infra.segments import SEALED, TAG, Marker, Sealer, Tampered, unsealed

CHUNK = 256 * 1024
HEAD = 8192
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NONCE = 12
BIT = 256
DRAFTS, APART = "drafts", "sealed"
SUFFIX = ".sealed"


class Lying(NamedTuple):
    """How an object lies in the store: its plain size, its own key, and the marks of its segments where it is plain."""

    key: str
    size: int
    data_key: bytes
    marks: bytes | None


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn what the disk says into DiskFull or Unavailable."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DiskFull("The vault's disk is full. Nothing was stored; tell your administrator.") from error
        raise Unavailable("The file store does not answer. Try again in a moment.", retry_after=5) from error


def is_sealed(key: str) -> bool:
    """Whether what lies under this key is encrypted."""
    return key.startswith(f"{APART}/") or key.endswith(SUFFIX)


def plain_key(digest: str) -> str:
    """Where plain content of this sha-256 belongs."""
    return f"{digest[:2]}/{digest[2:4]}/{digest}"


def new_place(*, sealed: bool) -> str:
    """The key of a draft that begins."""
    return f"{DRAFTS}/{time.time_ns():x}-{secrets.token_hex(16)}{SUFFIX if sealed else ''}"


class LocalDraft:
    """A draft on the local disk. Leaving the `with` block removes every trace, unless it was kept or suspended.

    Suspended, it can be opened again under its `place` with its `data_key` and written on, also by another process
    and after a crash; what was not suspended then may be missing at its end, which `size` tells.
    """

    def __init__(self, root: Path, place: str, data_key: bytes | None = None) -> None:
        self.place, self.path, self.size, self._open, self._resting = place, root / place, 0, True, False
        self.sealed = is_sealed(place)
        self.data_key = data_key or AESGCM.generate_key(BIT)
        self._name = place.rsplit("-", 1)[-1].removesuffix(SUFFIX)
        self._digest, self._head, self._again = hashlib.sha256(), b"", data_key is not None
        self._shape: Sealer | Marker = Sealer(self.data_key, self._name) if self.sealed else Marker(self.data_key)
        with disk_errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            how = os.O_APPEND if self._again else os.O_CREAT | os.O_EXCL
            self._file = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | how, 0o600)
            if self._again:
                self._resume()
        self._unread = self.size > 0  # what came before is in no digest yet

    @property
    def key(self) -> str:
        """Where it belongs. That of a sealed one tells nothing of what is in it."""
        name = self._name
        return f"{APART}/{name[:2]}/{name[2:4]}/{name}" if self.sealed else plain_key(self.sha256())

    @property
    def lying(self) -> Lying:
        """How it lies, once it is synced."""
        marks = bytes(self._shape.marks) if isinstance(self._shape, Marker) else None
        return Lying(self.key, self.size, self.data_key, marks)

    @property
    def resumed(self) -> bool:
        """Whether it was opened again."""
        return self._again

    @property
    def stored_size(self) -> int:
        """Bytes on the disk, once it is synced."""
        with disk_errors():
            return self.path.stat().st_size

    def write(self, data: bytes) -> int:
        """Append, and hash. Raises DiskFull."""
        for piece in self._shape.take(data):
            self._put(piece)
        if not self._unread:
            self._digest.update(data)
        if len(self._head) < HEAD:
            self._head += bytes(data[: HEAD - len(self._head)])
        self.size += len(data)
        return len(data)

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        with disk_errors():
            while view:
                view = view[os.write(self._file, view) :]

    def head(self) -> bytes:
        """The first 8 KiB, for guessing the type; also after sync()."""
        return self._head

    def sha256(self) -> str:
        """Hex digest of all bytes written; of one that went on behind others, only after sync()."""
        return self._digest.hexdigest()

    def sync(self) -> None:
        """Force the bytes to the disk and close. Raises DiskFull: some file systems say so only here."""
        if not self._open:
            return
        try:
            self._put(self._shape.finish())
            with disk_errors():
                os.fsync(self._file)
            if self._unread:
                self._read_again()
        finally:
            self._close()

    def suspend(self) -> None:
        """Force what is there to the disk and close, to be opened again."""
        with disk_errors():
            os.fsync(self._file)
            if isinstance(self._shape, Sealer):
                self._keep_rest(self._shape)
        self._close()
        self._resting = True

    @property
    def _rest_path(self) -> Path:
        return self.path.with_name(f"{self.path.name}.rest")

    def _keep_rest(self, shape: Sealer) -> None:
        """The segment that is not full yet, apart and under a nonce of its own: it will be sealed once more, longer."""
        number, nonce = shape.number.to_bytes(8, "big"), os.urandom(NONCE)
        rest = AESGCM(self.data_key).encrypt(nonce, bytes(shape.rest), number + b"rest of " + self._name.encode())
        fresh = self._rest_path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(number + nonce + rest)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(self._rest_path)

    def _resume(self) -> None:
        """Go on behind the last whole segment, or behind the rest that belongs there."""
        there = os.fstat(self._file).st_size
        if self.sealed:
            number = self._last_whole(there // (SEALED + TAG))
            os.ftruncate(self._file, number * (SEALED + TAG))
            rest = self._read_rest(number)
            self._shape = Sealer(self.data_key, self._name, number, rest)
            self.size = number * SEALED + len(rest)
        else:
            self.size = there
        self._head = b"".join(self._pieces(min(HEAD, self.size)))

    def _last_whole(self, number: int) -> int:
        """Segments to go on behind: not behind one sealed as the last, or that a power cut left half written."""
        while number:
            at, size = (number - 1) * SEALED, number * SEALED + 1  # were it followed by others
            try:
                for _ in unsealed(self._raw, self.data_key, self._name, size, at, SEALED):
                    return number
            except Tampered:
                number -= 1
        return 0

    def _read_rest(self, number: int) -> bytes:
        try:
            kept = self._rest_path.read_bytes()
        except FileNotFoundError:
            return b""
        if int.from_bytes(kept[:8], "big") != number:  # written before a crash took what followed
            return b""
        bound = kept[:8] + b"rest of " + self._name.encode()
        return AESGCM(self.data_key).decrypt(kept[8 : 8 + NONCE], kept[8 + NONCE :], bound)

    def _pieces(self, length: int, *, whole: bool = False) -> Iterator[bytes]:
        """Plain bytes from the beginning: of what was written, or of the whole once its last segment is there."""
        if not self.sealed:
            yield from self._raw(0, length, SEALED)
            return
        assert isinstance(self._shape, Sealer)  # noqa: S101
        size = self.size if whole else (self._shape.number + 1) * SEALED  # none of those there is the last
        stored = length if whole else min(length, self._shape.number * SEALED)
        if stored or whole:
            yield from unsealed(self._raw, self.data_key, self._name, size, 0, stored)
        yield bytes(self._shape.rest[: length - stored])

    def _raw(self, start: int, length: int, piece: int) -> Iterator[bytes]:
        for at in range(start, start + length, piece):
            yield os.pread(self._file, min(piece, start + length - at), at)

    def _read_again(self) -> None:
        marker = Marker(self.data_key)
        try:
            with disk_errors():
                for piece in self._pieces(self.size, whole=True):
                    self._digest.update(piece)
                    for _ in () if self.sealed else marker.take(piece):
                        pass
        except Tampered as error:
            raise Unavailable("What was uploaded so far was damaged on the disk. Upload it again.") from error
        if not self.sealed:
            marker.finish()
            self._shape = marker

    def _close(self) -> None:
        self._open = False
        os.close(self._file)

    def settled(self) -> None:
        """It has its final place: what was apart is not needed any more."""
        with suppress(OSError):
            self._rest_path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the draft; does nothing once it is kept."""
        if self._open:
            self._close()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
        self.settled()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._resting:
            self.discard()
