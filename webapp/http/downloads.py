"""Sending stored bytes: ranges and conditions (RFC 9110, 13 and 14), names (RFC 6266), by nginx if it is in front."""

import unicodedata
from urllib.parse import quote

from flask import Response, request, stream_with_context
from werkzeug.http import http_date, is_resource_modified

from webapp.config import current_settings
from webapp.errors import Unsatisfiable
from webapp.http.slots import sending
from webapp.services.archives import Archive
from webapp.services.downloads import Content

INLINE = {
    "image/jpeg",
    "image/png",
    "image/gif",
    "image/webp",
    "application/pdf",
    "audio/mpeg",
    "audio/ogg",
    "audio/wav",
    "audio/x-wav",
    "audio/flac",
    "audio/mp4",
    "video/mp4",
    "video/webm",
    "text/plain",
}


def send_content(content: Content, *, inline: bool = False) -> Response:
    """The bytes, or the part that Range asks for. Inline only for types that cannot run anything in the page's origin.

    304 for a known ETag; several ranges at once are answered with the whole, as RFC 9110 14.2 allows.
    """
    shown = inline and content.mime in INLINE
    headers = {
        "ETag": f'"{content.sha256}"',
        "Last-Modified": http_date(content.modified),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": disposition("inline" if shown else "attachment", content.name),
        "Content-Security-Policy": "default-src 'none'" if shown else "default-src 'none'; sandbox",
    }
    if not is_resource_modified(request.environ, etag=content.sha256, ignore_if_range=True):
        return Response(status=304, headers=headers)
    headers["Content-Type"] = _type_header(content.mime, shown)
    prefix = current_settings().x_accel_redirect
    if prefix and content.key and not content.sealed:
        return Response(status=200, headers={**headers, "X-Accel-Redirect": prefix + content.key})
    address = None if inline or current_settings().verify_downloads else content.link(headers)
    if address is not None and request.method == "GET":
        return Response(status=302, headers={**_passing(headers), "Location": address})
    start, end, status = _range(content)
    headers["Content-Length"] = str(end - start)
    if status == 206:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{content.size}"
    if request.method == "HEAD":
        return Response(status=status, headers=headers)
    body = sending(lambda: content.read(start, end - start), end - start)
    return Response(body, status=status, headers=headers, direct_passthrough=True)


def send_archive(archive: Archive) -> Response:
    """The whole zip as it is made; it is never stored, so there are no ranges."""
    headers = {
        "Content-Type": "application/zip",
        "Content-Length": str(archive.size),
        "Content-Disposition": disposition("attachment", archive.name),
        "Cache-Control": "private, no-store",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    if request.method == "HEAD":
        return Response(headers=headers)
    body = sending(lambda: stream_with_context(archive.read()), archive.size)  # each file's key is read when it is due
    return Response(body, headers=headers, direct_passthrough=True)


def _passing(headers: dict[str, str]) -> dict[str, str]:
    """Headers of an answer that only names another address, good for a minute: nobody may keep it."""
    return {"Cache-Control": "no-store", "Content-Security-Policy": headers["Content-Security-Policy"]}


def first_byte(content: Content) -> int | None:
    """Where the answer to the present request begins; None where it has no bytes (HEAD, 304). Raises Unsatisfiable."""
    known = not is_resource_modified(request.environ, etag=content.sha256, ignore_if_range=True)
    return None if known or request.method != "GET" else _range(content)[0]


def _range(content: Content) -> tuple[int, int, int]:
    """First byte, byte after the last, status."""
    wanted = request.range
    condition = request.headers.get("If-Range")  # a strong comparison: neither weak tags nor dates will do
    unchanged = condition is None or condition.strip() == f'"{content.sha256}"'
    if wanted is None or wanted.units != "bytes" or len(wanted.ranges) != 1 or not unchanged or request.method != "GET":
        return 0, content.size, 200
    first, end = wanted.ranges[0]
    start = first if first >= 0 else max(0, content.size + first)  # a suffix longer than the content is all of it
    if start >= content.size:
        raise Unsatisfiable(content.size)
    return start, content.size if end is None else min(end, content.size), 206


def _type_header(mime: str, shown: bool) -> str:
    return f"{mime}; charset=utf-8" if shown and mime.startswith("text/") else mime


def disposition(kind: str, name: str) -> str:
    """Content-Disposition with an ASCII name for old clients and the exact one as RFC 6266 and 8187 spell it."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    safe = "".join(c if c.isalnum() or c in " ._-()" else "_" for c in plain).strip() or "download"
    exact = quote(name, safe="!#$&+-.^_`|~")
    return f'{kind}; filename="{safe}"' + (f"; filename*=UTF-8''{exact}" if safe != name else "")
