"""create_app: settings, extensions, the layers of HTTP, and every noun's blueprints discovered by name."""

import importlib
import pkgutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
from flask import Blueprint, Flask, request
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import URLSafeTimedSerializer
from jinja2 import FileSystemBytecodeCache
from werkzeug.middleware.proxy_fix import ProxyFix

import webapp.blueprints
import webapp.models
from webapp import cli
from webapp.config import Settings, load_settings, use_settings
from webapp.db import db, engine_options, watch_engine
from webapp.extensions import connect_extensions
from webapp.http.formats import register_formats
from webapp.http.headers import protect, relax_programs
from webapp.http.inputs import refuse_broken_query
from webapp.http.limiting import limit_requests
from webapp.http.metrics import watch_pool
from webapp.http.problems import register_problems
from webapp.http.requestlog import RequestLog
from webapp.http.slots import Slots
from webapp.http.static import forget_forwarded, serve_static
from webapp.http.uploads import VaultRequest
from webapp.infra.logs import configure_logging
from webapp.infra.reports import start_reports

ROOT = Path(__file__).parent.parent
ORDINARY_BODY = 1024**2  # bytes; @guard(upload=True) allows more


class Vault(Flask):
    """Flask without what is never needed here: every view is synchronous, the keys of the cookie do not change."""

    request_class = VaultRequest

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.session_interface = SignedSessions()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function itself."""
        return func


class SignedSessions(SecureCookieSessionInterface):
    """Flask's own, whose signer is made once instead of in every request."""

    signer: URLSafeTimedSerializer | None = None

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:
        """Signs with the first of SECRET_KEYS, believes all of them."""
        if self.signer is None:
            self.signer = super().get_signing_serializer(app)
        return self.signer


def create_app(settings: Settings | None = None) -> Flask:
    """The application of these settings (of the environment unless given). Raises ConfigurationError."""
    settings = settings or load_settings()
    use_settings(settings)
    configure_logging(settings)
    start_reports(settings)
    if settings.mail_url is None:
        structlog.get_logger("webapp").warning("no_mail_server", hint="Set MAIL_URL; until then every mail fails.")
    app = Vault("webapp", template_folder=str(ROOT / "templates"), static_folder=None)
    app.request_class = VaultRequest
    app.config.from_mapping(flask_options(settings))
    app.before_request(_note_route)
    protect(app, settings)  # before the limiters: a refusal has the headers too
    connect_extensions(app, settings)
    limit_requests(app)
    app.before_request(refuse_broken_query)
    register_problems(app)
    register_formats(app)
    register_nouns(app)
    relax_programs(app)
    cli.register(app)
    app.jinja_env.bytecode_cache = _bytecode_cache(settings)
    with app.app_context():
        watch_engine(db.engine, settings.slow_query)
        watch_pool(db.engine)
    serve_static(app, ROOT / "static")
    app.wsgi_app = forget_forwarded(app.wsgi_app)  # type: ignore[method-assign]
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    app.wsgi_app = Slots(app.wsgi_app, settings.threads)  # type: ignore[method-assign]
    app.wsgi_app = RequestLog(app.wsgi_app)  # type: ignore[method-assign]
    return app


def flask_options(settings: Settings) -> dict[str, Any]:
    """Flask's own configuration. The first secret signs, the others are still believed."""
    first, *older = (key.get_secret_value() for key in settings.secret_keys)
    return {
        "SECRET_KEY": first,
        "SECRET_KEY_FALLBACKS": older,
        "TESTING": settings.app_env == "test",
        "PROPAGATE_EXCEPTIONS": False,
        "SESSION_COOKIE_NAME": "__Host-session" if settings.https else "session",
        "SESSION_COOKIE_SECURE": settings.https,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_PATH": "/",
        "SESSION_REFRESH_EACH_REQUEST": False,
        "SESSION_PROTECTION": None,
        "PERMANENT_SESSION_LIFETIME": timedelta(days=366),  # of the cookie; the sign-in ends by its row
        "MAX_CONTENT_LENGTH": ORDINARY_BODY,
        "MAX_FORM_MEMORY_SIZE": ORDINARY_BODY,
        "MAX_FORM_PARTS": 1000,
        "TEMPLATES_AUTO_RELOAD": settings.app_env == "development",
        "SQLALCHEMY_DATABASE_URI": settings.database_url.get_secret_value(),
        "SQLALCHEMY_ENGINE_OPTIONS": engine_options(settings),
        "WTF_CSRF_FIELD_NAME": "csrf_token",
        "WTF_CSRF_TIME_LIMIT": None,  # as long as the session
        "BABEL_TRANSLATION_DIRECTORIES": str(ROOT / "translations"),
        "COMPRESS_MIMETYPES": ["text/html", "text/css", "text/plain", "text/javascript", "application/json",
                               "application/problem+json", "image/svg+xml"],
        "COMPRESS_STREAMS": False,
        "COMPRESS_EVALUATE_CONDITIONAL_REQUEST": False,
        "RATELIMIT_HEADERS_ENABLED": False,
    }  # fmt: skip


def register_nouns(app: Flask) -> None:
    """Every module of webapp/blueprints: its `api` at /api/v1, its `pages` at /."""
    app.url_map.strict_slashes = False
    for module in pkgutil.iter_modules(webapp.blueprints.__path__):
        noun = importlib.import_module(f"webapp.blueprints.{module.name}")
        for name, prefix in (("api", "/api/v1"), ("pages", None)):
            blueprint = getattr(noun, name, None)
            if isinstance(blueprint, Blueprint):
                app.register_blueprint(blueprint, url_prefix=prefix)


def _note_route() -> None:
    rule = request.url_rule
    request.environ["holdfast.route"] = rule.rule if rule else None


def _bytecode_cache(settings: Settings) -> FileSystemBytecodeCache:
    folder = settings.var_dir / "templates"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return FileSystemBytecodeCache(str(folder))
