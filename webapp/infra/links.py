"""Signed words for links and cookies: readable, not to be changed, good until a moment, of one purpose each."""

import hashlib
from datetime import datetime

from itsdangerous import BadData, URLSafeSerializer

from webapp.config import current_settings
from webapp.infra.clock import now

LONGEST = 2000  # characters of a token


def sign_words(purpose: str, until: datetime, **said: str) -> str:
    """A token that says these words until then, signed with the first of SECRET_KEYS."""
    text: str = _signer(purpose).dumps({**said, "until": int(until.timestamp())})
    return text


def read_words(purpose: str, token: str) -> dict[str, str] | None:
    """What a token of this purpose says; None for one that is over, changed, or of another purpose."""
    if len(token) > LONGEST:
        return None
    try:
        said = _signer(purpose).loads(token)
    except (BadData, ValueError):
        return None
    until = said.pop("until")
    return said if until > now().timestamp() else None


def _signer(purpose: str) -> URLSafeSerializer:
    keys = [key.get_secret_value() for key in reversed(current_settings().secret_keys)]  # the last one signs
    return URLSafeSerializer(keys, f"holdfast {purpose}", signer_kwargs={"digest_method": hashlib.sha256})
