"""The Flask extensions: identity, limits, cache, languages, migrations, compression. Their policy stands in http/."""

import ipaddress
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from flask import Flask, Response, g, request, session
from flask_babel import Babel, get_locale
from flask_caching import Cache
from flask_compress import Compress
from flask_limiter import Limiter
from flask_login import LoginManager
from flask_login.utils import _get_user
from flask_talisman import Talisman
from flask_wtf.csrf import generate_csrf
from werkzeug import Request
from werkzeug.datastructures import Headers

from webapp.config import Settings, current_settings
from webapp.db import db
from webapp.errors import HoldfastError
from webapp.infra.limits import LastingWindows  # and its module registers the scheme exact://
from webapp.policies import Actor
from webapp.services import sessions, tokens
from webapp.services.limits import count_hit
from webapp.services.sessions import Origin

ROOT = Path(__file__).parent.parent
LANGUAGES = ("en",)
USER = "holdfast.user"  # in the environ of a request: who asks, once that is known


def address_key() -> str:
    """The network that the present request comes from."""
    return network_of(request.environ)


def network_of(environ: dict[str, Any]) -> str:
    """The client's address; of IPv6 the /64 network, all of which one client may own."""
    address: str = environ.get("REMOTE_ADDR") or "unknown"
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network(f"{address.partition('%')[0]}/64", strict=False))
    except ValueError:
        return address


def caller_key() -> str:
    """Who is counted: the account, or the address of one that is not signed in."""
    actor = known_actor()
    return f"account/{actor.id}" if actor else f"address/{address_key()}"


def maybe_actor() -> Actor | None:
    """Who asks, looked up once a request; None for nobody. Raises Unauthenticated for a bad bearer token."""
    actor: Actor | None = _get_user()
    return actor


def origin_of_request() -> Origin:
    """Address, agent and id of the present request, for the audit trail and the session list."""
    environ = request.environ
    return Origin(request.remote_addr, environ.get("HTTP_USER_AGENT"), environ.get("holdfast.request_id"))


def bearer_token() -> str | None:
    """The token of `Authorization: Bearer`; other schemes are for others, such as a proxy in front."""
    header: str = request.environ.get("HTTP_AUTHORIZATION", "")
    return header[7:].strip() if header[:7].lower() == "bearer " else None


def _actor_of(_request: Request) -> Actor | None:
    token = bearer_token()
    if token is not None:
        named = tokens.actor_of_secret if token.startswith(tokens.PREFIX) else sessions.actor_of_token
        actor: Actor | None = named(token, origin_of_request())
    else:
        secret = session.get("sid")
        actor = sessions.actor_of_cookie(secret, origin_of_request()) if isinstance(secret, str) else None
    if actor is not None:
        request.environ[USER] = actor.uuid
    return actor


class Identity(LoginManager):
    """Without remember-me cookies and browser fingerprints: a session row in the database is the only way in."""

    def __init__(self) -> None:
        super().__init__()
        self.anonymous_user = lambda: None
        self._session_identifier_generator = lambda: None
        self.request_loader(_actor_of)

    def _update_remember_cookie(self, response: Response) -> Response:
        return response


class RouteLimiter(Limiter):
    """Counts in decorated views alone: all other requests pay nothing for it. A changed limit resets no count."""

    def init_app(self, app: Flask) -> None:
        super().init_app(app)
        assert self._storage is not None  # noqa: S101
        self._limiter = LastingWindows(self._storage)

    def _check_request_limit(self, callable_name: str | None = None, in_middleware: bool = True) -> None:
        if not in_middleware:
            super()._check_request_limit(callable_name, in_middleware)


class Shield(Talisman):
    """Leaves a policy alone that a view has set for itself (downloads: a sandbox), and isolates the origin."""

    def _set_content_security_policy_headers(self, headers: Headers, options: dict[str, Any]) -> None:
        own = headers.get("Content-Security-Policy")
        super()._set_content_security_policy_headers(headers, options)
        if own is not None:
            headers["Content-Security-Policy"] = own
        headers["Cross-Origin-Opener-Policy"] = headers["Cross-Origin-Resource-Policy"] = "same-origin"


babel = Babel()
cache = Cache(with_jinja2_ext=False)
compress = Compress()
login = Identity()
talisman = Shield()
exact: dict[str, Any] = {"elsewhere": count_hit}
strict = RouteLimiter(address_key, storage_uri="exact://", storage_options=exact, key_prefix="strict")


def connect_migrations(app: Flask) -> None:
    """Bind Flask-Migrate, whose Alembic only commands need: 7 MB of each process, and a tenth of its start."""
    from flask_migrate import Migrate

    Migrate(app, db, directory=str(ROOT / "migrations"))


def connect_extensions(app: Flask, settings: Settings) -> None:
    """Bind every extension to the application."""
    db.init_app(app)
    babel.init_app(app, locale_selector=_locale, timezone_selector=_time_zone)
    cache.init_app(app, _cache_options(settings))
    compress.init_app(app)
    app.jinja_env.globals["csrf_token"] = generate_csrf
    login.init_app(app, add_context_processor=False)
    app.before_request(_forget_identity)
    strict.init_app(app)


def _forget_identity() -> None:
    """What flask-login, flask-wtf and guard keep in `g` is of one request; the application context may be older."""
    for name in ("_login_user", "csrf_token", "form_proven"):
        g.pop(name, None)


def known_actor() -> Actor | None:
    """Who asks, where a bad token may count as nobody: to choose a language, a limit, an error page."""
    try:
        return maybe_actor()
    except HoldfastError:
        return None


def _locale() -> str | None:
    actor = known_actor()
    if actor and actor.locale in LANGUAGES:
        return actor.locale
    return request.accept_languages.best_match(LANGUAGES, "en")


def _time_zone() -> ZoneInfo:
    actor = known_actor()
    try:
        return ZoneInfo(actor.time_zone) if actor and actor.time_zone else current_settings().zone
    except (ValueError, OSError):
        return current_settings().zone


def language() -> str:
    """The language of the present page, for its lang attribute."""
    locale = get_locale()
    return str(locale).replace("_", "-") if locale else "en"


def _cache_options(settings: Settings) -> dict[str, object]:
    if settings.redis_url is None:
        return {"CACHE_TYPE": "webapp.infra.cache.ProcessCache"}
    return {"CACHE_TYPE": "webapp.infra.cache.RedisCache", "CACHE_REDIS_URL": settings.redis_url.get_secret_value()}
