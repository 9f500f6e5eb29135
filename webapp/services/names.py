"""What a file or folder may be called, how names compare, and how they sort."""

import re
import unicodedata
from pathlib import PurePosixPath

from webapp.errors import Invalid

MAX_BYTES = 255
_DIGITS = re.compile(r"\d+")


def check_name(name: str, field: str = "name") -> str:
    """The name as it will be shown and stored, byte for byte what was given. Raises Invalid.

    Any Unicode goes, up to 255 bytes of UTF-8 (what file systems take), but nothing that is a path, a control
    character, half a surrogate pair, or only dots and blanks. Right-to-left marks inside are kept: they are spelling.
    """
    fault = _fault_of(name)
    if fault:
        raise Invalid.field(field, "name", fault)
    return name


def _fault_of(name: str) -> str | None:
    if any(unicodedata.category(c) == "Cs" for c in name):
        return "The name holds a broken character."
    if not name.strip() or not name.strip(". "):
        return "Give a name."
    if "/" in name or "\\" in name:
        return "The name cannot hold / or \\."
    if any(unicodedata.category(c) == "Cc" for c in name):
        return "The name holds a control character."
    if len(name.encode()) > MAX_BYTES:
        return f"The name is too long: {len(name.encode())} bytes, at most {MAX_BYTES} are allowed."
    return None


def name_key(name: str) -> str:
    """What must be unique among siblings: canonically equal spellings (NFC, UAX 15) are the same name."""
    return unicodedata.normalize("NFC", name)


def sort_key(name: str) -> str:
    """Orders as people do: case aside, numbers by value (file2 before file10). At most 400 characters."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    return _DIGITS.sub(lambda match: _number_key(match[0]), plain)[:400].replace("\0", "")


def _number_key(digits: str) -> str:
    value = digits.lstrip("0") or "0"
    return f"{min(len(value), 99):02d}{value}"


def next_free(name: str, taken: set[str]) -> str:
    """`report (1).pdf` for a taken `report.pdf`: the first such name whose key is free, never over 255 bytes."""
    stem, suffix = _parts(name)
    number = 1
    while True:
        tail = f" ({number}){suffix}"
        room = MAX_BYTES - len(tail.encode())
        candidate = stem.encode()[:room].decode("utf-8", "ignore").rstrip() + tail
        if name_key(candidate) not in taken:
            return candidate
        number += 1


def sibling_prefix(name: str) -> str:
    """What the key of every name that next_free can propose starts with."""
    return name_key(_parts(name)[0])[:8].rstrip()


def _parts(name: str) -> tuple[str, str]:
    suffixes = PurePosixPath(name).suffixes[-2:]
    suffix = "".join(suffixes if suffixes[:1] == [".tar"] else suffixes[-1:])
    if len(suffix.encode()) > 20:
        suffix = ""
    return name[: len(name) - len(suffix)], suffix
