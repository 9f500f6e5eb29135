"""Invitations: an address may make its account, with a role, until a day; the mailed link proves the address."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import Field

from webapp.config import current_settings
from webapp.db import db, read_row, read_rows, transactional
from webapp.errors import Conflict, Gone, Missing
from webapp.infra.clock import now
from webapp.infra.links import read_words, sign_words
from webapp.models.invitations import Invitation, live_invitation, live_invitations, live_open_invitations
from webapp.models.roles import any_permissions_of_user
from webapp.models.users import any_role_of, live_user, live_user_by_email
from webapp.policies import MEMBER, Actor, permissions_of, require
from webapp.services.auth import SignIn
from webapp.services.cursors import Page, decode_cursor, page_of
from webapp.services.events import Target, record
from webapp.services.folders import check_version
from webapp.services.inputs import Input, Line
from webapp.services.mails import Recipient, send_mail
from webapp.services.passwords import Password
from webapp.services.resets import stranger
from webapp.services.roles import may_give
from webapp.services.sessions import Origin
from webapp.services.users import Email, Name, Person, email_key, hash_new_password, insert_user, refuse_beyond

OVER = "This invitation was accepted, taken back, or is over. Ask whoever invited you for another."


class NewInvitation(Input):
    """Whom to invite, with which role, for how many days."""

    email: Email
    role: Annotated[str, Line(40)] = MEMBER
    days: Annotated[int, Field(ge=1, le=30)] = 7


class InvitationFilter(Input):
    """Which invitations to list, newest first."""

    state: Literal["open", "accepted", "expired"] | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class Acceptance(Input):
    """The token of a mailed invitation, and who accepts it."""

    token: Annotated[str, Line(2000)]
    name: Name
    password: Password


class InvitationView(msgspec.Struct, frozen=True, kw_only=True):
    """An invitation. `state` is open, accepted or expired."""

    id: UUID
    email: str
    role: str
    inviter: str
    state: str
    expires_at: datetime
    accepted_at: datetime | None
    created_at: datetime
    version: int

    @property
    def beside(self) -> str:
        """What time changes, though it raises no version."""
        return self.state


def list_invitations(actor: Actor, query: InvitationFilter) -> Page[InvitationView]:
    """All that were not taken back. Raises Invalid for a foreign cursor."""
    require(actor, "invitations.read")
    moment, chosen = now(), live_invitations().order_by(Invitation.id.desc()).limit(query.limit + 1)
    if query.state == "accepted":
        chosen = chosen.where(Invitation.accepted_at.is_not(None))
    elif query.state:
        later = Invitation.expires_at > moment
        chosen = chosen.where(Invitation.accepted_at.is_(None), later if query.state == "open" else ~later)
    if query.cursor:
        chosen = chosen.where(Invitation.id < decode_cursor(query.cursor, (int,), of="invitations")[0])
    return page_of(read_rows(chosen), query.limit, _view, lambda row: (row.row_id,), of="invitations")


def show_invitation(actor: Actor, invitation_id: UUID) -> InvitationView:
    """One of them. Raises Missing."""
    require(actor, "invitations.read")
    row = read_row(live_invitations().where(Invitation.uuid == invitation_id))
    if row is None:
        raise Missing("There is no such invitation.")
    return _view(row)


@transactional
def create_invitation(actor: Actor, wish: NewInvitation) -> InvitationView:
    """Invite an address by mail; an earlier invitation of it is taken back.

    Raises Conflict where it has an account, Refused for a role beyond the actor's own, Invalid for an unknown one.
    """
    require(actor, "invitations.write")
    refuse_beyond(actor, frozenset({wish.role}), "role")
    key, moment = email_key(wish.email), now()
    if db.session.scalar(live_user_by_email(key)):
        raise Conflict("There is already an account with this e-mail.", code="email_taken")
    for earlier in db.session.scalars(live_open_invitations(key, moment)):
        earlier.deleted_at = moment
    invitation = Invitation(email=wish.email, email_key=key, role=wish.role, inviter_id=actor.id,
                            expires_at=moment + timedelta(days=wish.days))  # fmt: skip
    db.session.add(invitation)
    db.session.flush()
    _send(actor, invitation)
    record(actor, "invitation.created", _target(invitation), {"role": (None, wish.role)})
    return _view(db.session.execute(live_invitations().where(Invitation.id == invitation.id)).one())


@transactional
def resend_invitation(actor: Actor, invitation_id: UUID) -> None:
    """Mail it again. Raises Missing, Conflict for one that was accepted or is over."""
    require(actor, "invitations.write")
    invitation = _found(invitation_id)
    if invitation.accepted_at is not None or invitation.expires_at <= now():
        raise Conflict("It was accepted, or is over. Invite the person anew.", code="not_open")
    _send(actor, invitation)
    record(actor, "invitation.sent_again", _target(invitation))


@transactional
def delete_invitation(actor: Actor, invitation_id: UUID, expected: int | None = None) -> None:
    """Take it back: its link is dead. An account that it became stays. Raises Missing, Stale."""
    require(actor, "invitations.write")
    invitation = _found(invitation_id)
    check_version(invitation.version, expected)
    invitation.deleted_at = now()
    db.session.flush()
    record(actor, "invitation.deleted", _target(invitation))


def check_invitation(token: str) -> InvitationView:
    """What this link invites to. Raises Gone."""
    said = read_words("invitation", token)
    row = read_row(live_invitations().where(Invitation.uuid == UUID(said["id"]))) if said else None
    if row is None or (view := _view(row)).state != "open":
        raise Gone(OVER)
    return view


def accept_invitation(wish: Acceptance, origin: Origin) -> SignIn:
    """Make the account; returns what signs it in. Of two at once one makes it.

    Raises Gone for a link that is over, Invalid for a weak password, Conflict where the address has an account by now.
    """
    invited = check_invitation(wish.token)
    password_hash = hash_new_password(wish.name, invited.email, wish.password)
    _accept(invited, wish.name, password_hash, origin)
    return SignIn(email=invited.email, password=wish.password)


@transactional
def _accept(invited: InvitationView, name: str, password_hash: str, origin: Origin) -> None:
    invitation = db.session.scalar(live_invitation(invited.id))
    if invitation is None or invitation.accepted_at is not None or not _still_given(invitation):
        raise Gone(OVER)
    invitation.accepted_at = now()
    person = Person(email=invitation.email, name=name)
    actor = insert_user(stranger(origin), person, invitation.role, password_hash)
    record(actor, "invitation.accepted", _target(invitation))


def _still_given(invitation: Invitation) -> bool:
    """Whether who invited may still sign in, invite, and give this role."""
    user = db.session.scalar(live_user(invitation.inviter_id))
    if user is None or user.suspended_at is not None:
        return False
    roles = frozenset(db.session.scalars(any_role_of(user.id)))
    held = permissions_of(roles, db.session.scalars(any_permissions_of_user(), {"user_id": user.id}))
    inviter = Actor(id=user.id, uuid=user.uuid, email=user.email, name=user.name, roles=roles, permissions=held)
    return inviter.can("invitations.write") and may_give(inviter, frozenset({invitation.role}))


def _send(actor: Actor, invitation: Invitation) -> None:
    token = sign_words("invitation", invitation.expires_at, id=str(invitation.uuid))
    variables = {"url": f"{current_settings().origin}/invitations/{token}", "inviter": actor.name,
                 "until": invitation.expires_at.isoformat()}  # fmt: skip
    send_mail(actor, "invitation", Recipient(invitation.email, "", actor.locale), variables)


def _found(invitation_id: UUID) -> Invitation:
    invitation = db.session.scalar(live_invitation(invitation_id))
    if invitation is None:
        raise Missing("There is no such invitation.")
    return invitation


def _target(invitation: Invitation) -> Target:
    return Target("invitation", invitation.uuid, invitation.email)


def _view(row: Any) -> InvitationView:
    state = "accepted" if row.accepted_at else "open" if row.expires_at > now() else "expired"
    return InvitationView(id=row.uuid, email=row.email, role=row.role, inviter=row.inviter, state=state,
                          expires_at=row.expires_at, accepted_at=row.accepted_at, created_at=row.created_at,
                          version=row.version)  # fmt: skip
