"""The outermost layer: an id, a log line, a Server-Timing header and a measurement for every request."""

import re
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl, quote

import msgspec
import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars
from uuid_utils import uuid7

from webapp.db import tally
from webapp.extensions import USER
from webapp.http.metrics import observe
from webapp.infra.logs import REDACTED, SECRET_NAME, Bound

log = structlog.get_logger("webapp.problems")
WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{8,64}")
QUIET = ("/health/", "/static/", "/metrics")
SECRET_RULE = re.compile(r"<[^>]*(token|secret)>")
Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


class RequestLog:
    """WSGI middleware. Puts `holdfast.request_id` into the environ; views add `holdfast.route` and `holdfast.user`."""

    def __init__(self, application: Application) -> None:
        self.application = application

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one request. An exception that got past everything else is answered 500."""
        began = time.perf_counter()
        given = environ.get("HTTP_X_REQUEST_ID")
        request_id = given if given is not None and WELL_FORMED.fullmatch(given) else uuid7().hex
        environ["holdfast.request_id"] = request_id
        tally.reset()
        clear_contextvars()
        bind_contextvars(request_id=request_id)
        status = 500

        def start(line: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal status
            status = int(line[:3])
            headers.append(("X-Request-ID", request_id))
            spent = (time.perf_counter() - began) * 1000
            headers.append(
                ("Server-Timing", f'app;dur={spent:.2f}, db;dur={tally.seconds * 1000:.2f};desc="{tally.count}"')
            )
            return start_response(line, headers, exc_info) if exc_info else start_response(line, headers)

        try:
            return self.application(environ, start)
        except Exception:
            log.exception("unanswered")
            return _answer_500(start, request_id)
        finally:
            _write(environ, status, time.perf_counter() - began)


def _write(environ: Environ, status: int, seconds: float) -> None:
    method, route = environ["REQUEST_METHOD"], environ.get("holdfast.route")
    observe(method, route, status, seconds)
    path = environ.get("PATH_INFO", "")
    write = Bound.requests.debug if status < 400 and path.startswith(QUIET) else Bound.requests.info
    user = environ.get(USER)
    write(
        "request",
        user=None if user is None else str(user),
        method=method,
        route=route,
        path=_path(environ, path, route),
        status=status,
        duration_ms=round(seconds * 1000, 2),
        queries=tally.count,
        db_ms=round(tally.seconds * 1000, 2),
        address=environ.get("REMOTE_ADDR"),
    )


def _path(environ: Environ, path: str, route: str | None) -> str:
    """The path as it was sent, with its query but without secrets in either."""
    shown = (
        route if route and SECRET_RULE.search(route) else path.encode("latin-1", "replace").decode("utf-8", "replace")
    )
    query = environ.get("QUERY_STRING")
    if not query:
        return shown
    pairs = parse_qsl(query[:2000], keep_blank_values=True)
    return shown + "?" + "&".join(f"{quote(k)}={REDACTED if SECRET_NAME.search(k) else quote(v)}" for k, v in pairs)


def _answer_500(start: Callable[..., Any], request_id: str) -> list[bytes]:
    detail = "Something went wrong on our side. The request id helps to find out what."
    problem = {"type": "urn:holdfast:problem:internal_error", "title": "Internal server error", "status": 500,
               "detail": detail, "request_id": request_id, "code": "internal_error"}  # fmt: skip
    body = msgspec.json.encode(problem)
    headers = [("Content-Type", "application/problem+json"), ("Content-Length", str(len(body))),
               ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")]  # fmt: skip
    start("500 Internal Server Error", headers)
    return [body]
