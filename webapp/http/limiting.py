"""Rate limits: a general one over all ordinary routes, one of each class of routes beside it, and their headers.

Ordinary classes use the limits library directly: flask-limiter's way through every request costs ten times as much.
It counts the strict ones, hit for hit.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Flask, Request, Response, current_app, request

from webapp.errors import Limited
from webapp.extensions import address_key, caller_key, known_actor, strict
from webapp.infra.limits import Counts, Rate, rate_of
from webapp.policies import MEMBER, PERMISSIONS
from webapp.services import settings
from webapp.services.settings import Values

V = TypeVar("V", bound=Callable[..., Any])
ORDINARY = ("reads", "writes", "uploads", "downloads", "administration")
STRICT: dict[str, Callable[[], str]] = {"sign_in": address_key, "renewals": address_key, "sendings": caller_key}
UNLIMITED = "unlimited"  # a probe that is refused looks like a vault that is down
CLASSES = (*ORDINARY, *STRICT, UNLIMITED)
SAFE = {"GET", "HEAD", "OPTIONS"}
COUNTED = "holdfast.limit"
TOO_FAST = "You are going too fast. Wait a moment."


def limited(name: str) -> Callable[[V], V]:
    """Put a route into this class, where its method and permission do not say so already. Strict ones count here."""
    if name not in CLASSES:
        raise KeyError(name)
    counting = _STRICT.get(name)

    def decorate(view: V) -> V:
        counted = counting(view) if counting else view
        counted.limit_class = name  # type: ignore[attr-defined]
        return counted  # type: ignore[return-value]

    return decorate


_STRICT = {
    name: strict.shared_limit(lambda name=name: settings.limit_text(name), scope=name, key_func=key)  # type: ignore[misc]
    for name, key in STRICT.items()
}


def class_of(view: Any, methods: set[str]) -> str:
    """The one class of a route: what `limited` says, else by upload, administrators' permission and method."""
    named: str | None = getattr(view, "limit_class", None)
    if named:
        return named
    writes = bool(methods - SAFE)
    if writes and getattr(view, "upload", False):
        return "uploads"
    permission = getattr(view, "permission", None)
    if permission and MEMBER not in PERMISSIONS[permission][1]:
        return "administration"
    return "writes" if writes else "reads"


def limit_requests(app: Flask) -> None:
    """Count every request of an account or address."""
    ordinary = Ordinary()
    app.extensions["holdfast.ordinary"] = ordinary
    app.before_request(ordinary.count)
    app.after_request(ordinary.add_headers)


@dataclass(frozen=True, slots=True)
class Plan:
    """The limits in force. `own` has the classes whose limit can be met before the general one."""

    values: Values
    general: Rate
    own: dict[str, Rate]


def _plan(values: Values) -> Plan:
    general = rate_of(values.rate_limit)
    rates = {name: rate_of(settings.limit_text(name, values)) for name in ORDINARY}
    own = {n: rate for n, rate in rates.items() if rate.window != general.window or rate.amount < general.amount}
    return Plan(values, general, own)


class Ordinary:
    """So many requests of one account, or of one address that is not signed in, within a fixed window."""

    def __init__(self) -> None:
        self.counts = Counts()
        self._classes: dict[str, str] = {}
        self._last: Plan | None = None

    def count(self) -> None:
        """Count the present request. Raises Limited."""
        present: Request = request._get_current_object()  # type: ignore[attr-defined]
        rule = present.url_rule
        name = (self._classes.get(rule.endpoint) or self._classify(rule)) if rule else "reads"
        if name == UNLIMITED:
            return
        plan, actor = self.plan(), known_actor()
        key = f"account/{actor.id}" if actor else f"address/{address_key()}"
        rate, own = plan.general, plan.own.get(name)
        hits, ends_at = self.counts.lease(key, rate)
        left = rate.amount - hits
        if own is not None and left >= 0:
            own_hits, own_end = self.counts.lease(f"{name}/{key}", own)
            if own.amount - own_hits < left:
                rate, left, ends_at = own, own.amount - own_hits, own_end
        present.environ[COUNTED] = name, rate.amount, left, ends_at
        if left < 0:
            raise Limited(TOO_FAST, retry_after=_seconds_until(ends_at))

    def plan(self) -> Plan:
        """The limits in force, read anew only when a setting has changed."""
        values, last = settings.in_force(), self._last
        if last is None or last.values is not values:
            last = self._last = _plan(values)
        return last

    def add_headers(self, response: Response) -> Response:
        """RateLimit headers (draft-ietf-httpapi-ratelimit-headers-06), of the limit that is nearest to its end."""
        counted = request.environ.get(COUNTED)
        if counted is None:
            return response
        name, amount, left, ends_at = counted
        exact = strict.current_limit if name in STRICT else None
        if exact is not None and exact.remaining <= left:
            amount, left, ends_at = exact.limit.amount, exact.remaining, exact.window.reset_time
        add = response.headers.add  # nobody else sets these
        add("RateLimit-Limit", str(amount))
        add("RateLimit-Remaining", str(max(0, left)))
        add("RateLimit-Reset", str(_seconds_until(ends_at)))
        return response

    def _classify(self, rule: Any) -> str:
        name = class_of(current_app.view_functions[rule.endpoint], rule.methods)
        self._classes[rule.endpoint] = name
        return name


def strict_wait() -> float:
    """Seconds until the strict limit that was just exceeded lets somebody through again."""
    limit = strict.current_limit
    return 1 if limit is None else max(1, _seconds_until(limit.window.reset_time))


def _seconds_until(moment: float) -> int:
    return max(0, int(moment - time.time() + 0.999))
