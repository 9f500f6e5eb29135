"""Signatures of webhooks as Standard Webhooks 1.0 has them: HMAC-SHA-256 over id, time and body."""

import base64
import hmac
import secrets
from collections.abc import Iterable
from datetime import datetime

PREFIX = "whsec_"
STRENGTH = 32  # bytes; the standard asks for 24 to 64


def new_secret() -> str:
    """A fresh random secret, `whsec_` and base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(STRENGTH)).decode()


def signed_headers(message_id: str, moment: datetime, body: bytes, keys: Iterable[str]) -> dict[str, str]:
    """webhook-id, webhook-timestamp and webhook-signature; one signature for each secret, separated by a blank."""
    stamp = str(int(moment.timestamp()))
    content = f"{message_id}.{stamp}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(_raw(key), content, "sha256")).decode() for key in keys)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def _raw(key: str) -> bytes:
    return base64.b64decode(key.removeprefix(PREFIX))
