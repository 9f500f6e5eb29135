"""Accounts at providers of OpenID Connect that belong to an account here: listing, linking, unlinking."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from webapp.config import current_settings
from webapp.db import db, read_rows, transactional
from webapp.errors import Conflict, Missing
from webapp.infra.clock import now
from webapp.infra.crypto import in_row, lookup_keys
from webapp.infra.idtokens import Claimed
from webapp.issuers import Issuer
from webapp.models.factors import PASSKEY, live_factors_of
from webapp.models.identities import (
    PURPOSE,
    ExternalIdentity,
    identity_used,
    live_identities_of,
    live_identity_by,
    live_identity_of,
)
from webapp.models.users import any_password_of, live_user
from webapp.policies import Actor, require
from webapp.services.cursors import Page
from webapp.services.events import Target, record
from webapp.services.folders import check_version


class IdentityView(msgspec.Struct, frozen=True, kw_only=True):
    """An account at a provider. `provider` is its name in OIDC_ISSUERS, None where it is configured no longer."""

    id: UUID
    provider: str | None
    title: str
    issuer: str
    email: str | None
    created_at: datetime
    used_at: datetime | None
    version: int


def find_issuer(name: str) -> Issuer:
    """The provider of this name. Raises Missing."""
    for issuer in current_settings().oidc_issuers:
        if issuer.name == name:
            return issuer
    raise Missing("There is no such provider.")


def list_identities(actor: Actor) -> Page[IdentityView]:
    """The actor's, oldest first."""
    require(actor, "account.read")
    return Page(items=[_view(row) for row in read_rows(live_identities_of(actor.id))])


def find_owner(issuer: Issuer, claimed: Claimed) -> Any:
    """Columns of who is known by this (see live_identity_by). Must run inside a transaction."""
    return db.session.execute(live_identity_by(issuer.url, lookup_keys(claimed.subject, PURPOSE))).first()


def note_use(claimed: Claimed, identity_id: int) -> None:
    """Remember when it was used last, and the address of now; the key is the newest from then on."""
    values = {"subject_key": lookup_keys(claimed.subject, PURPOSE)[0]}
    if claimed.email:
        values["email"] = in_row(claimed.email, identity_id)
    db.session.execute(identity_used(identity_id, now(), values))


def link_identity(actor: Actor, issuer: Issuer, claimed: Claimed) -> None:
    """Let the actor sign in by it. Must run inside a transaction; raises Conflict for one that is linked."""
    owner = find_owner(issuer, claimed)
    if owner is not None:
        whose = "your account" if owner.id == actor.id else "another account"
        raise Conflict(f"This account of {issuer.label} is linked to {whose} already.", code="oidc_linked")
    identity = ExternalIdentity(
        user_id=actor.id, issuer=issuer.url, subject=claimed.subject, email=claimed.email, used_at=now(),
        subject_key=lookup_keys(claimed.subject, PURPOSE)[0],
    )  # fmt: skip
    db.session.add(identity)
    db.session.flush()
    record(actor, "identity.linked", Target("identity", identity.uuid, issuer.label, actor.id),
           {"issuer": (None, issuer.url)})  # fmt: skip


@transactional
def unlink_identity(actor: Actor, identity_id: UUID, expected: int | None = None) -> None:
    """Forget it. Raises Missing, Stale, and Conflict for the last way to sign in."""
    require(actor, "account.secure")
    db.session.execute(live_user(actor.id).with_for_update())  # of two that unlink at once, the second sees the first
    identity = db.session.scalar(live_identity_of(actor.id, identity_id))
    if identity is None:
        raise Missing("There is no such linked account.")
    check_version(identity.version, expected)
    if not other_ways(actor, identity_id):
        raise Conflict("This is your only way to sign in. Set a password or link another account first.",
                       code="last_way_in")  # fmt: skip
    identity.deleted_at = now()
    db.session.flush()
    record(actor, "identity.unlinked", Target("identity", identity.uuid, "", actor.id),
           {"issuer": (identity.issuer, None)})  # fmt: skip


def other_ways(actor: Actor, but: UUID) -> bool:
    """Whether the actor can sign in without this identity or passkey: by a password, by another provider that is
    configured, by another passkey. Must run inside a transaction."""
    if db.session.scalar(any_password_of(actor.id)):
        return True
    known = {issuer.url for issuer in current_settings().oidc_issuers}
    linked = [row.uuid for row in db.session.execute(live_identities_of(actor.id)) if row.issuer in known]
    passkeys = [row.uuid for row in db.session.execute(live_factors_of(actor.id)) if row.kind == PASSKEY]
    return any(way != but for way in (*linked, *passkeys))


def _view(row: Any) -> IdentityView:
    issuer = next((one for one in current_settings().oidc_issuers if one.url == row.issuer), None)
    return IdentityView(
        id=row.uuid, provider=issuer.name if issuer else None, title=issuer.label if issuer else row.issuer,
        issuer=row.issuer, email=row.email, created_at=row.created_at, used_at=row.used_at, version=row.version,
    )  # fmt: skip
