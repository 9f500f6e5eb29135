"""Zips that people bring: read without trusting a word of them. What is wrong is said before anything is written."""

import io
import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO

from webapp.errors import HoldfastError, Invalid
from webapp.models.folders import MAX_DEPTH
from webapp.services.names import check_name, name_key

MOST = 20_000  # files and folders
MOST_WORDS = 4 * 1024**2  # bytes of the zip's list of files, which is held in memory
MOST_GROWTH, GROWTH_ALLOWED = 100, 100 * 1024**2  # times the zip's size; what any zip may grow to
PIECE = 256 * 1024
ENCRYPTED = 0x1
UTF_8 = 0x800
SKIPPED = {"__MACOSX", ".DS_Store"}  # what a Mac adds for itself
BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    OSError,
    EOFError,
    ValueError,
    struct.error,
    RuntimeError,
)
Path = tuple[str, ...]


class Unfit(HoldfastError):
    """A zip that cannot be unpacked: broken, too large, with names that lead elsewhere. Its text names what and why."""

    status, code, title = 422, "unfit_zip", "This zip cannot be unpacked"


@dataclass(frozen=True, slots=True)
class Part:
    """A file in a zip, with its folders and its name."""

    info: zipfile.ZipInfo
    path: Path


@dataclass(slots=True)
class Bundle:
    """What a zip holds: folders, parents first, also those that only the names of files imply; `total` is bytes."""

    archive: zipfile.ZipFile
    parts: list[Part] = field(default_factory=list)
    folders: dict[Path, Path] = field(default_factory=dict)  # by the keys of their names
    total: int = 0
    skipped: int = 0

    def read(self, part: Part) -> Iterator[bytes]:
        """The bytes of one file, never more than the zip's list says. Raises Unfit where they are not what it says."""
        with refused(f"“{'/'.join(part.path)}” cannot be read"), self.archive.open(part.info) as source:
            while data := source.read(PIECE):
                yield data


class _Guarded(io.BufferedIOBase):
    """The stored zip for zipfile, which would read a list of any length at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > MOST_WORDS:
            raise Unfit("The list of files in this zip is too long.")
        return self._file.read(-1 if size is None else size)


@contextmanager
def refused(what: str) -> Iterator[None]:
    """Turn whatever a broken zip does to the libraries that read it into Unfit."""
    try:
        yield
    except BROKEN as error:
        raise Unfit(f"{what}: the zip is damaged or of a kind that is not read here.") from error


def read_bundle(file: BinaryIO, size: int, depth: int = 0) -> Bundle:
    """What is in a zip of `size` bytes, to be unpacked `depth` folders deep. Raises Unfit; nothing is unpacked yet."""
    with refused("It cannot be opened"):
        bundle = Bundle(zipfile.ZipFile(_Guarded(file)))
    for info in bundle.archive.infolist():
        _add(bundle, info, depth)
        if len(bundle.parts) + len(bundle.folders) > MOST:
            raise Unfit(f"There are more than {MOST} files and folders in it.")
        if bundle.total > max(GROWTH_ALLOWED, size * MOST_GROWTH):
            raise Unfit(f"It would grow to more than {MOST_GROWTH} times its size.")
    return bundle


def _add(bundle: Bundle, info: zipfile.ZipInfo, depth: int) -> None:
    name = _name_of(info)
    path = _path_of(name)
    if not path or SKIPPED & {path[0], path[-1]}:
        bundle.skipped += 1
        return
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise Unfit(f"“{_shown(name)}” is a link or a device, not a file.")
    is_folder = name.endswith(("/", "\\")) or kind == stat.S_IFDIR
    if info.flag_bits & ENCRYPTED and not is_folder:
        raise Unfit(f"“{_shown(name)}” is encrypted. Unpack it where you know the password.")
    folders = path if is_folder else path[:-1]
    if len(folders) + depth > MAX_DEPTH:
        raise Unfit(f"“{_shown(name)}” lies too deep: folders nest at most {MAX_DEPTH} levels.")
    for end in range(1, len(folders) + 1):
        bundle.folders.setdefault(key_of(folders[:end]), folders[:end])
    if not is_folder:
        bundle.parts.append(Part(info, path))
        bundle.total += info.file_size


def _name_of(info: zipfile.ZipInfo) -> str:
    """The name as it was meant: without the flag it is said to be cp437, and is UTF-8 more often than that."""
    name = info.orig_filename
    if info.flag_bits & UTF_8:
        return name
    try:
        return name.encode("cp437").decode()
    except UnicodeError:
        return name


def _path_of(name: str) -> Path:
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or ".." in parts or parts[0].endswith(":"):
        raise Unfit(f"“{_shown(name)}” leads out of the folder.")
    path = tuple(part for part in parts if part not in {"", "."})
    for part in path:
        try:
            check_name(part)
        except Invalid as error:
            raise Unfit(f"“{_shown(name)}”: {error.errors[0].message}") from error
    return path


def key_of(path: Path) -> Path:
    """What two spellings of one path share."""
    return tuple(map(name_key, path))


def _shown(name: str) -> str:
    """A name for a message: no control characters, not too long."""
    return "".join(c if c.isprintable() else "�" for c in name[:120])
