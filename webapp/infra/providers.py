"""What a provider of OpenID Connect publishes: its endpoints (Discovery 1.0) and its keys, asked for once an hour.

A provider that hangs costs one thread its time; others wait for it, and for some seconds nobody asks again.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

import structlog
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, import_key
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from webapp.errors import Unavailable
from webapp.infra.fetches import Unreached, fetch
from webapp.issuers import Issuer

FRESH, QUIET, AGAIN = 3600.0, 5.0, 10.0  # seconds: of what is known, after a failure, between two looks for new keys
MOST_KEYS = 50
K = TypeVar("K")
log = structlog.get_logger("webapp.providers")


class Metadata(BaseModel):
    """What of the provider's document we use."""

    model_config = ConfigDict(frozen=True, strict=True)

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: list[str] = ["client_secret_basic"]
    authorization_response_iss_parameter_supported: bool = False

    @field_validator("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint")
    @classmethod
    def _whole(cls, value: str | None) -> str | None:
        if value is not None and (urlsplit(value).scheme not in {"http", "https"} or not urlsplit(value).hostname):
            raise ValueError("is not a web address")
        return value


@dataclass(slots=True)
class _Known:
    """What this process knows of one provider."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    metadata: Metadata | None = None
    keys: KeySet | None = None
    asked: dict[str, float] = field(default_factory=dict)
    trouble: dict[str, tuple[str, float]] = field(default_factory=dict)


_known: dict[str, _Known] = {}
_guard = threading.Lock()


def metadata_of(issuer: Issuer) -> Metadata:
    """Its endpoints. Raises Unavailable when it does not answer, or answers what cannot be used."""
    known = _of(issuer)
    with known.lock:
        if known.metadata is None or _older(known, "metadata", FRESH):
            known.metadata = _asked(issuer, known, "metadata", lambda: _discover(issuer), known.metadata)
        return known.metadata


def keys_of(issuer: Issuer) -> KeySet:
    """The keys it signs with. Raises Unavailable."""
    address = metadata_of(issuer).jwks_uri
    known = _of(issuer)
    with known.lock:
        if known.keys is None or _older(known, "keys", FRESH):
            known.keys = _asked(issuer, known, "keys", lambda: _key_set(issuer, address), known.keys)
        return known.keys


def newer_keys_of(issuer: Issuer) -> KeySet | None:
    """The keys it signs with by now; None when somebody looked for new ones just before. Raises Unavailable."""
    address = metadata_of(issuer).jwks_uri
    known = _of(issuer)
    with known.lock:
        if not _older(known, "newer", AGAIN):
            return None
        known.asked["newer"] = time.monotonic()
        known.keys = _asked(issuer, known, "keys", lambda: _key_set(issuer, address), None)
        return known.keys


def read_document(issuer: Issuer, url: str, **options: Any) -> tuple[int, bytes]:
    """Status and body of an endpoint of this provider. Raises Unavailable."""
    try:
        answer = fetch(url, named=urlsplit(issuer.url).hostname or "", **options)
    except Unreached as error:
        raise _unavailable(issuer, error.detail) from error
    if answer.status >= 500 or answer.status == 429:
        raise _unavailable(issuer, f"status {answer.status}")
    return answer.status, answer.body


def forget_providers() -> None:
    """Ask everything anew."""
    with _guard:
        _known.clear()


def _of(issuer: Issuer) -> _Known:
    with _guard:
        return _known.setdefault(issuer.url, _Known())


def _older(known: _Known, what: str, seconds: float) -> bool:
    return time.monotonic() - known.asked.get(what, float("-inf")) > seconds


def _asked(issuer: Issuer, known: _Known, what: str, ask: Callable[[], K], former: K | None) -> K:
    """What `ask` finds; what was known before where it fails; a failure is remembered for a moment."""
    trouble, until = known.trouble.get(what, ("", 0.0))
    if former is None and time.monotonic() < until:
        raise _unavailable(issuer, trouble)
    try:
        found = ask()
    except Unavailable as error:
        known.trouble[what] = str(error.__cause__ or error), time.monotonic() + QUIET
        if former is None:
            raise
        known.asked[what] = time.monotonic() - FRESH + QUIET  # good enough until it answers again
        return former
    known.asked[what] = time.monotonic()
    return found


def _discover(issuer: Issuer) -> Metadata:
    status, body = read_document(issuer, issuer.url.rstrip("/") + "/.well-known/openid-configuration")
    try:
        metadata = Metadata.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "document"
        raise _unavailable(issuer, f"status {status}, {where}: {first['msg']}") from None
    if metadata.issuer != issuer.url:
        raise _unavailable(issuer, f"it calls itself {metadata.issuer[:200]}; the configuration must say the same")
    if issuer.url.startswith("https:") and not all(url.startswith("https:") for url in _endpoints(metadata)):
        raise _unavailable(issuer, "one of its endpoints is not https")
    return metadata


def _endpoints(metadata: Metadata) -> list[str]:
    found = (metadata.authorization_endpoint, metadata.token_endpoint, metadata.jwks_uri, metadata.userinfo_endpoint)
    return [url for url in found if url]


def _key_set(issuer: Issuer, address: str) -> KeySet:
    _, body = read_document(issuer, address)
    try:
        entries = _Keys.model_validate_json(body).keys
    except ValidationError:
        raise _unavailable(issuer, "its keys cannot be read") from None
    return KeySet([key for entry in entries[:MOST_KEYS] if (key := _public_key(entry)) is not None])


class _Keys(BaseModel):
    keys: list[dict[str, Any]]


def _public_key(entry: dict[str, Any]) -> Any:
    """A key for checking signatures; None for other kinds (RFC 7517, 5: to be ignored) and for shared secrets."""
    if entry.get("use", "sig") != "sig" or entry.get("kty") not in {"RSA", "EC", "OKP"}:
        return None
    try:
        return import_key({name: value for name, value in entry.items() if isinstance(value, str)})
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def _unavailable(issuer: Issuer, reason: str) -> Unavailable:
    log.warning("oidc_provider_failed", issuer=issuer.name, reason=reason[:500])
    error = Unavailable(f"{issuer.label} does not answer as it should. Try again in a moment.", code="oidc_provider")
    error.__cause__ = ValueError(reason)
    return error
