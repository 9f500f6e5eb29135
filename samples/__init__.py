"""Demo files, written by libraries that only development has: so this is no part of webapp.

`make seed` plants them, tests upload them. A writer makes the same bytes for the same seed where its library allows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

WRITERS = ("PIL", "docx", "odf", "openpyxl", "pptx", "reportlab")


def missing_writers() -> list[str]:
    """Libraries that are not installed; `make seed` installs them, production does without."""
    return [name for name in WRITERS if find_spec(name) is None]


@dataclass(frozen=True, slots=True)
class Sample:
    """One file to be: whose, where, its name, and a writer for each of its versions, oldest first."""

    owner: str
    folder: tuple[str, ...]
    name: str
    versions: tuple[Callable[[], bytes], ...]
    trashed: bool = False


@dataclass(frozen=True, slots=True)
class Person:
    """An account of the demo; `key` is how samples name their owner."""

    key: str
    name: str
    role: str = "member"
