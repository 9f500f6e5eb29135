"""Real files of this machine that are nobody's: installed packages, their documentation, or a folder one names."""

import os
import pwd
import stat
import sysconfig
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCUMENTATION = Path("/usr/share/doc")
PACKAGES = Path(sysconfig.get_path("purelib"))
MOST_BYTES = 8 * 1024**2  # of one file
# What no demo may show: people's own files, and what a system keeps to itself.
PRIVATE = (
    "/home",
    "/root",
    "/Users",
    "/etc",
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/boot",
    "/var/lib",
    "/var/log",
    "/var/spool",
)
PEOPLE_FROM = 1000  # lowest user id of a person on Linux


class PrivateFolder(Exception):
    """The folder is, holds or lies in somebody's home or the system's own files."""


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file below a base folder."""

    base: Path
    parts: tuple[str, ...]  # folders below the base
    name: str
    size: int

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.base.joinpath(*self.parts, self.name)

    def read(self) -> bytes:
        """Its bytes; a link that took its place meanwhile is not followed (OSError)."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(MOST_BYTES)


def refuse_private(folder: Path) -> Path:
    """The folder without links. Raises PrivateFolder, NotADirectoryError."""
    real = folder.resolve()
    if not real.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder.")
    for private in private_folders():
        if real.is_relative_to(private) or private.is_relative_to(real):
            raise PrivateFolder(
                f"{folder} is, holds or lies in {private}, which is private. Copy what you want to show first."
            )
    return real


def private_folders() -> set[Path]:
    """Homes of people, and the system's own."""
    people = {
        Path(entry.pw_dir) for entry in pwd.getpwall() if entry.pw_uid == 0 or PEOPLE_FROM <= entry.pw_uid < 65_000
    }
    known = {Path(name) for name in PRIVATE} | people | {Path.home()}
    return {path.resolve() for path in known if path.is_absolute() and len(path.parts) > 1 and path.exists()}


def files_in(base: Path) -> Iterator[Found]:
    """Every regular file below, in order; nothing hidden, no link, nothing empty or over 8 MiB."""
    for folder, below, names in os.walk(base, followlinks=False):
        below[:] = sorted(name for name in below if not name.startswith((".", "__pycache__")))
        parts = Path(folder).relative_to(base).parts
        for name in sorted(names):
            found = _regular(base, parts, name)
            if found:
                yield found


def varied(base: Path, count: int, per_kind: int = 12, most_bytes: int = 400_000) -> list[Found]:
    """Up to `count` files, at most `per_kind` of one extension and three of one folder: many kinds, many places."""
    kinds: Counter[str] = Counter()
    folders: Counter[tuple[str, ...]] = Counter()
    chosen = []
    for found in files_in(base) if base.is_dir() else ():
        kind = Path(found.name).suffix.lower()
        if found.size > most_bytes or kinds[kind] >= per_kind or folders[found.parts] >= 3 or len(found.parts) > 6:
            continue
        kinds[kind] += 1
        folders[found.parts] += 1
        chosen.append(found)
        if len(chosen) == count:
            break
    return chosen


def _regular(base: Path, parts: tuple[str, ...], name: str) -> Found | None:
    try:
        name.encode()
        state = base.joinpath(*parts, name).lstat()
    except (OSError, UnicodeEncodeError):
        return None
    readable = stat.S_ISREG(state.st_mode) and 0 < state.st_size <= MOST_BYTES
    return Found(base, parts, name, state.st_size) if readable and not name.startswith(".") else None
