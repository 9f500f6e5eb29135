"""Access tokens of programs: JWTs (RFC 7519, 8725) of one named algorithm that prove a session for some minutes."""

import hashlib
import time
from datetime import timedelta
from functools import lru_cache
from uuid import UUID

import msgspec
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwk import KeySet, OctKey
from joserfc.jwt import ClaimsOption
from uuid_utils.compat import uuid4

from webapp.config import current_settings
from webapp.errors import Unauthenticated
from webapp.infra.memory import Memory

ALGORITHM = "HS256"
LEEWAY = 5  # seconds between the clocks of two hosts
LONGEST = 4096  # characters; ours have about 500


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a verified access token says: the session, its user, and when it runs out (seconds since 1970)."""

    session: UUID
    user: UUID
    expires: float


_verified: Memory[str, Claims] = Memory(max_age=900, size=4096)


def issue_access_token(user: UUID, session: UUID, life: timedelta | None = None) -> str:
    """A token of this session, signed with the first of JWT_KEYS, good for ACCESS_TOKEN_LIFE unless said otherwise."""
    settings, moment = current_settings(), int(time.time())
    keys = _keys()
    claims = {
        "iss": settings.origin, "aud": audience(), "sub": str(user), "sid": str(session), "typ": "access",
        "iat": moment, "nbf": moment, "exp": moment + int((life or settings.access_token_life).total_seconds()),
        "jti": uuid4().hex,
    }  # fmt: skip
    return jwt.encode({"alg": ALGORITHM, "kid": keys.keys[0].kid}, claims, keys.keys[0], algorithms=[ALGORITHM])


def read_access_token(token: str) -> Claims:
    """The claims, when signature, algorithm, issuer, audience, times and type are right. Raises Unauthenticated.

    Says nothing about whether the session still lives.
    """
    claims = _verified.get(token)
    if claims is None:
        mark = _verified.mark()
        claims = _verify(token)
        _verified.put(token, claims, mark)
    if claims.expires + LEEWAY <= time.time():
        raise Unauthenticated("This access token is over. Refresh it.", code="token_expired")
    return claims


def audience() -> str:
    """For whom the tokens are: the API of this installation."""
    return f"{current_settings().origin}/api/v1"


def _verify(token: str) -> Claims:
    if len(token) > LONGEST:
        raise Unauthenticated("This access token is not valid.", code="token_invalid")
    given: ClaimsOption = {"essential": True}
    demands = jwt.JWTClaimsRegistry(
        leeway=LEEWAY,
        iss={"essential": True, "value": current_settings().origin},
        aud={"essential": True, "value": audience()},
        typ={"essential": True, "value": "access"},
        exp=given, nbf=given, iat=given, sub=given, sid=given,
    )  # fmt: skip
    try:
        claims = jwt.decode(token, _keys(), algorithms=[ALGORITHM]).claims
        demands.validate(claims)
        return Claims(session=UUID(claims["sid"]), user=UUID(claims["sub"]), expires=float(claims["exp"]))
    except ExpiredTokenError as error:
        raise Unauthenticated("This access token is over. Refresh it.", code="token_expired") from error
    except (JoseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Unauthenticated("This access token is not valid.", code="token_invalid") from error


def _keys() -> KeySet:
    return _key_set(tuple(key.get_secret_value() for key in current_settings().jwt_keys))


@lru_cache(maxsize=4)
def _key_set(secrets: tuple[str, ...]) -> KeySet:
    return KeySet([OctKey.import_key(secret, {"kid": _key_id(secret), "alg": ALGORITHM}) for secret in secrets])


def _key_id(secret: str) -> str:
    return hashlib.sha256(b"kid\0" + secret.encode()).hexdigest()[:16]
