"""Public links: made, changed, revoked, revived and removed by who may share the file or folder."""

import secrets
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from webapp.db import db, transactional
from webapp.errors import Conflict, Invalid, Missing, Refused
from webapp.infra.clock import now
from webapp.models.files import File
from webapp.models.folders import Folder
from webapp.models.shares import Share, live_share_count, live_shares
from webapp.policies import Actor, require
from webapp.services import passwords
from webapp.services.events import Target, record
from webapp.services.files import find_file
from webapp.services.folders import check_version, find_folder
from webapp.services.passwords import Password
from webapp.services.sessions import hash_of
from webapp.services.settings import in_force
from webapp.services.sharing import NewShare, ShareChange, ShareView, find_row, view_of
from webapp.services.users import email_key

BYTES = 18  # of a token: 144 bits
SHORTEST = 8  # characters of a link's password: guesses are few, and it is told to others
MOST = 1000  # links of one account


def create_share(actor: Actor, wish: NewShare) -> ShareView:
    """Make a link. Raises Missing, Refused for who may not share it or acts as somebody else, Invalid, Conflict."""
    require(actor, "files.share")
    if actor.impersonator is not None:  # it would outlive the half hour
        raise Refused("Who acts as somebody else makes no links.", code="acting")
    return _create(actor, wish, _hashed(wish.password))


def _end(expires_at: datetime | None, *, asked: bool) -> datetime | None:
    """When a link ends: as `asked`, else as the settings say. Raises Invalid beyond what they allow."""
    values = in_force()
    most = now() + timedelta(days=values.link_most_days) if values.link_most_days else None
    if not asked:
        days = values.link_default_days
        wanted = now() + timedelta(days=days) if days else most
        return min(wanted, most) if wanted and most else wanted
    if most is not None and (expires_at is None or expires_at > most + timedelta(minutes=1)):
        raise Invalid.field("expires_at", "too_late", f"A link is good for {values.link_most_days} days at most.")
    return expires_at


@transactional
def _create(actor: Actor, wish: NewShare, password_hash: str | None) -> ShareView:
    thing: File | Folder
    if wish.file_id is not None:
        thing, place = find_file(actor, wish.file_id, "files.share"), "file"
    else:
        assert wish.folder_id is not None  # noqa: S101
        thing, place = find_folder(actor, wish.folder_id, "files.share"), "folder"
    if (db.session.scalar(live_share_count(actor.id)) or 0) >= MOST:
        raise Conflict(f"You have {MOST} links. Remove some first.", code="too_many")
    token, end = secrets.token_urlsafe(BYTES), _end(wish.expires_at, asked="expires_at" in wish.model_fields_set)
    share = Share(maker_id=actor.id, **{f"{place}_id": thing.id}, label=wish.label, token=token,
                  token_hash=hash_of(token), password_hash=password_hash, recipients=_packed(wish.recipients),
                  expires_at=end, download_limit=wish.download_limit, upload_only=wish.upload_only,
                  view_only=wish.view_only, strip_metadata=wish.strip_metadata)  # fmt: skip
    db.session.add(share)
    db.session.flush()
    told = {place: (None, str(thing.uuid)), "expires_at": (None, _text(end)),
            "download_limit": (None, wish.download_limit), "password": (None, password_hash is not None),
            "upload_only": (None, wish.upload_only)}  # fmt: skip
    record(actor, "share.created", Target("share", share.uuid, thing.name, actor.id), told)
    return _view(actor, share)


def change_share(actor: Actor, share_id: UUID, wish: ShareChange, expected: int | None = None) -> ShareView:
    """Change a link; a new password ends what the old one opened. Raises Missing, Refused, Stale, Invalid."""
    require(actor, "files.share")
    if actor.impersonator is not None:
        raise Refused("Who acts as somebody else changes no links.", code="acting")
    return _change(actor, share_id, wish, expected, _hashed(wish.password))


@transactional
def _change(
    actor: Actor, share_id: UUID, wish: ShareChange, expected: int | None, password_hash: str | None
) -> ShareView:
    row, share = _find(actor, share_id, expected)
    wishes = _wishes(wish, password_hash)
    if share.upload_only and wishes.get("view_only"):
        raise Invalid.field("view_only", "folders_take_uploads", "Nothing is seen of a folder that takes uploads.")
    changed = {name: value for name, value in wishes.items() if getattr(share, name) != value}
    if not changed:
        return view_of(actor, row)
    told = {name: _told(name, getattr(share, name), value) for name, value in changed.items()}
    for name, value in changed.items():
        setattr(share, name, value)
    if "expires_at" in changed:
        share.warned_at = None
    db.session.flush()
    record(actor, "share.changed", _target(row), told)
    return _view(actor, share)


def _wishes(wish: ShareChange, password_hash: str | None) -> dict[str, Any]:
    """Columns and their new values; null is nothing of the kind."""
    wishes: dict[str, Any] = {name: getattr(wish, name) for name in wish.model_fields_set}
    for name, nothing in (("label", ""), ("view_only", False), ("strip_metadata", False)):
        if name in wishes and wishes[name] is None:
            wishes[name] = nothing
    if "recipients" in wishes:
        wishes["recipients"] = _packed(wishes["recipients"])
    if "expires_at" in wishes:
        wishes["expires_at"] = _end(wishes["expires_at"], asked=True)
    if wishes.pop("password", wish) is not wish:
        wishes["password_hash"] = password_hash
    return wishes


@transactional
def revoke_share(actor: Actor, share_id: UUID, expected: int | None = None) -> ShareView:
    """Close it at once: nobody opens it any more, and nothing says that it ever was. Raises Missing, Stale."""
    require(actor, "files.share")
    return _revoke(actor, *_find(actor, share_id, expected))


@transactional
def restore_share(actor: Actor, share_id: UUID, expected: int | None = None) -> ShareView:
    """Open it again under the same address. Raises Missing, Stale, Refused where somebody else revoked it."""
    require(actor, "files.share")
    row, share = _find(actor, share_id, expected)
    if share.revoked_at is not None and share.revoker_id != actor.id and not actor.can("shares.write"):
        raise Refused("Only who revoked it or an administrator revives it.", code="revoked_by_another")
    return _restore(actor, row, share)


@transactional
def delete_share(actor: Actor, share_id: UUID, expected: int | None = None) -> None:
    """Remove it with its list of visits, for good. Raises Missing, Stale."""
    require(actor, "files.share")
    row, share = _find(actor, share_id, expected)
    share.deleted_at = now()
    db.session.flush()
    record(actor, "share.deleted", _target(row), {"downloads": (share.downloads, None)})


@transactional
def revoke_vault_share(actor: Actor, share_id: UUID, expected: int | None = None) -> ShareView:
    """The same with anybody's, for administrators: its maker cannot revive it. Raises Missing, Stale."""
    require(actor, "shares.write")
    return _revoke(actor, *_find_any(share_id, expected))


@transactional
def restore_vault_share(actor: Actor, share_id: UUID, expected: int | None = None) -> ShareView:
    """Revive anybody's. Raises Missing, Stale."""
    require(actor, "shares.write")
    return _restore(actor, *_find_any(share_id, expected))


def _revoke(actor: Actor, row: Any, share: Share) -> ShareView:
    if share.revoked_at is None:
        share.revoked_at, share.revoker_id = now(), actor.id or None
        db.session.flush()
        record(actor, "share.revoked", _target(row))
    return _view(actor, share)


def _restore(actor: Actor, row: Any, share: Share) -> ShareView:
    if share.revoked_at is not None:
        if actor.impersonator is not None:
            raise Refused("Who acts as somebody else revives no links.", code="acting")
        share.revoked_at = share.revoker_id = None
        db.session.flush()
        record(actor, "share.revived", _target(row))
    return _view(actor, share)


def _find(actor: Actor, share_id: UUID, expected: int | None) -> tuple[Any, Share]:
    row = find_row(actor, share_id)
    share = db.session.get_one(Share, row.row_id)
    check_version(share.version, expected)
    return row, share


def _find_any(share_id: UUID, expected: int | None) -> tuple[Any, Share]:
    row = db.session.execute(live_shares(Share.uuid == share_id)).first()
    if row is None:
        raise Missing("There is no such link.")
    share = db.session.get_one(Share, row.row_id)
    check_version(share.version, expected)
    return row, share


def _hashed(password: Password | None) -> str | None:
    """Outside any transaction: nobody waits for it but who asked."""
    if password is None:
        return None
    if len(password.get_secret_value()) < SHORTEST:
        raise Invalid.field("password", "too_short", f"Use at least {SHORTEST} characters.")
    with passwords.turn() as hashing:
        return hashing.make(password)


def _packed(recipients: list[str] | None) -> str | None:
    if not recipients:
        return None
    return msgspec.json.encode(list({email_key(email): email for email in recipients}.values())).decode()


def _told(name: str, before: Any, after: Any) -> tuple[Any, Any]:
    """What the trail says of a change: no hashes, and of the recipients how many."""
    if name == "password_hash":
        return before is not None, after is not None
    if name == "recipients":
        return tuple(len(msgspec.json.decode(each)) if each else 0 for each in (before, after))  # type: ignore[return-value]
    return (_text(before), _text(after)) if name == "expires_at" else (before, after)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _target(row: Any) -> Target:
    return Target("share", row.uuid, row.name or row.label, row.maker_id)


def _view(actor: Actor, share: Share) -> ShareView:
    return view_of(actor, db.session.execute(live_shares(Share.id == share.id)).one())
