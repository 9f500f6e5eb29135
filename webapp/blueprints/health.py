"""Is the process alive, is everything it needs there, what does it measure: for orchestrators and Prometheus."""

import hmac
import ipaddress

from flask import Blueprint, Response, request

from webapp.config import current_settings
from webapp.errors import HoldfastError, Refused
from webapp.extensions import bearer_token
from webapp.http.answers import encode
from webapp.http.guard import public
from webapp.http.metrics import exposition
from webapp.services import health

pages = Blueprint("health_pages", __name__)


@pages.get("/health/live")
@public
def show_live() -> Response:
    """The process answers."""
    return _state({"status": "live"}, 200)


@pages.get("/health/ready")
@public
def show_ready() -> Response:
    """200 while requests can be served (ready or degraded), else 503; names and states only."""
    readiness = health.read_readiness()
    return _state(readiness, 503 if readiness.status == "unready" else 200)


@pages.get("/metrics")
@public
def show_metrics() -> Response:
    """For whoever knows METRICS_TOKEN; without a proxy in front also for this machine."""
    if not _may_read_metrics():
        raise Refused("Metrics need METRICS_TOKEN as a bearer token.")
    try:
        jobs = health.count_jobs()
    except HoldfastError:
        jobs = None
    return Response(exposition(jobs), content_type="text/plain; version=0.0.4; charset=utf-8")


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
