"""Versions in requests: If-Match and If-None-Match (RFC 9110, 13), and the `version` field of forms."""

import re
from collections.abc import Callable
from typing import Protocol
from zlib import crc32

from flask import request

from webapp.errors import Malformed, Stale

# Compression and proxies mark the tags they pass on ("7:br", W/"7"); it is the same version.
TAG = re.compile(r'(?:W/)?"(\d{1,18})(?:-([0-9a-f]{8}))?(?::[a-z]+)?"')
CONTENT_TAG = re.compile(r'"([0-9a-f]{64})"')
CHANGED = "Somebody changed this in the meantime. Load it again and repeat your change."


class Contents(Protocol):
    """A file's content as its ETag names it, and the version of the file that holds it."""

    @property
    def sha256(self) -> str: ...

    @property
    def version(self) -> int: ...


def expected_version() -> int | None:
    """The version the client saw: from If-Match, else from a form's `version`; None when it names none (or *).

    Raises Stale for a tag that no version of ours ever had, Malformed for several tags or a broken number.
    """
    if "If-None-Match" in request.headers:  # only for reads does it mean anything here; to pass it over loses updates
        raise Malformed("Name the version you saw in If-Match; If-None-Match is for reading.")
    header = request.headers.get("If-Match")
    if header is not None:
        return _version_of(header.strip())
    if not request.mimetype.endswith("form-urlencoded"):
        return None
    field = request.form.get("version")
    if field is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", field):
        raise Malformed("The form's version is not a number.")
    return int(field)


def expected_content(present: Callable[[], Contents]) -> int | None:
    """The same for content, which has an ETag of its own: its digest stands for the version that holds it now."""
    digest = CONTENT_TAG.fullmatch(request.headers.get("If-Match", "").strip())
    if digest is not None and (file := present()).sha256 == digest[1]:
        return file.version
    return expected_version()


def tag_of(view: object) -> str | None:
    """The ETag of a struct: its version and, where it has facts `beside` that no change made, a mark of those.

    Who asks again hears of such facts; changes ignore the mark. None for a struct without a version.
    """
    version, beside = getattr(view, "version", None), getattr(view, "beside", None)
    if version is None:
        return None
    return f'"{version}"' if beside is None else f'"{version}-{crc32(repr(beside).encode()):08x}"'


def matches_known(tag: str) -> bool:
    """Whether If-None-Match already names what this ETag stands for."""
    header = request.environ.get("HTTP_IF_NONE_MATCH")
    if header is None:
        return False
    return header.strip() == "*" or TAG.findall(tag)[0] in TAG.findall(header)


def _version_of(header: str) -> int | None:
    if header == "*":
        return None
    if header.count('"') > 2:
        raise Malformed("Name one version in If-Match.")
    found = TAG.fullmatch(header)
    if found is None:
        raise Stale(CHANGED)
    return int(found[1])
