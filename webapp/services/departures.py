"""Leaving: deleting one's own account, and erasing what was personal of deleted ones once nobody wants them back."""

from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import delete

from webapp.db import after_commit, db, read_rows, transactional
from webapp.infra.clock import now
from webapp.models.accounts import any_account
from webapp.models.exports import DataExport
from webapp.models.factors import Challenge, Factor, RecoveryCode
from webapp.models.files import File
from webapp.models.folders import Folder
from webapp.models.grants import Grant
from webapp.models.groups import GroupMember
from webapp.models.idempotency_keys import IdempotencyKey
from webapp.models.identities import ExternalIdentity
from webapp.models.invitations import Invitation
from webapp.models.mails import Digest
from webapp.models.placements import Placement
from webapp.models.record import any_state, change_rows
from webapp.models.sessions import RefreshToken, Session
from webapp.models.shares import Share
from webapp.models.tokens import ApiToken
from webapp.models.uploads import Upload
from webapp.models.users import Credential, User, UserRole
from webapp.policies import Actor, require, system_actor
from webapp.services.accounts import find_account, refuse_without_admin
from webapp.services.credentials import prove_if_any
from webapp.services.events import Target, record
from webapp.services.inputs import Input
from webapp.services.passwords import Password
from webapp.services.purges import Work, purge_owner
from webapp.services.quotas import lock_tree
from webapp.services.sessions import end_sessions_of, forget_identities
from webapp.services.settings import read_values
from webapp.services.standings import close_account
from webapp.services.tokens import revoke_tokens_of

log = structlog.get_logger("webapp.departures")
NOBODY = "Deleted user"
PERSONAL: tuple[tuple[type[Any], Any], ...] = (
    (ApiToken, ApiToken.user_id), (ExternalIdentity, ExternalIdentity.user_id), (DataExport, DataExport.user_id),
    (Factor, Factor.user_id), (RecoveryCode, RecoveryCode.user_id), (Challenge, Challenge.user_id),
    (Share, Share.maker_id), (Credential, Credential.user_id), (UserRole, UserRole.user_id),
    (Digest, Digest.user_id), (IdempotencyKey, IdempotencyKey.user_id), (Placement, Placement.owner_id),
    (Folder, Folder.owner_id), (Upload, Upload.user_id), (GroupMember, GroupMember.user_id), (Grant, Grant.user_id),
    (Session, Session.user_id),
)  # fmt: skip


class Farewell(Input):
    """The word of a person that the account shall go: its password, where it has one."""

    current_password: Password | None = None


def delete_account(actor: Actor, wish: Farewell) -> None:
    """Delete the actor's own account and end its sessions; an administrator can restore it for a while.

    Raises Invalid for a wrong password, Limited, Conflict where no administrator would be left.
    """
    require(actor, "account.secure")
    prove_if_any(actor, wish.current_password)
    _delete(actor)


@transactional
def _delete(actor: Actor) -> None:
    user, _ = find_account(actor, actor.uuid, None)
    close_account(user)
    db.session.flush()
    refuse_without_admin()
    end_sessions_of(actor, actor.id, "account deleted")
    revoke_tokens_of(actor, actor.id, "account deleted")
    record(actor, "user.deleted", Target("user", actor.uuid, actor.name, owner_id=actor.id))
    after_commit(forget_identities)


def erase_accounts(job: Work) -> dict[str, int]:
    """Erase accounts that were deleted as long ago as the settings say: files, folders, names, sign-ins.

    The row stays without anything personal, because the audit trail and others' rows name it.
    """
    before = now() - timedelta(days=read_values().account_retention_days)
    gone = any_state(User, User.id, User.uuid).where(User.deleted_at <= before, User.erased_at.is_(None))
    rows = read_rows(gone.order_by(User.id))
    erased = sum(_erase_one(job, row) for row in rows)
    log.info("accounts_erased", erased=erased, of=len(rows))
    return {"erased": erased, "left": len(rows) - erased}


def _erase_one(job: Work, row: Any) -> bool:
    """Whether it is done; files that somebody holds just now wait for the next night."""
    _trash_all(row.id)
    purge_owner(job, row.id)
    return _forget(row.uuid)


@transactional
def _trash_all(owner_id: int) -> None:
    lock_tree(owner_id)
    moment = now()
    for model in (File, Folder):
        theirs = (model.owner_id == owner_id) & model.deleted_at.is_(None)
        statement = change_rows(model, theirs, deleted_at=moment)
        db.session.execute(statement.execution_options(synchronize_session=False))


@transactional
def _forget(uuid: Any) -> bool:
    user = db.session.scalar(any_account(uuid))
    if user is None or user.deleted_at is None or _any_file_of(user.id):
        return False
    sessions = any_state(Session, Session.id).where(Session.user_id == user.id)
    db.session.execute(delete(RefreshToken).where(RefreshToken.session_id.in_(sessions)))
    db.session.execute(delete(Invitation).where(Invitation.email_key == user.email_key))
    for model, owner in PERSONAL:
        db.session.execute(delete(model).where(owner == user.id))
    user.email = user.email_key = f"{user.uuid}@erased.invalid"
    user.name, user.locale, user.time_zone, user.erased_at = NOBODY, None, None, now()
    db.session.flush()
    record(system_actor(), "user.erased", Target("user", user.uuid))
    return True


def _any_file_of(owner_id: int) -> bool:
    return db.session.scalar(any_state(File, File.id).where(File.owner_id == owner_id).limit(1)) is not None
