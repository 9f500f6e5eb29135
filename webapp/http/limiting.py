"""Rate limits: a general one over all ordinary routes, a strict one on signing in, and their headers.

The general one uses the limits library directly: flask-limiter's way through every request costs ten times as much.
"""

import time
from typing import Any

from flask import Flask, Request, Response, request
from limits import RateLimitItem, parse

from webapp.config import ConfigurationError, Settings, current_settings
from webapp.errors import Limited
from webapp.extensions import address_key, known_actor, strict
from webapp.infra.limits import LeasedStorage

UNLIMITED = {"health_pages.show_live", "health_pages.show_ready", "health_pages.show_metrics"}
COUNTED = "holdfast.limit"
TOO_FAST = "You are going too fast. Wait a moment."
sign_in_limit = strict.shared_limit(lambda: current_settings().sign_in_rate_limit, scope="sign-in")


def limit_requests(app: Flask, settings: Settings) -> None:
    """Count every request of an account or address. Raises ConfigurationError for limits nobody can parse."""
    try:
        item, _ = parse(settings.rate_limit), parse(settings.sign_in_rate_limit)
    except ValueError as error:
        raise ConfigurationError(["RATE_LIMIT, SIGN_IN_RATE_LIMIT: must be like 1200 per minute"]) from error
    general = General(item)
    app.extensions["holdfast.general"] = general
    app.before_request(general.count)
    app.after_request(general.add_headers)


class General:
    """So many requests of one account, or of one address that is not signed in, within a fixed window."""

    def __init__(self, item: RateLimitItem) -> None:
        self.item, self.storage = item, LeasedStorage()

    def count(self) -> None:
        """Count the present request. Raises Limited."""
        present: Request = request._get_current_object()  # type: ignore[attr-defined]
        if present.endpoint in UNLIMITED:
            return
        actor = known_actor()
        key = f"account/{actor.id}" if actor else f"address/{address_key()}"
        hits = self.storage.incr(key, self.item.get_expiry())
        reset = max(0, int(self.storage.get_expiry(key) - time.time() + 0.999))
        present.environ[COUNTED] = hits, reset
        if hits > self.item.amount:
            raise Limited(TOO_FAST, retry_after=reset)

    def add_headers(self, response: Response) -> Response:
        """RateLimit headers (draft-ietf-httpapi-ratelimit-headers-06), of the strict limit where that is exceeded."""
        counted = request.environ.get(COUNTED)
        if counted is not None and "RateLimit-Limit" not in response.headers:
            _announce(response.headers, self.item.amount, *counted)
        return response


def strict_headers() -> dict[str, str]:
    """What to tell about the strict limit that was just exceeded."""
    limit = strict.current_limit
    if limit is None:
        return {"Retry-After": "1"}
    reset = max(1, int(limit.window[0] - time.time() + 0.999))
    headers = {"Retry-After": str(reset)}
    _announce(headers, limit.limit.amount, limit.limit.amount, reset)
    return headers


def _announce(headers: Any, amount: int, hits: int, reset: int) -> None:
    headers["RateLimit-Limit"] = str(amount)
    headers["RateLimit-Remaining"] = str(max(0, amount - hits))
    headers["RateLimit-Reset"] = str(reset)
