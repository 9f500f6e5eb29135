"""The RateLimit headers (draft-ietf-httpapi-ratelimit-headers-06) of both limiters."""

import time

from flask import Flask, Response, current_app
from flask_limiter import RequestLimit


def announce_limits(app: Flask) -> None:
    """Tell clients how much is left, on every answer that was counted."""
    app.after_request(_add_headers)


def seconds_until_reset() -> float:
    """Seconds until the limit that was just exceeded opens again."""
    limit = _limit()
    return max(1.0, limit.window[0] - time.time()) if limit else 1.0


def _add_headers(response: Response) -> Response:
    limit = _limit()
    if limit is not None:
        reset, remaining = limit.window
        headers = response.headers
        headers["RateLimit-Limit"] = str(limit.limit.amount)
        headers["RateLimit-Remaining"] = str(remaining)
        headers["RateLimit-Reset"] = str(max(0, int(reset - time.time() + 0.999)))
    return response


def _limit() -> RequestLimit | None:
    """The exceeded limit, else the stricter one that was counted."""
    strict, general = current_app.extensions["holdfast.limiters"]
    first: RequestLimit | None = strict.current_limit
    second: RequestLimit | None = general.current_limit
    return second if first is None or (second is not None and second.breached) else first
