"""Is the process alive, is everything it needs there, what does it measure: for orchestrators and Prometheus."""

from flask import Blueprint, Response

from webapp.http.answers import encode
from webapp.http.guard import public

pages = Blueprint("health_pages", __name__)


@pages.get("/health/live")
@public
def show_live() -> Response:
    """The process answers."""
    return Response(encode({"status": "live"}), content_type="application/json", headers={"Cache-Control": "no-store"})
