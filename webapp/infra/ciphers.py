"""AES-256-GCM under DATA_KEYS (NIST SP 800-38D): who has a value moved or changed in the database gets nothing for it.

A sealed value is the id of its key (4 bytes), nonce (12), ciphertext and tag. What is authenticated with it is its
table, column and row. Values of before decision 0036 name table and column only: their keys have ids of their own.
"""

import hashlib
import os
from functools import lru_cache
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from webapp.config import current_settings

KEY_ID, NONCE = 4, 12


class UnknownKey(Exception):
    """A value was encrypted under a key that DATA_KEYS no longer holds."""


class Damaged(Exception):
    """A value does not decrypt: changed, cut, or moved from another column or row."""


class Key(NamedTuple):
    """One of DATA_KEYS: the id in front of what it seals today, and the one in front of what it sealed by place."""

    id: bytes
    former_id: bytes
    cipher: AESGCM
    former_cipher: AESGCM


def data_keys() -> list[Key]:
    """All of DATA_KEYS, the one that encrypts first."""
    return [_key(key.get_secret_value()) for key in current_settings().data_keys]


@lru_cache(maxsize=32)
def _key(secret: str) -> Key:
    today, former = (
        HKDF(SHA256(), 32, salt=None, info=info).derive(secret.encode())
        for info in (b"holdfast row encryption", b"holdfast field encryption")
    )
    ids = [hashlib.sha256(b"key id" + key).digest()[:KEY_ID] for key in (today, former)]
    return Key(ids[0], ids[1], AESGCM(today), AESGCM(former))


def encrypt(plain: bytes, place: str, row: str) -> bytes:
    """Seal it. `place` is table and column, `row` the row's primary key: it opens only there."""
    key, nonce = data_keys()[0], os.urandom(NONCE)
    return key.id + nonce + key.cipher.encrypt(nonce, plain, f"{place}\0{row}".encode())


def decrypt(sealed: bytes, place: str, row: str, former_place: str | None = None) -> bytes:
    """The plain bytes. `former_place` is what it was bound to before decision 0036. Raises UnknownKey or Damaged."""
    key_id, nonce, body = sealed[:KEY_ID], sealed[KEY_ID : KEY_ID + NONCE], sealed[KEY_ID + NONCE :]
    keys = data_keys()
    bound = {key.id: (key.cipher, f"{place}\0{row}") for key in keys}
    former = {key.former_id: (key.former_cipher, former_place or place) for key in keys}
    cipher, words = (former | bound).get(key_id, (None, ""))
    if cipher is None:
        raise UnknownKey(f"{place}: encrypted under key {key_id.hex()}, which DATA_KEYS does not hold")
    try:
        return cipher.decrypt(nonce, body, words.encode())
    except (InvalidTag, ValueError) as error:
        raise Damaged(f"{place}: the stored value was changed or moved") from error
