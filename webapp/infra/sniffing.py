"""What kind of content bytes are. Content decides; a name only chooses among what the content allows.

So a page, a script or a program never passes as a picture or as text because of its name.
"""

import io
import re
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from mimetypes import MimeTypes
from pathlib import PurePosixPath
from typing import Any

from webapp.infra.mediatypes import (
    DECLARED,
    FTYP_BRANDS,
    MACROS,
    OFFICE,
    OFFICE_BY_NAME,
    OLE,
    PLAIN,
    SIGNATURES,
    TEXTS,
    UNKNOWN,
    ZIP,
)

HEAD = 8192  # bytes that tell
DIRECTORY_LIMIT = 2 * 1024**2  # bytes read of an archive to list it: some 25,000 entries

_PROLOG = r"\s*+(?:(?><!--.*?-->\s*)|(?><\?.*?\?>\s*)|(?><!doctype\s+(?:svg|html)[^>\[]*(?:\[.*?\]\s*)?>\s*))*+"
_ROOT = r"<(?:\w+:)?(svg|html|head|body|script|iframe|object|embed)[\s>/]"
MARKUP = re.compile(_PROLOG + _ROOT, re.IGNORECASE | re.DOTALL)
DOCTYPE = re.compile(r"\s*+(?:(?><!--.*?-->\s*)|(?><\?.*?\?>\s*))*+<!doctype\s+(html|svg)\b", re.IGNORECASE | re.DOTALL)
CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
CONTROL_BYTES = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
BOMS = ((b"\xff\xfe\0\0", "utf-32-le"), (b"\0\0\xfe\xff", "utf-32-be"), (b"\xef\xbb\xbf", "utf-8-sig"),
        (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))  # fmt: skip
STANDARD = MimeTypes()  # the built-in table only: the machine's /etc/mime.types must not change an answer


@dataclass(frozen=True, slots=True)
class Sniffed:
    """The media type and what else the bytes say: encoding of text, number of entries of an archive."""

    mime: str
    facts: dict[str, Any] = field(default_factory=dict)


def guess_type(name: str, head: bytes) -> str:
    """The media type by the first bytes (8 KiB are enough) and the name. Under a millisecond; the job refines it."""
    suffix = PurePosixPath(name.lower()).suffix
    mime = _signature(head[:HEAD], suffix)
    if mime == ZIP:
        return _declared(head) or OFFICE_BY_NAME.get(suffix, mime)
    if mime:
        return mime
    text = decode_text(head[:HEAD], suffix)
    return _text_type(text[1], suffix) if text else _rare_type(head[:HEAD], suffix)


def sniff(name: str, size: int, read: Callable[[int, int], bytes]) -> Sniffed:
    """The type by all that tells cheaply, archives by their entries. `read(start, length)` gives stored bytes."""
    head = read(0, HEAD)
    mime = guess_type(name, head)
    suffix = PurePosixPath(name.lower()).suffix
    if head.startswith(b"PK"):
        return _sniff_zip(suffix, _declared(head), StoredBytes(size, read))
    found = decode_text(head, suffix) if mime == PLAIN or _signature(head, suffix) is None else None
    return Sniffed(mime, {"encoding": found[0].removesuffix("-sig")}) if found else Sniffed(mime)


def decode_text(sample: bytes, suffix: str = "") -> tuple[str, str] | None:
    """(encoding, text) of bytes that are text: UTF-8, UTF-16 or UTF-32; None for anything else.

    Bytes of an older 8-bit encoding count as text only where the name says text (unknown-8bit, RFC 1428).
    """
    for mark, encoding in BOMS:
        if sample.startswith(mark):
            return _decoded(sample, encoding)
    found = _decoded(sample, "utf-8") or _decoded_utf16(sample)
    if not found and suffix in TEXTS and not CONTROL_BYTES.search(sample):
        return "unknown-8bit", sample.decode("latin-1")
    return found


def _decoded(sample: bytes, encoding: str) -> tuple[str, str] | None:
    for cut in range(4):  # the sample may end within a character
        try:
            text = sample[: len(sample) - cut].decode(encoding)
        except UnicodeDecodeError:
            continue
        return None if CONTROLS.search(text) else (encoding, text.removeprefix("\ufeff"))
    return None


def _decoded_utf16(sample: bytes) -> tuple[str, str] | None:
    """UTF-16 without a mark shows by the NULs of its Latin letters, all on one side."""
    for side, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        nuls, others = sample[side::2].count(0), sample[1 - side :: 2].count(0)
        if len(sample) >= 8 and others == 0 and nuls * 10 >= len(sample) * 2:
            return _decoded(sample, encoding)
    return None


def _signature(head: bytes, suffix: str) -> str | None:
    for offset, magic, mime in SIGNATURES:
        if head.startswith(magic, offset):
            return OLE.get(suffix, mime) if mime.endswith("ole-storage") else mime
    if head.startswith(b"MZ") and b"\0" in head[:64]:
        return "application/vnd.microsoft.portable-executable"
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0" and b"\0" in head[10:30]:
        return "image/bmp"
    if head.startswith(b"ftyp", 4):
        return FTYP_BRANDS.get(head[8:12], "video/mp4")
    if head.startswith(b"OggS"):
        return "video/ogg" if b"theora" in head[:512] else "audio/ogg"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    return None


def _text_type(text: str, suffix: str) -> str:
    found = MARKUP.match(text) or DOCTYPE.match(text)
    if found:
        return "image/svg+xml" if found[1].lower() == "svg" else "text/html"
    if suffix in TEXTS:
        return TEXTS[suffix]
    named = STANDARD.types_map[True].get(suffix, "")
    if named.startswith("text/") or named.endswith(("+xml", "+json")):
        return named
    return "application/xml" if text.lstrip().startswith("<?xml") else PLAIN


def _rare_type(head: bytes, suffix: str) -> str:
    import puremagic  # reads its table of a thousand signatures; most uploads never need it

    try:
        matches = puremagic.magic_string(head, filename=f"x{suffix}")
    except (puremagic.PureError, ValueError):
        return UNKNOWN
    likely = (match.mime_type for match in matches if match.confidence >= 0.4 and "/" in match.mime_type)
    # a text type for bytes that are no text, or one too long for the column, helps nobody
    return next((mime for mime in likely if not mime.startswith("text/") and len(mime) <= 120), UNKNOWN)


def _declared(head: bytes) -> str | None:
    """What an OpenDocument or EPUB says of itself: its first entry is a stored `mimetype` (OASIS ODF 1.3, 3.3)."""
    if head[30:38] != b"mimetype" or len(head) < 60:
        return None
    length, extra = struct.unpack_from("<I", head, 22)[0], struct.unpack_from("<H", head, 28)[0]
    said = DECLARED.fullmatch(head[38 + extra : 38 + extra + min(length, 100)])
    return said[0].decode() if said else None


def _sniff_zip(suffix: str, declared: str | None, stored: "StoredBytes") -> Sniffed:
    try:
        with zipfile.ZipFile(stored) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error):
        return Sniffed(declared or ZIP)
    facts = {"entries": len(names)}
    if declared:
        return Sniffed(declared, facts)
    kinds = [kind for entry, kind in OFFICE.items() if entry in names]
    # an apk has the manifest of a jar, too: the name may choose among what is there, else the first is the strongest
    extension, mime = next((kind for kind in kinds if kind[0] == suffix), (*kinds, ("", ZIP))[0])
    if extension in MACROS and any(name.endswith("vbaProject.bin") for name in names):
        mime = MACROS[extension]
    return Sniffed(mime, facts)


class StoredBytes(io.RawIOBase):
    """A seekable view of stored bytes for zipfile, which ends with OSError once it has read DIRECTORY_LIMIT bytes.

    The limit is for archives made to have directories larger than memory.
    """

    def __init__(self, size: int, read: Callable[[int, int], bytes], limit: int = DIRECTORY_LIMIT) -> None:
        self._size, self._read, self._left, self._at = size, read, limit, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As files do; a place before the start is an OSError."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError("before the start")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, all of the rest by default. Raises OSError beyond the limit."""
        wanted = max(0, self._size - self._at) if size < 0 else min(size, max(0, self._size - self._at))
        self._left -= wanted
        if self._left < 0:
            raise OSError("the directory of this archive is too large to list")
        data = self._read(self._at, wanted) if wanted else b""
        self._at += len(data)
        return data
