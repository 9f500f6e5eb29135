"""Is the process alive, is everything there, what does it measure: for orchestrators, Prometheus, administrators."""

import hmac
import ipaddress

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response as AnyResponse

from webapp.config import current_settings
from webapp.errors import HoldfastError, Refused
from webapp.extensions import bearer_token
from webapp.http.answers import encode, gives
from webapp.http.guard import current_actor, guard, public
from webapp.http.healthrows import CACHES, condition_rows
from webapp.http.limiting import limited
from webapp.http.metrics import exposition
from webapp.services import conditions, health
from webapp.services.conditions import Condition

pages = Blueprint("health_pages", __name__)
api = Blueprint("health_api", __name__)


@pages.get("/health/live")
@public
@limited("unlimited")
def show_live() -> Response:
    """The process answers."""
    return _state({"status": "live"}, 200)


@pages.get("/health/ready")
@public
@limited("unlimited")
def show_ready() -> Response:
    """200 while requests can be served (ready or degraded), else 503; names and states only."""
    readiness = health.read_readiness()
    return _state(readiness, 503 if readiness.status == "unready" else 200)


@pages.get("/metrics")
@public
@limited("unlimited")
def show_metrics() -> Response:
    """For whoever knows METRICS_TOKEN; without a proxy in front also for this machine."""
    if not _may_read_metrics():
        raise Refused("Metrics need METRICS_TOKEN as a bearer token.")
    try:
        tallies = health.read_tallies()
    except HoldfastError:
        tallies = None
    return Response(exposition(tallies), content_type="text/plain; version=0.0.4; charset=utf-8")


@api.get("/health")
@guard("health.read")
@gives(Condition)
def show_health() -> Condition:
    """The condition of the vault: its parts, caches, locks, connections, disk."""
    return conditions.read_condition(current_actor())


@api.delete("/health/caches/<string:name>")
@guard("health.write")
@gives(errors=(404,))
def empty_cache(name: str) -> None:
    """Forget all values of a cache in all processes, as after a restored backup."""
    conditions.empty_cache(current_actor(), name)


@pages.get("/admin/health", endpoint="show_health")
@guard("health.read")
def show_health_page() -> str:
    """The same for people; it refreshes itself."""
    return render_template("health/index.html", **condition_rows(conditions.read_condition(current_actor())))


@pages.post("/admin/health/caches/<string:name>", endpoint="empty_cache")
@guard("health.write")
def empty_cache_page(name: str) -> AnyResponse:
    """Empty it and come back."""
    conditions.empty_cache(current_actor(), name)
    flash(_("“%(name)s” is empty and fills again.", name=CACHES[name]), "success")
    return redirect(url_for(".show_health"))


def _state(answer: object, status: int) -> Response:
    return Response(encode(answer), status, {"Cache-Control": "no-store"}, content_type="application/json")


def _may_read_metrics() -> bool:
    settings, token = current_settings(), bearer_token()
    if token is not None and settings.metrics_token is not None:
        return hmac.compare_digest(token.encode(), settings.metrics_token.get_secret_value().encode())
    if settings.trusted_proxies or "X-Forwarded-For" in request.headers:  # behind a proxy everybody may look local
        return False
    try:
        return ipaddress.ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        return False
