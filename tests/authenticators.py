"""An authenticator in software: makes passkeys and signs as WebAuthn level 3 says, or as a test wants it wrong."""

import hashlib
import json
import secrets
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any
from urllib.parse import urlsplit

import cbor2
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

from webapp.config import current_settings

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


def text_of(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


class Authenticator:
    """One passkey. `origin` is where the browser says that it is."""

    def __init__(self, origin: str | None = None) -> None:
        self.key, self.id, self.count = generate_private_key(SECP256R1()), secrets.token_bytes(32), 0
        self.origin = origin or current_settings().origin

    def make(self, options: dict[str, Any], **wrong: Any) -> str:
        """What navigator.credentials.create gives, as JSON text."""
        numbers = self.key.public_key().public_numbers()
        public = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")})
        attested = bytes(16) + struct.pack(">H", len(self.id)) + self.id + public
        data = self._data(PRESENT | VERIFIED | ATTESTED, **wrong) + attested
        statement = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        said = self._said("webauthn.create", options, **wrong)
        return self._json({"clientDataJSON": text_of(said), "attestationObject": text_of(statement)})

    def sign(self, options: dict[str, Any], *, verified: bool = True, **wrong: Any) -> str:
        """What navigator.credentials.get gives, as JSON text."""
        self.count += 1
        data = self._data(PRESENT | (VERIFIED if verified else 0), **wrong)
        said = self._said("webauthn.get", options, **wrong)
        signature = self.key.sign(data + hashlib.sha256(said).digest(), ECDSA(SHA256()))
        if wrong.get("forged"):
            signature = signature[:-1] + bytes([signature[-1] ^ 1])
        return self._json({"clientDataJSON": text_of(said), "authenticatorData": text_of(data),
                           "signature": text_of(signature)})  # fmt: skip

    def _data(self, flags: int, host: str | None = None, **_: Any) -> bytes:
        name = host or urlsplit(current_settings().origin).hostname or ""
        return hashlib.sha256(name.encode()).digest() + bytes([flags]) + struct.pack(">I", self.count)

    def _said(self, kind: str, options: dict[str, Any], origin: str | None = None, challenge: str | None = None,
              type: str | None = None, **_: Any) -> bytes:  # noqa: A002  # fmt: skip
        asked = challenge or options["publicKey"]["challenge"]
        assert len(urlsafe_b64decode(asked + "==")) >= 16
        said = {"type": type or kind, "challenge": asked, "origin": origin or self.origin, "crossOrigin": False}
        return json.dumps(said).encode()

    def _json(self, response: dict[str, str]) -> str:
        name = text_of(self.id)
        return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": response})
