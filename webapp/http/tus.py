"""The words of tus 1.0.0 (https://tus.io/protocols/resumable-upload): its headers, read and written."""

import base64
import binascii
import hashlib
from collections.abc import Iterator
from datetime import UTC
from typing import Any, ClassVar

from flask import Response, request
from werkzeug.exceptions import ClientDisconnected
from werkzeug.http import http_date

from webapp.config import current_settings
from webapp.errors import HoldfastError, Malformed, Unsupported
from webapp.http.uploads import PIECE, LengthRequired, prove_sender
from webapp.services.uploads import Checksum, NewUpload, UploadView

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,checksum,termination"
ALGORITHMS = ("sha1", "sha256")
BYTES = "application/offset+octet-stream"
MOST = 4000  # characters of metadata

TEXT: dict[str, Any] = {"type": "string"}


def _header(name: str, schema: dict[str, Any], about: str, *, required: bool = True) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": required, "schema": schema, "description": about}


SPEAKS = _header("Tus-Resumable", {"type": "string", "enum": [VERSION]}, "The version of tus that you speak")
CHECKED = _header("Upload-Checksum", TEXT, "`sha1` or `sha256`, a blank and the digest in Base64", required=False)
NUMBER: dict[str, Any] = {"type": "integer", "minimum": 0}
PROBLEM = {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
OTHERWISE = {"412": {"description": "Another version of tus", **PROBLEM}}
MISMATCH = {"460": {"description": "The checksum is another", **PROBLEM}}
SPOKEN: dict[str, Any] = {"parameters": [SPEAKS], "responses": OTHERWISE}
BEGINS: dict[str, Any] = {
    "parameters": [SPEAKS, _header("Upload-Length", NUMBER, "Bytes of the whole"), CHECKED,
                   _header("Upload-Metadata", TEXT, "Pairs of a key and a value in Base64, with commas between")],
    "requestBody": {"required": False, "content": {BYTES: {"schema": {}}}},
    "responses": OTHERWISE | MISMATCH,
}  # fmt: skip
GOES_ON: dict[str, Any] = {
    "parameters": [SPEAKS, _header("Upload-Offset", NUMBER, "Where this part begins"), CHECKED],
    "requestBody": {"required": True, "content": {BYTES: {"schema": {}}}},
    "responses": OTHERWISE | MISMATCH,
}


class OtherVersion(HoldfastError):
    """A client of another version of the protocol, or of none."""

    status, code, title = 412, "tus_version", "Another version of tus"
    headers: ClassVar = {"Tus-Version": VERSION}


def check_version() -> None:
    """Raise OtherVersion unless the client speaks ours."""
    if request.headers.get("Tus-Resumable") != VERSION:
        raise OtherVersion(f"Send Tus-Resumable: {VERSION}.")


def announce(response: Response) -> Response:
    """Put on every answer of these routes what tus wants there; OPTIONS says all that we can."""
    response.headers["Tus-Resumable"] = VERSION
    if request.method == "OPTIONS":
        response.headers["Tus-Version"] = VERSION
        response.headers["Tus-Extension"] = EXTENSIONS
        response.headers["Tus-Max-Size"] = str(current_settings().max_upload_size)
        response.headers["Tus-Checksum-Algorithm"] = ",".join(ALGORITHMS)
    return response


def with_headers(response: Response, upload: UploadView) -> Response:
    """Say how far it is, when it ends, and the file that it has become."""
    response.headers["Upload-Offset"] = str(upload.offset)
    response.headers["Cache-Control"] = "no-store"
    if upload.file_id is None:
        response.headers["Upload-Expires"] = http_date(upload.expires_at.astimezone(UTC))
    else:
        response.headers["Upload-File"] = str(upload.file_id)
    return response


def told_length() -> int:
    """Upload-Length. Raises Malformed."""
    if "Upload-Defer-Length" in request.headers:
        raise Malformed("Say the Upload-Length at the beginning; it cannot come later.", code="defer_length")
    return _number("Upload-Length")


def told_offset() -> int:
    """Upload-Offset. Raises Malformed."""
    return _number("Upload-Offset")


def told_size() -> int | None:
    """Bytes of this request's body; None when they end by themselves. Raises LengthRequired."""
    if not (request.environ.get("CONTENT_LENGTH") or request.environ.get("wsgi.input_terminated")):
        raise LengthRequired("Send a Content-Length with the body.")
    return request.content_length


def told_wish() -> NewUpload:
    """Upload-Metadata as a wish: filename (or name), folder_id, conflict, relativePath. Raises Malformed, Invalid."""
    told = dict(_pairs(request.headers.get("Upload-Metadata", "")))
    fields: dict[str, object] = {"filename": told.get("filename") or told.get("name") or ""}
    for name in ("folder_id", "conflict"):
        if told.get(name):
            fields[name] = told[name]
    relative = told.get("relativePath", "")
    fields["path"] = [part for part in relative.split("/")[:-1] if part not in {"", "."}]
    return NewUpload.model_validate(fields)


def told_metadata() -> str:
    """Upload-Metadata as it came. Raises Malformed for too much."""
    told = request.headers.get("Upload-Metadata", "")
    if len(told) > MOST:
        raise Malformed(f"Upload-Metadata has more than {MOST} characters.")
    return told


def told_checksum() -> Checksum | None:
    """Upload-Checksum. Raises Malformed for one we cannot check."""
    header = request.headers.get("Upload-Checksum")
    if header is None:
        return None
    algorithm, _, digest = header.partition(" ")
    if algorithm not in ALGORITHMS:
        raise Malformed(f"Upload-Checksum takes {' and '.join(ALGORITHMS)}.", code="checksum_algorithm")
    raw = _decoded(digest.strip(), "Upload-Checksum")
    if len(raw) != hashlib.new(algorithm, usedforsecurity=False).digest_size:
        raise Malformed("Upload-Checksum is not of the length of its algorithm.")
    return Checksum(algorithm, raw)


def body() -> Iterator[bytes]:
    """The pieces of the request's body, for who may send it. Raises Unsupported, and Malformed for one that is cut."""
    if request.mimetype != BYTES:
        raise Unsupported(f"Send the bytes as {BYTES}.")
    prove_sender(None)
    return _pieces()


def _pieces() -> Iterator[bytes]:
    expected, size = request.content_length, 0
    try:
        while piece := request.stream.read(PIECE):
            size += len(piece)
            yield piece
    except (ClientDisconnected, OSError) as error:
        raise Malformed("The body ended before it was complete.", code="truncated") from error
    if expected is not None and size != expected:
        raise Malformed(f"The body ended after {size} of {expected} bytes.", code="truncated")


def _number(name: str) -> int:
    told = request.headers.get(name, "")
    if not (told.isascii() and told.isdecimal() and len(told) <= 18):
        raise Malformed(f"{name} has to be a number of bytes.")
    return int(told)


def _pairs(header: str) -> Iterator[tuple[str, str]]:
    for pair in header.split(",") if header.strip() else ():
        key, _, value = pair.strip().partition(" ")
        if not key:
            raise Malformed("Upload-Metadata has a pair without a key.")
        try:
            yield key, _decoded(value.strip(), "Upload-Metadata").decode()
        except UnicodeDecodeError:
            raise Malformed("Upload-Metadata is not UTF-8.") from None


def _decoded(text: str, name: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise Malformed(f"{name} is not Base64.") from None
