"""Zip archives as a stream (APPNOTE 6.3): entries are stored, not deflated, so their length is known beforehand."""

import io
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

PIECE = 64 * 1024  # bytes that are given out at once: small entries share one
FIRST, LAST = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)  # what the format's own times can say
TIMES = 0x5455  # the extra field with seconds since 1970 in UTC: the other time has neither a zone nor odd seconds
FIXED, CENTRAL, END, END_64 = 30, 46, 22, 76  # bytes of the headers without names and extra fields
DESCRIPTOR, DESCRIPTOR_64 = 16, 24


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of `size` bytes that `read` gives, or a folder where there is none. `name` has slashes between folders."""

    name: str
    modified: datetime
    size: int = 0
    read: Callable[[], Iterable[bytes]] | None = None


class _Sink(io.RawIOBase):
    """Takes what zipfile writes and cannot be sought in, so that sizes and sums follow each entry's bytes."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.held = 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.pieces.append(bytes(data))
        self.held += len(data)
        return len(data)

    def take(self) -> bytes:
        taken, self.pieces, self.held = b"".join(self.pieces), [], 0
        return taken


def write_zip(entries: Iterable[Entry]) -> Iterator[bytes]:
    """The archive in pieces. Raises RuntimeError when an entry has more or fewer bytes than it said."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for entry in entries:
            if entry.read is None:
                archive.mkdir(_info_of(entry))
                continue
            with archive.open(_info_of(entry), "w") as target:
                written = 0
                for data in entry.read():
                    written += target.write(data)
                    if sink.held >= PIECE:
                        yield sink.take()
            if written != entry.size:
                raise RuntimeError(f"{entry.name}: {written} bytes instead of {entry.size}")
            if sink.held >= PIECE:
                yield sink.take()
    yield sink.take()


def size_of_zip(entries: Iterable[Entry]) -> int:
    """How many bytes write_zip will give. As zipfile decides: a size, position or count that is too large for 32 (16)
    bits gets fields of 64.
    """
    at, central, count = 0, 0, 0
    for entry in entries:
        info = _info_of(entry)
        info.flag_bits = 8  # sizes follow the bytes: FileHeader wants none yet
        wide = entry.size * 1.05 > zipfile.ZIP64_LIMIT
        named = len(info.FileHeader(False)) - FIXED  # the name, as zipfile spells it, and the extra field
        large = (2 if entry.size > zipfile.ZIP64_LIMIT else 0) + (at > zipfile.ZIP64_LIMIT)
        central += CENTRAL + named + (4 + 8 * large if large else 0)
        at += FIXED + named + (20 if wide else 0) + entry.size
        at += 0 if entry.read is None else DESCRIPTOR_64 if wide else DESCRIPTOR
        count += 1
    wide = count > zipfile.ZIP_FILECOUNT_LIMIT or at > zipfile.ZIP64_LIMIT or central > zipfile.ZIP64_LIMIT
    return at + central + END + (END_64 if wide else 0)


def _info_of(entry: Entry) -> zipfile.ZipInfo:
    moment = entry.modified.astimezone(UTC)
    info = zipfile.ZipInfo(
        entry.name if entry.read else f"{entry.name}/", min(max(moment.timetuple()[:6], FIRST), LAST)
    )
    info.create_system = 3  # Unix: the rights below are understood
    info.external_attr = (0o100644 << 16) if entry.read else (0o40755 << 16) | 0x10
    info.file_size, info.CRC = entry.size, 0
    info.extra = struct.pack("<HHBl", TIMES, 5, 1, max(-(2**31), min(int(moment.timestamp()), 2**31 - 1)))
    return info
