"""Answers of the API: structs encoded once, with ETag, Location and 304 where they belong."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import msgspec
from flask import Response, request

from webapp.errors import FieldError, Invalid
from webapp.http.conditional import matches_known, tag_of
from webapp.http.repetitions import once

V = TypeVar("V", bound=Callable[..., Any])
encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Created:
    """A view of a new object and the address it has from now on."""

    view: Any
    url: str


def created(view: Any, url: str) -> Created:
    """Answer 201 with Location."""
    return Created(view, url)


def gives(
    view: Any = None,
    *,
    status: int = 200,
    errors: Iterable[int] = (),
    extra: Mapping[str, Any] | None = None,
    or_view: Any = None,
    repeats: bool = False,
    keyed: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Response]]:
    """Encode what the function returns. `view` (a struct type), `errors` and `extra` describe the operation.

    A struct with a `version` gets an ETag (see tag_of) and answers If-None-Match by 304; None answers 204; a Response
    passes. `or_view` is what the operation answers in the other of two cases, `extra` is merged into
    the operation of the OpenAPI document. What answers 201 honours Idempotency-Key, and with `keyed` what orders
    something without making it; with `repeats` the view does so itself, because it reads its body itself.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Response]:
        @wraps(function)
        def given(*args: Any, **kwargs: Any) -> Response:
            if request.query_string and not _reads_query(given):
                raise Invalid(
                    "This operation takes no query parameters.",
                    errors=tuple(FieldError(name, "extra_forbidden", "Unknown parameter") for name in request.args),
                )
            if keyed or (status == 201 and not repeats):
                return once(request.get_data(), lambda: answer(function(*args, **kwargs), status))
            return answer(function(*args, **kwargs), status)

        said = {"view": view, "or_view": or_view, "status": status, "errors": tuple(errors), "extra": extra or {},
                "keyed": keyed or status == 201}  # fmt: skip
        given.gives = said  # type: ignore[attr-defined]
        return given

    return decorate


def answer(result: Any, status: int = 200) -> Response:
    """A response for a view's result."""
    if isinstance(result, Response):
        return result
    if result is None:
        return _empty(204, {"Cache-Control": "no-store"})
    location = None
    if isinstance(result, Created):
        location, result, status = result.url, result.view, 201
    tag = tag_of(result)
    headers = {"Cache-Control": "no-store"} if tag is None else {"Cache-Control": "private, no-cache", "ETag": tag}
    if location:
        headers["Location"] = location
    if tag is not None and request.method in {"GET", "HEAD"} and matches_known(tag):
        return _empty(304, headers)
    return Response(encode(result), status=status, headers=headers, content_type="application/json")


def _empty(status: int, headers: dict[str, str]) -> Response:
    response = Response(status=status, headers=headers)
    del response.headers["Content-Type"]
    return response


def encode(result: Any) -> bytes:
    """JSON of a struct: times as RFC 3339 in UTC, ids as UUIDs."""
    return encoder.encode(result)


def _reads_query(view: Any) -> bool:
    from flask import current_app

    registered = current_app.view_functions.get(request.endpoint or "", view)
    return bool(getattr(registered, "takes", {}).get("query"))
