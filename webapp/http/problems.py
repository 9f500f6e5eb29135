"""Everything that goes wrong, as problem+json (RFC 9457) for programs and as a page for people. Never a stack trace."""

import math
from typing import Any, cast
from urllib.parse import quote, unquote, urlsplit

import msgspec
import structlog
from flask import Flask, Response, flash, redirect, render_template, request
from flask_babel import gettext
from flask_limiter import RateLimitExceeded
from markupsafe import escape
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES

from webapp.db import meaning_of
from webapp.errors import (
    FactorDue,
    HoldfastError,
    Invalid,
    Limited,
    Malformed,
    Missing,
    Stale,
    StepUp,
    TooLarge,
    Unauthenticated,
    Unsupported,
)
from webapp.http.inputs import field_error
from webapp.http.limiting import TOO_FAST, strict_wait
from webapp.infra.reports import report

log = structlog.get_logger("webapp.problems")
encoder = msgspec.json.Encoder()
MEANINGS: dict[int, tuple[type[HoldfastError], str]] = {
    400: (Malformed, "The request cannot be read."),
    404: (Missing, "There is nothing at this address."),
    413: (TooLarge, "The request is larger than this address takes."),
    415: (Unsupported, "This address does not read bodies of this type."),
}


def register_problems(app: Flask) -> None:
    """Answer every exception of every view."""
    app.register_error_handler(Exception, answer_for)


def answer_for(error: Exception) -> Response:
    """The response for any exception; what nobody foresaw is logged with its traceback and answered 500."""
    if isinstance(error, HTTPException) and error.code is not None and error.code < 400:
        return _ours(error.get_response(request.environ))
    try:
        problem = problem_of(error)
        if wants_json():
            return _json(problem)
        if isinstance(problem, StepUp | FactorDue):
            return _prove(problem)
        return _sign_in() if isinstance(problem, Unauthenticated) else _page(problem)
    except Exception:
        log.exception("error_page_failed")
        return _plain(_unforeseen())


def problem_of(error: Exception) -> HoldfastError:
    """The expected failure behind an exception."""
    if isinstance(error, HoldfastError):
        return error
    if isinstance(error, RateLimitExceeded):
        return Limited(TOO_FAST, retry_after=strict_wait())
    if isinstance(error, HTTPException):
        return _http_problem(error)
    if isinstance(error, ValidationError):
        faults = error.errors(include_input=False, include_url=False, include_context=False)
        return Invalid("Please look at the fields named in errors.", errors=tuple(map(field_error, faults)))
    meaning = meaning_of(error) if isinstance(error, SQLAlchemyError) else None
    if meaning is not None:
        return meaning
    log.error("unforeseen", exc_info=error, route=request.url_rule.rule if request.url_rule else None)
    report(error)
    return _unforeseen()


def status_of(problem: HoldfastError) -> int:
    """412 for a stale version that the request named in If-Match, else the error's own status."""
    return 412 if isinstance(problem, Stale) and "If-Match" in request.headers else problem.status


def wants_json() -> bool:
    """Whether the client is a program: by address, else by what it accepts."""
    path = request.path
    if (path.startswith("/api/") and path != "/api/docs") or path == "/events":
        return True
    accepted = request.accept_mimetypes
    best = accepted.best_match(["text/html", "application/json", "application/problem+json"], "text/html")
    return best != "text/html"


def document_of(problem: HoldfastError) -> dict[str, Any]:
    """The members of problem+json."""
    document: dict[str, Any] = {
        "type": f"urn:holdfast:problem:{problem.code}",
        "title": problem.title,
        "status": status_of(problem),
        "detail": problem.detail,
        "instance": request.path,
        "request_id": request.environ.get("holdfast.request_id", ""),
        "code": problem.code,
    }
    if problem.errors:
        document["errors"] = [{"field": e.field, "code": e.code, "message": e.message} for e in problem.errors]
    return document


def _json(problem: HoldfastError) -> Response:
    body = encoder.encode(document_of(problem))
    return Response(body, status_of(problem), _headers(problem), content_type="application/problem+json")


def _page(problem: HoldfastError) -> Response:
    retry_after = math.ceil(problem.retry_after) if problem.retry_after else None
    try:
        body = render_template(
            "error.html", status=status_of(problem), title=gettext(problem.title), detail=gettext(problem.detail),
            request_id=request.environ.get("holdfast.request_id", ""), retry_after=retry_after, errors=problem.errors,
        )  # fmt: skip
    except Exception:
        log.exception("error_template_failed")
        return _plain(problem)
    return Response(body, status_of(problem), _headers(problem), content_type="text/html; charset=utf-8")


def _plain(problem: HoldfastError) -> Response:
    request_id = request.environ.get("holdfast.request_id", "")
    body = (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(problem.title)}</title></head>'
        f"<body><h1>{escape(problem.title)}</h1><p>{escape(problem.detail)}</p>"
        f"<p>Request id <code>{escape(request_id)}</code></p></body></html>"
    )
    return Response(body, status_of(problem), _headers(problem), content_type="text/html; charset=utf-8")


def _sign_in() -> Response:
    """To the sign-in page, and back here afterwards where that makes sense."""
    target = "/sign-in"
    if request.method in {"GET", "HEAD"}:
        target += f"?next={quote(_here(), safe='/')}"
    if request.headers.get("HX-Request"):  # a fragment must not become the sign-in page: htmx goes there instead
        return Response(status=401, headers={"HX-Redirect": "/sign-in", "Cache-Control": "no-store"})
    answer = redirect(target)
    answer.headers["Cache-Control"] = "no-store"
    return _ours(answer)


def _prove(problem: StepUp | FactorDue) -> Response:
    """To the page that confirms who it is, or sets a factor up; back to this page afterwards, or, for a deed, to the
    one it was done on, which then has to be done once more."""
    flash(gettext(problem.detail), "info")
    if isinstance(problem, FactorDue):
        target = "/account/security"
    else:
        target = f"/confirm-identity?next={quote(_here(), safe='/')}"
    if request.headers.get("HX-Request"):
        return Response(status=403, headers={"HX-Redirect": target, "Cache-Control": "no-store"})
    answer = redirect(target, 303)
    answer.headers["Cache-Control"] = "no-store"
    return _ours(answer)


def _here() -> str:
    """The present page as the next one to go to; of a form the page that held it."""
    if request.method in {"GET", "HEAD"}:
        query = f"?{request.query_string.decode('latin-1')}" if request.query_string else ""
        return quote(request.path) + query
    came = urlsplit(request.referrer or "")
    return quote(unquote(came.path)) + (f"?{came.query}" if came.query else "") if came.netloc == request.host else "/"


def _ours(response: Any) -> Response:
    return cast(Response, Response.force_type(response, request.environ))


def _headers(problem: HoldfastError) -> dict[str, str]:
    headers = {"Cache-Control": "no-store"}
    if problem.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="Holdfast"'
    if problem.retry_after is not None or problem.status in {429, 503}:
        headers["Retry-After"] = str(max(1, math.ceil(problem.retry_after or 1)))
    return headers | getattr(problem, "headers", {})


def _http_problem(error: HTTPException) -> HoldfastError:
    status = error.code or 500
    kind, detail = MEANINGS.get(status, (HoldfastError, ""))
    problem = kind(detail or error.description or "")
    if kind is HoldfastError:
        problem.status, problem.title = status, HTTP_STATUS_CODES.get(status, "Error")
        problem.code = problem.title.lower().replace(" ", "_").replace("-", "_").replace("'", "")
        allowed = getattr(error, "valid_methods", None)
        problem.headers = {"Allow": ", ".join(sorted(allowed))} if allowed else {}  # type: ignore[attr-defined]
        if status == 405:
            problem.detail = "This address does not know this method."
    return problem


def _unforeseen() -> HoldfastError:
    problem = HoldfastError(
        "Something went wrong on our side. The request id helps to find out what.", code="internal_error"
    )
    problem.status, problem.title = 500, "Internal server error"
    return problem
