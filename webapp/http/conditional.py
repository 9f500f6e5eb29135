"""Versions in requests: If-Match and If-None-Match (RFC 9110, 13), and the `version` field of forms."""

import re

from flask import request

from webapp.errors import Malformed, Stale

# Compression and proxies mark the tags they pass on ("7:br", W/"7"); it is the same version.
TAG = re.compile(r'(?:W/)?"(\d{1,18})(?::[a-z]+)?"')
CHANGED = "Somebody changed this in the meantime. Load it again and repeat your change."


def expected_version() -> int | None:
    """The version the client saw: from If-Match, else from a form's `version`; None when it names none (or *).

    Raises Stale for a tag that no version of ours ever had, Malformed for several tags or a broken number.
    """
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


def matches_known(version: int) -> bool:
    """Whether If-None-Match already names this version."""
    header = request.environ.get("HTTP_IF_NONE_MATCH")
    if header is None:
        return False
    return header.strip() == "*" or str(version) in TAG.findall(header)


def _version_of(header: str) -> int | None:
    if header == "*":
        return None
    if header.count('"') > 2:
        raise Malformed("Name one version in If-Match.")
    found = TAG.fullmatch(header)
    if found is None:
        raise Stale(CHANGED)
    return int(found[1])
