"""How the bytes of one stored object are made sure of, segment by segment, so that any part can be read and trusted.

Sealed: AES-256-GCM under a key of the object's own. The nonce is the segment's number and whether it is the last, the
object's name is authenticated: a segment fits nowhere else, and none can be cut off or added (the STREAM construction
of Hoang, Reyhanitabar, Rogaway and Vizár, 2015). Plain: the bytes as they are, and a GMAC of each segment kept apart.
"""

from collections.abc import Callable, Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import AEADEncryptionContext, Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import GCM

SEALED, MARKED = 256 * 1024, 1024 * 1024  # plain bytes of a segment
TAG = 16
LAST = 1
Read = Callable[[int, int, int], Iterator[bytes]]  # start, length, bytes of a piece


class Tampered(Exception):
    """A segment is not the one that was written there."""


def sealed_size(size: int) -> int:
    """Bytes that so many plain bytes take sealed. Nothing is one empty segment, so that it cannot be forged either."""
    return size + TAG * max(1, -(-size // SEALED))


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


class Sealer:
    """Encrypts what is written to it; a segment is held back until it is known whether it is the last."""

    def __init__(self, key: bytes, name: str, number: int = 0, rest: bytes = b"") -> None:
        self._cipher, self._name, self.number, self.rest = AESGCM(key), name.encode(), number, bytearray(rest)

    def take(self, data: bytes) -> Iterator[bytes]:
        """What can be stored of it already."""
        self.rest += data
        whole = (len(self.rest) - 1) // SEALED if self.rest else 0
        if whole > 0:
            ready = bytes(self.rest[: whole * SEALED])
            del self.rest[: whole * SEALED]
            view = memoryview(ready)
            for at in range(0, len(ready), SEALED):
                yield self._seal(view[at : at + SEALED], last=False)

    def finish(self) -> bytes:
        """The last segment. Nothing may be written any more."""
        last = self._seal(bytes(self.rest), last=True)
        self.rest.clear()
        return last

    def _seal(self, data: bytes | memoryview, *, last: bool) -> bytes:
        sealed = self._cipher.encrypt(_nonce(self.number, last), data, self._name)
        self.number += 1
        return sealed


def unsealed(read: Read, key: bytes, name: str, size: int, start: int, length: int) -> Iterator[bytes]:
    """`length` plain bytes from `start` of a sealed object of `size` plain bytes. Raises Tampered before a bad one."""
    cipher, bound, end = AESGCM(key), name.encode(), start + length
    first, final, total = start // SEALED, _last_number(end, SEALED), _last_number(size, SEALED)
    pieces = read(first * (SEALED + TAG), (final - first + 1) * (SEALED + TAG), SEALED + TAG)
    for number in range(first, final + 1):
        try:
            plain = cipher.decrypt(_nonce(number, number == total), next(pieces, b""), bound)
        except (InvalidTag, ValueError) as error:
            raise Tampered(number) from error
        yield _trimmed(plain, number * SEALED, start, end)


class Marker:
    """Makes a mark of each segment of plain bytes that go by."""

    def __init__(self, key: bytes) -> None:
        self._key, self.number, self.marks = AES256(key), 0, bytearray()
        self._left, self._mark = MARKED, self._begin()

    def _begin(self) -> AEADEncryptionContext:
        return Cipher(self._key, GCM(_nonce(self.number, False))).encryptor()

    def take(self, data: bytes) -> Iterator[bytes]:
        """The same bytes, noted."""
        view = memoryview(data)
        while view:
            if self._left == 0:
                self._end()
            self._mark.authenticate_additional_data(view[: self._left])
            taken = min(self._left, len(view))
            self._left, view = self._left - taken, view[taken:]
        yield data

    def finish(self) -> bytes:
        """Nothing more to store; the marks are whole then."""
        self._end()
        return b""

    def _end(self) -> None:
        self._mark.finalize()
        self.marks += self._mark.tag
        self.number, self._left = self.number + 1, MARKED
        self._mark = self._begin()


def checked(read: Read, key: bytes, marks: bytes, size: int, start: int, length: int) -> Iterator[bytes]:
    """`length` bytes from `start` of a plain object of `size` bytes. Raises Tampered before a bad segment."""
    cipher, end = AESGCM(key), start + length
    first, final = start // MARKED, _last_number(end, MARKED)
    pieces = read(first * MARKED, min(size, (final + 1) * MARKED) - first * MARKED, MARKED)
    for number in range(first, final + 1):
        data = next(pieces, b"")
        mark = cipher.encrypt(_nonce(number, False), b"", data)
        if mark != marks[number * TAG : (number + 1) * TAG]:
            raise Tampered(number)
        yield _trimmed(data, number * MARKED, start, end)


def _last_number(end: int, segment: int) -> int:
    return max(0, end - 1) // segment


def _trimmed(data: bytes, at: int, start: int, end: int) -> bytes:
    """The part of a segment, which begins at `at`, that was asked for."""
    return data if at >= start and at + len(data) <= end else data[max(0, start - at) : end - at]
