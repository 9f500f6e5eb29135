"""Personal tokens: made, listed and revoked by their owner; who asks with one has no more than its scopes.

`hf_`, 32 random characters, 6 of checksum: a scanner of sources finds one by its shape, and a mistyped one costs no
look-up.
"""

import ipaddress
import secrets
import string
import zlib
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any
from uuid import UUID

import msgspec
from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError
from sqlalchemy import bindparam

from webapp.db import after_commit, db, read_row, read_rows, transactional
from webapp.errors import Conflict, Invalid, Missing, Refused, Unauthenticated
from webapp.infra.clock import now
from webapp.infra.memory import Memory
from webapp.models.record import change_rows
from webapp.models.tokens import ApiToken, live_token_count, live_token_of, live_token_owner, live_tokens_of
from webapp.policies import SCOPES, Actor, require
from webapp.services.cursors import Page, decode_cursor, page_of
from webapp.services.events import Target, record
from webapp.services.folders import check_version, find_folder
from webapp.services.inputs import Input, Line, split_commas
from webapp.services.presence import note_token_use
from webapp.services.sessions import (
    Identity,
    Origin,
    actor_of,
    forget_identities,
    hash_of,
    identity_from,
    remembered,
)

PREFIX, BODY, CHECK, SHOWN = "hf_", 32, 6, 8
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
MOST = 50  # tokens of one account
BY_SECRET = live_token_owner().where(ApiToken.secret_hash == bindparam("key"))
_told: Memory[tuple[int, str], bool] = Memory(max_age=3600, size=4096)  # of refused addresses, once an hour


def _known(name: str) -> str:
    if name not in SCOPES:
        raise PydanticCustomError("unknown_scope", "There is no such scope")
    return name


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise PydanticCustomError(
            "network", "Write an address or a range, as in 192.0.2.0/24 or 2001:db8::/32"
        ) from None


Name = Annotated[str, Line(80)]
Scope = Annotated[str, Field(json_schema_extra={"enum": sorted(SCOPES)}), AfterValidator(_known)]
Scopes = Annotated[list[Scope], Field(min_length=1, max_length=200)]
Network = Annotated[str, Field(max_length=50), AfterValidator(_network)]
Networks = Annotated[list[Network], Field(max_length=20, description="Only from these addresses; none: from anywhere")]


class NewToken(Input):
    """A token to make. `scopes` are permissions of yours; `folder_id` limits it to that folder and what is inside."""

    name: Name
    scopes: Scopes
    folder_id: UUID | None = None
    networks: Networks = Field(default=[])
    days: Annotated[int, Field(ge=1, le=366, description="How long it is good")] = 90


class TokenForm(NewToken):
    """The same from a page."""

    scopes: Annotated[Scopes, BeforeValidator(split_commas)] = Field(default=[], validate_default=True)
    networks: Annotated[Networks, BeforeValidator(split_commas)] = Field(default=[])


class TokenChange(Input):
    """Changes; what is absent stays."""

    name: Name | None = None
    scopes: Scopes | None = None
    networks: Networks | None = None


class TokenFilter(Input):
    """A page of tokens, newest first."""

    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class TokenView(msgspec.Struct, frozen=True, kw_only=True):
    """A token without its secret; `prefix` is how that begins. `last_used_at` may be a minute old."""

    id: UUID
    name: str
    prefix: str
    scopes: list[str]
    folder_id: UUID | None
    folder: str | None
    networks: list[str]
    created_at: datetime
    updated_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    last_used_address: str | None
    version: int


class NewTokenView(TokenView, frozen=True, kw_only=True):
    """A token with its secret, which is shown in this answer and never again; only the same request with the same
    Idempotency-Key gets it once more within 24 hours, from a store that is encrypted."""

    token: str


def new_secret() -> str:
    """A fresh random token."""
    body = "".join(secrets.choice(ALPHABET) for _ in range(BODY))
    return f"{PREFIX}{body}{_checksum(body)}"


def well_formed(token: str) -> bool:
    """Whether this has the shape of a token and its checksum."""
    body, check = token[len(PREFIX) : -CHECK], token[-CHECK:]
    return token.startswith(PREFIX) and len(body) == BODY and token.isascii() and check == _checksum(body)


def _checksum(body: str) -> str:
    """CRC-32 in base 62, as GitHub's tokens have it."""
    number, digits = zlib.crc32(body.encode()), ""
    while number:
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits.rjust(CHECK, "0")


def actor_of_secret(token: str, origin: Origin) -> Actor:
    """The actor of a personal token. Raises Unauthenticated, Refused for an address that it is not meant for."""
    identity = None
    if well_formed(token):
        key = hash_of(token)
        identity = remembered(f"token {key}", lambda: _read(key, origin))
    if identity is None:
        raise Unauthenticated("This token is not valid, is over or was revoked.", code="token_invalid")
    actor = actor_of(identity, origin)
    if identity.networks and not within(origin.address, identity.networks):
        _tell(actor)
        raise Refused("This token is not meant for your address.", code="token_address")
    return actor


def _read(key: str, origin: Origin) -> Identity | None:
    row = read_row(BY_SECRET, {"key": key})
    if row is None:
        return None
    if row.expires_at > now() and (not row.networks or within(origin.address, tuple(row.networks))):
        note_token_use(db.engine, row.token_id, row.last_used_at, origin.address)
    return identity_from(row)


def within(address: str | None, networks: tuple[str, ...]) -> bool:
    """Whether the address lies in one of the ranges; an IPv4 address written as IPv6 counts as what it is."""
    try:
        here: Any = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return False
    plain = getattr(here, "ipv4_mapped", None) or here
    return any(plain in network for network in _parsed(networks))


@lru_cache(maxsize=1024)
def _parsed(networks: tuple[str, ...]) -> list[Any]:
    return [ipaddress.ip_network(network) for network in networks]


def _tell(actor: Actor) -> None:
    """Note the refusal in the audit trail, once an hour for a token and address."""
    about = (actor.token_id or 0, actor.address or "")
    if _told.get(about):
        return
    _told.put(about, True, _told.mark())
    _note_refusal(actor)


@transactional
def _note_refusal(actor: Actor) -> None:
    token = db.session.get_one(ApiToken, actor.token_id)
    record(actor, "token.refused", _target(token), {"reason": (None, "address")})


def list_tokens(actor: Actor, wish: TokenFilter) -> Page[TokenView]:
    """The actor's tokens, those that ran out lately, too."""
    require(actor, "account.read")
    return tokens_of(actor.id, wish)


def tokens_of(user_id: int, wish: TokenFilter) -> Page[TokenView]:
    """The tokens of an account."""
    chosen = live_tokens_of(user_id).limit(wish.limit + 1)
    if wish.cursor:
        chosen = chosen.where(ApiToken.id < decode_cursor(wish.cursor, (int,), of="tokens")[0])
    return page_of(read_rows(chosen), wish.limit, _row_view, lambda row: (row.row_id,), of="tokens")


def show_token(actor: Actor, token_id: UUID) -> TokenView:
    """One of the actor's. Raises Missing."""
    require(actor, "account.read")
    row = read_row(live_tokens_of(actor.id).where(ApiToken.uuid == token_id))
    if row is None:
        raise Missing("There is no such token.")
    return _row_view(row)


@transactional
def create_token(actor: Actor, wish: NewToken) -> NewTokenView:
    """Make one; this answer alone holds the token. A token makes none.

    Raises Invalid for scopes that are not the actor's or an unknown folder, Conflict for too many, Refused.
    """
    require(actor, "account.secure")
    if actor.token_id is not None:
        raise Refused("A token cannot make another one.", code="token_makes_none")
    _refuse_beyond(actor, wish.scopes)
    if (db.session.scalar(live_token_count(actor.id)) or 0) >= MOST:
        raise Conflict(f"You have {MOST} tokens. Revoke some first.", code="too_many")
    secret = new_secret()
    token = ApiToken(user_id=actor.id, name=wish.name, prefix=secret[:SHOWN], secret_hash=hash_of(secret),
                     scopes=sorted(set(wish.scopes)), folder_id=_folder(actor, wish.folder_id),
                     networks=sorted(set(wish.networks)), expires_at=now() + timedelta(days=wish.days))  # fmt: skip
    db.session.add(token)
    db.session.flush()
    record(actor, "token.created", _target(token), {"scopes": (None, token.scopes), "networks": (None, token.networks),
                                                    "expires_at": (None, token.expires_at.isoformat())})  # fmt: skip
    return NewTokenView(**msgspec.structs.asdict(_view(token)), token=secret)


@transactional
def change_token(actor: Actor, token_id: UUID, wish: TokenChange, expected: int | None = None) -> TokenView:
    """Change one of the actor's. Raises Missing, Stale, Invalid."""
    require(actor, "account.secure")
    token = _find(actor.id, token_id, expected)
    _refuse_beyond(actor, set(wish.scopes or ()) - set(token.scopes))
    wishes = {name: getattr(wish, name) for name in wish.model_fields_set if getattr(wish, name) is not None}
    wishes |= {name: sorted(set(wishes[name])) for name in ("scopes", "networks") if name in wishes}
    changes = {name: (getattr(token, name), value) for name, value in wishes.items() if getattr(token, name) != value}
    for name, (_before, value) in changes.items():
        setattr(token, name, value)
    if changes:
        db.session.flush()
        record(actor, "token.changed", _target(token), changes)
        after_commit(forget_identities)
    return _view(token)


@transactional
def revoke_token(actor: Actor, token_id: UUID, expected: int | None = None) -> None:
    """Revoke one of the actor's: it is dead at once. Raises Missing, Stale."""
    require(actor, "account.secure")
    token = _find(actor.id, token_id, expected)
    token.deleted_at = now()
    db.session.flush()
    record(actor, "token.revoked", _target(token), {"reason": (None, "by its owner")})
    after_commit(forget_identities)


def revoke_tokens_of(actor: Actor, user_id: int, reason: str) -> list[str]:
    """Revoke all of an account; returns their names. Must run inside a transaction."""
    row = change_rows(ApiToken, ApiToken.user_id == user_id, ApiToken.deleted_at.is_(None), deleted_at=now())
    row = row.returning(ApiToken.uuid, ApiToken.name)
    gone = db.session.execute(row, execution_options={"synchronize_session": False}).all()
    for uuid, name in gone:
        record(actor, "token.revoked", Target("token", uuid, name, user_id), {"reason": (None, reason)})
    after_commit(forget_identities)
    return sorted(name for _uuid, name in gone)


def _find(user_id: int, token_id: UUID, expected: int | None) -> ApiToken:
    token = db.session.scalar(live_token_of(user_id, token_id))
    if token is None:
        raise Missing("There is no such token.")
    check_version(token.version, expected)
    return token


def _refuse_beyond(actor: Actor, scopes: Any) -> None:
    if beyond := sorted(name for name in scopes if not actor.can(name)):
        raise Invalid.field("scopes", "beyond_yours", f"You do not hold {', '.join(beyond)} yourself.")


def _folder(actor: Actor, folder_id: UUID | None) -> int | None:
    if folder_id is None:
        return None
    try:
        return find_folder(actor, folder_id).id
    except Missing as error:
        raise Invalid.field("folder_id", "unknown_folder", "There is no such folder.") from error


def _target(token: ApiToken) -> Target:
    return Target("token", token.uuid, token.name, token.user_id)


def _view(token: ApiToken) -> TokenView:
    return _row_view(db.session.execute(live_tokens_of(token.user_id).where(ApiToken.id == token.id)).one())


def _row_view(row: Any) -> TokenView:
    return TokenView(
        id=row.uuid, name=row.name, prefix=row.prefix, scopes=list(row.scopes), folder_id=row.folder_uuid,
        folder=row.folder_name, networks=list(row.networks), created_at=row.created_at, updated_at=row.updated_at,
        expires_at=row.expires_at, last_used_at=row.last_used_at, last_used_address=row.last_used_address,
        version=row.version,
    )  # fmt: skip
