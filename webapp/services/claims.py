"""Roles that follow from what a provider says, at each sign-in: only those its map names are given and taken."""

from dataclasses import replace

import structlog
from sqlalchemy import delete, insert

from webapp.db import after_commit, db
from webapp.infra.idtokens import Claimed
from webapp.issuers import Issuer
from webapp.models.users import UserRole, any_role_of, any_user_with
from webapp.policies import ADMIN, Actor
from webapp.services.events import Target, record
from webapp.services.roles import permissions_held
from webapp.services.sessions import forget_identities

log = structlog.get_logger("webapp.oidc")


def settle_roles(issuer: Issuer, claimed: Claimed, actor: Actor) -> Actor:
    """The actor with the roles they hold from now on. The last administrator stays one. Must run inside a transaction.

    No claim at all counts as no group: a provider that forgets somebody's groups takes what they gave.
    """
    held = set(db.session.scalars(any_role_of(actor.id)))
    wanted = {role for group, role in issuer.roles.items() if group in claimed.groups}
    gained, lost = wanted - held, (held & set(issuer.roles.values())) - wanted
    if ADMIN in lost and not _other_administrator(actor.id):
        lost -= {ADMIN}
        log.warning("last_administrator_kept", issuer=issuer.name, user=str(actor.uuid))
    if gained or lost:
        _change(actor.id, gained, lost)
        record(actor, "user.roles_changed", Target("user", actor.uuid, actor.name, actor.id),
               {"roles": (sorted(held), sorted((held | gained) - lost)), "issuer": (None, issuer.name)})  # fmt: skip
        after_commit(forget_identities)
    roles = frozenset((held | gained) - lost)
    return replace(actor, roles=roles, permissions=permissions_held(roles))


def _change(user_id: int, gained: set[str], lost: set[str]) -> None:
    if lost:
        db.session.execute(delete(UserRole).where(UserRole.user_id == user_id, UserRole.role.in_(lost)))
    if gained:
        db.session.execute(insert(UserRole), [{"user_id": user_id, "role": role} for role in sorted(gained)])


def _other_administrator(user_id: int) -> bool:
    """Whether somebody else administers; holds all such rows, so that two do not step back for each other's sake."""
    return bool(set(db.session.scalars(any_user_with(ADMIN))) - {user_id})
