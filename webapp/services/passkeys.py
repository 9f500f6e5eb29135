"""Passkeys (WebAuthn level 3): registering them, and signatures of theirs. Each challenge is signed once."""

import hashlib
import json
import struct
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from pydantic import Field

from webapp.config import current_settings
from webapp.db import db, transactional
from webapp.errors import Conflict
from webapp.infra.clock import now
from webapp.models.factors import PASSKEY, Factor, live_factors_of, live_passkey, signature_taken
from webapp.models.users import live_user
from webapp.policies import Actor, require
from webapp.services.challenges import Signature, keep_challenge, take_challenge
from webapp.services.factors import MOST, FactorMade, keep_factor, refuse_wrong
from webapp.services.inputs import Input, Line


class PasskeyOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the browser's navigator.credentials is called with (its JSON form, WebAuthn 5.1.8 and 5.1.9)."""

    publicKey: dict[str, Any]  # noqa: N815


class NewPasskey(Input):
    """What the browser made, as JSON text, and a name to know it by."""

    credential: Annotated[str, Field(max_length=20_000)]
    name: Annotated[str, Line(80)] | None = None


def possible() -> bool:
    """Whether browsers make passkeys for this vault's address: a name over https, or localhost."""
    parts = urlsplit(current_settings().origin)
    host = parts.hostname or ""
    named = ":" not in host and not host.replace(".", "").isdigit()
    return host == "localhost" or (named and parts.scheme == "https")


@transactional
def start_passkey(actor: Actor) -> PasskeyOptions:
    """Options to make a passkey. Raises Conflict for who has too many."""
    from webauthn import generate_registration_options
    from webauthn.helpers import base64url_to_bytes, structs

    require(actor, "account.secure")
    known = _credentials_of(actor.id)
    if len(known) >= MOST:
        raise Conflict(f"There are {MOST} passkeys already. Remove one first.", code="too_many")
    secret = keep_challenge(Signature(purpose="register"), actor.id)
    return _options(generate_registration_options(
        rp_id=_host(), rp_name="Holdfast", user_id=actor.uuid.bytes, user_name=actor.email,
        user_display_name=actor.name, challenge=base64url_to_bytes(secret), exclude_credentials=known,
        authenticator_selection=structs.AuthenticatorSelectionCriteria(
            resident_key=structs.ResidentKeyRequirement.PREFERRED,
            user_verification=structs.UserVerificationRequirement.PREFERRED,
        ),
    ))  # fmt: skip


def create_passkey(actor: Actor, wish: NewPasskey) -> FactorMade:
    """Keep the passkey that the browser made. Raises Invalid, Conflict for one that is known."""
    require(actor, "account.secure")
    made = _create(actor, wish)
    if made is None:
        refuse_wrong("wrong_passkey")
    return made


@transactional
def _create(actor: Actor, wish: NewPasskey) -> FactorMade | None:
    from webauthn import verify_registration_response

    db.session.execute(live_user(actor.id).with_for_update())
    said = _read(wish.credential)
    asked = take_challenge(said[1], Signature) if said else None
    if said is None or asked is None or (asked.user_id, asked.said.purpose) != (actor.id, "register"):
        return None
    try:
        verified = verify_registration_response(credential=said[0], expected_challenge=_bytes(said[1]),
                                                expected_rp_id=_host(), expected_origin=_origin())  # fmt: skip
    except _faults():
        return None
    key = _key(verified.credential_id)
    if db.session.execute(live_passkey(key)).first() or len(_credentials_of(actor.id)) >= MOST:
        raise Conflict("This passkey is in use already.", code="passkey_known")
    return keep_factor(actor, Factor(
        user_id=actor.id, kind=PASSKEY, name=wish.name or "Passkey", confirmed_at=now(), credential_key=key,
        credential_id=verified.credential_id, public_key=verified.credential_public_key,
        sign_count=verified.sign_count, synced=verified.credential_backed_up,
    ))  # fmt: skip


def ask_signature(user_id: int | None) -> PasskeyOptions:
    """Options to sign: by a passkey of this person, or of whoever has one here. Must run inside a transaction."""
    from webauthn import generate_authentication_options
    from webauthn.helpers.structs import UserVerificationRequirement as Verification

    secret = keep_challenge(Signature(purpose="enter" if user_id is None else "prove"), user_id)
    return _options(generate_authentication_options(
        rp_id=_host(), challenge=_bytes(secret), allow_credentials=_credentials_of(user_id) if user_id else None,
        user_verification=Verification.REQUIRED if user_id is None else Verification.PREFERRED,
    ))  # fmt: skip


def use_passkey(credential: str, user_id: int | None) -> tuple[Any, str | None]:
    """The passkey (see live_passkey; None where it is unknown) whose signature this is, and why it does not count,
    if so. Without a user it has to prove who used it: by a finger, a face, a PIN. Must run inside a transaction.
    """
    from webauthn import verify_authentication_response

    said = _read(credential)
    asked = take_challenge(said[1], Signature) if said else None
    purpose = "enter" if user_id is None else "prove"
    if said is None or asked is None or (asked.user_id, asked.said.purpose) != (user_id, purpose):
        return None, "wrong_passkey"
    try:
        row = db.session.execute(live_passkey(_key(_bytes(str(said[0].get("rawId")))))).first()
        if row is None or row.user_id != (user_id or row.user_id) or not _names(said[0], row.user_uuid.bytes):
            return None, "wrong_passkey"
        verified = verify_authentication_response(
            credential=said[0], expected_challenge=_bytes(said[1]), expected_rp_id=_host(), expected_origin=_origin(),
            credential_public_key=row.public_key, credential_current_sign_count=-1,  # compared below
            require_user_verification=user_id is None,
        )  # fmt: skip
    except _faults():
        return None, "wrong_passkey"
    before, count = row.sign_count, verified.new_sign_count
    if (before or count) and count <= before:  # WebAuthn 7.2, step 22
        return row, "copied_passkey"
    taken = signature_taken(row.id, before, count, now(), verified.credential_backed_up)
    return row, None if db.session.execute(taken).first() else "wrong_passkey"


def _names(document: dict[str, Any], owner: bytes) -> bool:
    """Whether the passkey, where it says whose it is, says the same as we."""
    handle = document["response"].get("userHandle")
    return handle is None or _bytes(handle) == owner


def _credentials_of(user_id: int) -> list[Any]:
    from webauthn.helpers.structs import PublicKeyCredentialDescriptor

    rows = db.session.execute(live_factors_of(user_id)).all()
    return [PublicKeyCredentialDescriptor(id=row.credential_id) for row in rows if row.kind == PASSKEY]


def _read(credential: str) -> tuple[dict[str, Any], str] | None:
    """What the browser sent, and the challenge that it says it answers."""
    try:
        document = json.loads(credential)
        challenge = json.loads(_bytes(document["response"]["clientDataJSON"]))["challenge"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return (document, challenge) if isinstance(challenge, str) and len(challenge) < 200 else None


def _options(options: Any) -> PasskeyOptions:
    from webauthn import options_to_json

    return PasskeyOptions(publicKey=json.loads(options_to_json(options)))


def _faults() -> tuple[type[Exception], ...]:
    """What a credential that nobody's browser made can raise in the library and below it."""
    from webauthn.helpers.exceptions import WebAuthnException

    return (WebAuthnException, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError,
            RecursionError, struct.error)  # fmt: skip


def _bytes(text: str) -> bytes:
    from webauthn.helpers import base64url_to_bytes

    return base64url_to_bytes(text)


def _key(credential_id: bytes) -> str:
    return hashlib.sha256(credential_id).hexdigest()


def _host() -> str:
    return urlsplit(current_settings().origin).hostname or ""


def _origin() -> str:
    return current_settings().origin
