"""Our own css and scripts: addresses with the content's hash, cached for ever, sent by WhiteNoise."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask
from whitenoise import WhiteNoise

from webapp.http.headers import static_headers

HASHED = re.compile(r"\.[0-9a-f]{12}\.[^/.]+$")
COMPRESSED = {".gz", ".br"}


def serve_static(app: Flask, folder: Path) -> None:
    """Serve `folder` at /static, each file also at the address that `static_url` gives; it is read once, at start."""
    files = WhiteNoise(
        app.wsgi_app, max_age=60, allow_all_origins=False, add_headers_function=static_headers,
        immutable_file_test=lambda _path, url: HASHED.search(url) is not None,
    )  # fmt: skip
    addresses: dict[str, str] = {}
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if not path.is_file() or path.suffix in COMPRESSED or path.name.startswith("."):
            continue
        name = path.relative_to(folder).as_posix()
        addresses[name] = f"/static/{_hashed(name, path.read_bytes())}"
        files.add_file_to_dictionary(f"/static/{name}", str(path))
        files.add_file_to_dictionary(addresses[name], str(path))
    app.wsgi_app = files  # type: ignore[method-assign]
    app.jinja_env.globals["static_url"] = static_url(addresses)


def static_url(addresses: dict[str, str]) -> Callable[[str], str]:
    """The function templates call; an unknown file keeps its plain address, so that a page without it still shows."""

    def url(name: str) -> str:
        return addresses.get(name) or f"/static/{name}"

    return url


def _hashed(name: str, content: bytes) -> str:
    stem, dot, extension = name.rpartition(".")
    digest = hashlib.sha256(content).hexdigest()[:12]
    return f"{stem}.{digest}.{extension}" if dot else f"{name}.{digest}"


def forget_forwarded(application: Callable[..., Any]) -> Callable[..., Any]:
    """Drop the forwarding headers once ProxyFix has read those of known proxies: a client may write what it likes."""
    names = [f"HTTP_X_FORWARDED_{part}" for part in ("FOR", "PROTO", "HOST", "PORT", "PREFIX")] + ["HTTP_FORWARDED"]

    def trusted(environ: dict[str, Any], start_response: Any) -> Any:
        for name in names:
            environ.pop(name, None)
        return application(environ, start_response)

    return trusted
