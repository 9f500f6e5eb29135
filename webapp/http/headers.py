"""Security headers on every answer: an own strict CSP by Talisman, cross-origin isolation, CORS by allow-list."""

from collections import OrderedDict
from typing import Any

from flask import Flask, Response, request
from werkzeug.datastructures import Headers

from webapp.config import Settings
from webapp.extensions import talisman

PAGE_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",
    "media-src": "'self' blob:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "manifest-src": "'self'",
    "frame-src": "'self'",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
API_POLICY = {"default-src": "'none'", "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'"}
PERMISSIONS_POLICY = ", ".join(
    f"{feature}=()" for feature in ("accelerometer", "camera", "display-capture", "geolocation", "gyroscope",
                                    "magnetometer", "microphone", "midi", "payment", "usb", "browsing-topics")
)  # fmt: skip
PRIVATE = ("Cache-Control", "private, no-cache")  # pages are somebody's; what may be kept longer says so itself
STATIC = (("X-Content-Type-Options", "nosniff"), ("Content-Security-Policy", "default-src 'none'; sandbox"),
          ("Cross-Origin-Resource-Policy", "same-origin"), ("Referrer-Policy", "no-referrer"))  # fmt: skip
CORS_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
CORS_REQUEST = (
    "Authorization, Content-Type, If-Match, If-None-Match, Range, X-Request-ID, Idempotency-Key, Tus-Resumable,"
    " Upload-Length, Upload-Metadata, Upload-Offset, Upload-Checksum, X-HTTP-Method-Override"
)
EXPOSED = ("ETag", "Location", "Content-Range", "Content-Disposition", "X-Request-ID", "Retry-After", "RateLimit-Limit",
           "RateLimit-Remaining", "RateLimit-Reset", "Tus-Resumable", "Tus-Version", "Tus-Extension", "Tus-Max-Size",
           "Tus-Checksum-Algorithm", "Upload-Offset", "Upload-Length", "Upload-Metadata", "Upload-Expires",
           "Upload-File")  # fmt: skip
CORS_ANSWER = ", ".join(EXPOSED)


def protect(app: Flask, settings: Settings) -> None:
    """Set the headers. HSTS and the redirect to https only where PUBLIC_URL is https; never for health checks."""
    app.after_request(_hide_links)  # before Talisman, so that it runs after it
    talisman.init_app(
        app,
        force_https=settings.https and settings.production,
        strict_transport_security=settings.https,
        session_cookie_secure=False,  # config sets the cookie's flags; Talisman would break it on http
        frame_options="DENY",
        content_security_policy=PAGE_POLICY,
        content_security_policy_nonce_in=["script-src", "style-src"],
        permissions_policy=PERMISSIONS_POLICY,
        document_policy=None,
        feature_policy=None,
        referrer_policy="same-origin",
    )
    app.after_request(_stay_private)
    if settings.cors_origins:
        _allow_origins(app, frozenset(settings.cors_origins))


def relax_programs(app: Flask) -> None:
    """Give the API's views a policy without nonce, as nothing of theirs is rendered; do not redirect health checks."""
    views: dict[str, Any] = dict(app.view_functions)
    for endpoint, view in views.items():
        blueprint = endpoint.partition(".")[0]
        if blueprint.endswith("_api"):
            view.talisman_view_options = {
                "content_security_policy": OrderedDict(API_POLICY),
                "content_security_policy_nonce_in": [],
            }
        elif blueprint == "health_pages":
            view.talisman_view_options = {"force_https": False}


def static_headers(headers: Headers, _path: str, _url: str) -> None:
    """What WhiteNoise adds to files, an SVG opened by itself included."""
    for name, value in STATIC:
        headers[name] = value


def _stay_private(response: Response) -> Response:
    response.headers.setdefault(*PRIVATE)
    return response


def _hide_links(response: Response) -> Response:
    """The address of a public link is a secret: nothing keeps what it shows, finds it, or tells other sites of it."""
    if request.path.startswith("/s/"):
        response.headers.update({"Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
                                 "X-Robots-Tag": "noindex, nofollow, noarchive"})  # fmt: skip
    return response


def _allow_origins(app: Flask, origins: frozenset[str]) -> None:
    """CORS (Fetch standard, 3.2) for /api: named origins, no cookies, preflight answered before any view."""

    @app.before_request
    def preflight() -> Response | None:
        if request.method != "OPTIONS" or not request.path.startswith("/api/"):
            return None
        if request.headers.get("Origin") not in origins or "Access-Control-Request-Method" not in request.headers:
            return None
        return Response(status=204, headers={
            "Access-Control-Allow-Methods": CORS_METHODS, "Access-Control-Allow-Headers": CORS_REQUEST,
            "Access-Control-Max-Age": "600",
        })  # fmt: skip

    @app.after_request
    def allow(response: Response) -> Response:
        if request.path.startswith("/api/"):
            response.vary.add("Origin")
            origin: Any = request.headers.get("Origin")
            if origin in origins:
                response.headers["Access-Control-Allow-Origin"] = origin
                response.headers["Access-Control-Expose-Headers"] = CORS_ANSWER
                response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        return response
