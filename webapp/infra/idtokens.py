"""The authorization code flow of OpenID Connect 1.0 with PKCE (RFC 7636): the way out, and what the way back proves."""

import base64
import json
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import structlog
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError

from webapp.errors import Refused, Unavailable
from webapp.infra.providers import Metadata, keys_of, metadata_of, newer_keys_of, read_document
from webapp.issuers import Issuer

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
SKEW = 60  # seconds that clocks may differ
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
log = structlog.get_logger("webapp.providers")


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """Who somebody is, as the provider says. `email` is None unless the provider has verified it."""

    subject: str
    email: str | None
    name: str
    groups: list[str]


def authorization_url(issuer: Issuer, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
    """Where the browser goes. Raises Unavailable."""
    from authlib.oauth2.rfc6749.parameters import prepare_grant_uri  # here, because few processes ever need it
    from authlib.oauth2.rfc7636 import create_s256_code_challenge

    url: str = prepare_grant_uri(
        metadata_of(issuer).authorization_endpoint, issuer.client_id, "code", redirect_uri, " ".join(issuer.scopes),
        state, nonce=nonce, code_challenge=create_s256_code_challenge(verifier), code_challenge_method="S256",
    )  # fmt: skip
    return url


def refuse_mixed_up(issuer: Issuer, said: str | None) -> None:
    """Raise Refused when the answer names another issuer, or none where it has to (RFC 9207)."""
    expected = metadata_of(issuer).authorization_response_iss_parameter_supported
    if said != issuer.url and (said is not None or expected):
        raise untrusted(issuer, "the answer names another issuer")


def redeem_code(issuer: Issuer, code: str, verifier: str, nonce: str, redirect_uri: str) -> Claimed:
    """Exchange the code and check what comes. Raises Refused for anything untrue, Unavailable."""
    metadata = metadata_of(issuer)
    tokens = _exchange(issuer, metadata, code, verifier, redirect_uri)
    token, access = tokens.get("id_token"), tokens.get("access_token")
    if not isinstance(token, str) or not isinstance(access, str | None):
        raise untrusted(issuer, "no ID token")
    claims = _verified(issuer, token, nonce, access)
    lacks = not claims.get("email") or (issuer.roles and _dig(claims, issuer.roles_claim) is None)
    info = _user_info(issuer, metadata, access, claims["sub"]) if lacks and access else {}
    return _claimed(issuer, claims, info)


def untrusted(issuer: Issuer, reason: str) -> Refused:
    """The refusal of an answer that proves nothing; people see the same words for all reasons, the log has them."""
    log.warning("oidc_answer_refused", issuer=issuer.name, reason=reason[:500])
    return Refused(f"The answer of {issuer.label} could not be trusted. Please start again.", code="oidc_untrusted")


def _exchange(issuer: Issuer, metadata: Metadata, code: str, verifier: str, redirect_uri: str) -> dict[str, Any]:
    fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier}
    headers, secret = dict(FORM), issuer.client_secret.get_secret_value() if issuer.client_secret else None
    if secret is None:
        fields["client_id"] = issuer.client_id
    elif "client_secret_basic" in metadata.token_endpoint_auth_methods_supported:
        pair = f"{quote(issuer.client_id, safe='')}:{quote(secret, safe='')}"  # encoded first: RFC 6749, 2.3.1
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    else:
        fields |= {"client_id": issuer.client_id, "client_secret": secret}
    status, body = read_document(issuer, metadata.token_endpoint, headers=headers, body=urlencode(fields).encode())
    tokens = _object(body)
    if status != 200:
        raise untrusted(issuer, f"token endpoint: status {status}, {str(tokens.get('error'))[:100]}")
    return tokens


def _verified(issuer: Issuer, token: str, nonce: str, access: str | None) -> dict[str, Any]:
    """The claims of an ID token that is signed by the issuer, for us, now, and for this visit (Core 1.0, 3.1.3.7)."""
    from authlib.oidc.core import CodeIDToken

    options: Any = {"iss": {"essential": True, "value": issuer.url},
                    "aud": {"essential": True, "value": issuer.client_id}}  # fmt: skip
    try:
        decoded = _decode(issuer, token)
        params = {"nonce": nonce, "client_id": issuer.client_id, "access_token": access}
        claims = CodeIDToken(decoded.claims, decoded.header, options, params)
        claims.validate(leeway=SKEW)
    except ExpiredTokenError as error:
        log.warning("oidc_token_expired", issuer=issuer.name)
        raise Refused(f"The answer of {issuer.label} came too late. Please start again.", code="oidc_late") from error
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise untrusted(issuer, f"ID token: {type(error).__name__} {error}") from error
    if not 0 < len(claims["sub"]) <= 255 or not claims["sub"].isascii():
        raise untrusted(issuer, "ID token: subject")
    return dict(claims)


def _decode(issuer: Issuer, token: str) -> jwt.Token:
    """Check the signature; a key that is not known may be new, so the keys are asked for once more."""
    try:
        return jwt.decode(token, keys_of(issuer), algorithms=ALGORITHMS)
    except (JoseError, ValueError):
        newer = newer_keys_of(issuer)
        if newer is None:
            raise
        return jwt.decode(token, newer, algorithms=ALGORITHMS)


def _user_info(issuer: Issuer, metadata: Metadata, access: str, subject: str) -> dict[str, Any]:
    """What the provider tells at its userinfo endpoint, where ID tokens are kept small (Core 1.0, 5.3)."""
    if metadata.userinfo_endpoint is None:
        return {}
    headers = {"Authorization": f"Bearer {access}", "Accept": "application/json"}
    status, body = read_document(issuer, metadata.userinfo_endpoint, headers=headers)
    info = _object(body)
    if status != 200:
        raise Unavailable(f"{issuer.label} does not say who you are. Try again in a moment.", code="oidc_provider")
    if info.get("sub") != subject:
        raise untrusted(issuer, "userinfo is about somebody else")
    return info


def _claimed(issuer: Issuer, claims: dict[str, Any], info: dict[str, Any]) -> Claimed:
    about = claims if claims.get("email") else info  # address and whether it is verified belong together
    email, both = about.get("email"), {**info, **claims}
    verified = about.get("email_verified")
    proven = isinstance(email, str) and (verified is True or verified == "true")  # some send words
    name = next((both[key] for key in ("name", "preferred_username") if isinstance(both.get(key), str)), "")
    groups = _dig(claims, issuer.roles_claim)
    if groups is None:
        groups = _dig(info, issuer.roles_claim)
    listed = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
    return Claimed(subject=claims["sub"], email=email if proven else None, name=name,
                   groups=[group for group in listed if isinstance(group, str)])  # fmt: skip


def _dig(claims: dict[str, Any], path: str) -> Any:
    """A claim by its name, or by the way to it: realm_access.roles."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
