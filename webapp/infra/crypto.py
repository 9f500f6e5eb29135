"""Secrets and personal fields at rest: AES-256-GCM under DATA_KEYS, the key's id in front (NIST SP 800-38D)."""

import base64
import hashlib
import hmac
import os
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import LargeBinary
from sqlalchemy.types import TypeDecorator

from webapp.config import current_settings

KEY_ID, NONCE = 4, 12


class UnknownKey(Exception):
    """A value was encrypted under a key that DATA_KEYS no longer holds."""


class Damaged(Exception):
    """A value does not decrypt: changed, cut, or moved from another column."""


@lru_cache(maxsize=32)
def _cipher(secret: str) -> tuple[bytes, AESGCM]:
    key = HKDF(SHA256(), 32, salt=None, info=b"holdfast field encryption").derive(secret.encode())
    return hashlib.sha256(b"key id" + key).digest()[:KEY_ID], AESGCM(key)


def _ciphers() -> list[tuple[bytes, AESGCM]]:
    return [_cipher(key.get_secret_value()) for key in current_settings().data_keys]


def encrypt(plain: bytes, place: str) -> bytes:
    """Key id (4), nonce (12), ciphertext and tag. `place` is authenticated: a value decrypts only where it belongs."""
    key_id, cipher = _ciphers()[0]
    nonce = os.urandom(NONCE)
    return key_id + nonce + cipher.encrypt(nonce, plain, place.encode())


def decrypt(sealed: bytes, place: str) -> bytes:
    """The plain bytes. Raises UnknownKey or Damaged."""
    cipher = dict(_ciphers()).get(bytes(sealed[:KEY_ID]))
    if cipher is None:
        raise UnknownKey(f"{place}: encrypted under key {sealed[:KEY_ID].hex()}, which DATA_KEYS does not hold")
    try:
        return cipher.decrypt(sealed[KEY_ID : KEY_ID + NONCE], sealed[KEY_ID + NONCE :], place.encode())
    except InvalidTag as error:
        raise Damaged(f"{place}: the stored value was changed") from error


def keyed_digest(value: str, purpose: str) -> str:
    """HMAC-SHA-256 under the first of SECRET_KEYS, for look-ups of what must not be stored plain."""
    key = current_settings().secret_keys[0].get_secret_value().encode()
    return base64.urlsafe_b64encode(hmac.digest(key, f"{purpose}\0{value}".encode(), "sha256")).decode().rstrip("=")


def lookup_keys(value: str, purpose: str) -> list[str]:
    """Digests under every one of DATA_KEYS, to find what is stored encrypted: store the first, look for all of them.

    Each key makes its own, so that what was stored before a rotation is found after it.
    """
    message = f"{purpose}\0{value}".encode()
    return [_digest(key.get_secret_value(), message) for key in current_settings().data_keys]


def _digest(secret: str, message: bytes) -> str:
    return base64.urlsafe_b64encode(hmac.digest(_lookup_key(secret), message, "sha256")).decode().rstrip("=")


@lru_cache(maxsize=32)
def _lookup_key(secret: str) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"holdfast lookup").derive(secret.encode())


class EncryptedText(TypeDecorator[str]):
    """A text column stored encrypted; `place` names table and column and binds the value to them."""

    impl = LargeBinary
    cache_ok = True

    def __init__(self, place: str) -> None:
        super().__init__()
        self.place = place

    def process_bind_param(self, value: str | None, dialect: Any) -> bytes | None:
        return None if value is None else encrypt(value.encode(), self.place)

    def process_result_value(self, value: bytes | None, dialect: Any) -> str | None:
        return None if value is None else decrypt(value, self.place).decode()
