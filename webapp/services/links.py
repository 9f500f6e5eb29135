"""Public links as strangers meet them: opened anew with each request, unlocked, looked through, filled.

Whoever opens one acts as a visitor who reaches the shared folder, or the one file, and nothing else.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from webapp.db import read_row, transactional
from webapp.errors import Gone, Invalid, Missing, Refused
from webapp.infra.clock import now
from webapp.infra.crypto import keyed_digest
from webapp.infra.links import read_words, sign_words
from webapp.infra.storage import LocalDraft
from webapp.models.sessions import live_held_by
from webapp.models.shares import Share, live_shares
from webapp.policies import Actor, Level, permissions_of
from webapp.services import (
    archives,
    attempts,
    cleanings,
    downloads,
    files,
    folders,
    listings,
    openings,
    passwords,
    previews,
)
from webapp.services.access import reach
from webapp.services.archives import Archive
from webapp.services.cursors import Page
from webapp.services.downloads import Content, Facts
from webapp.services.features import is_on
from webapp.services.files import FileView, NewFile, UploadQuery
from webapp.services.folders import Crumb
from webapp.services.inputs import Input
from webapp.services.listings import Row
from webapp.services.openings import USED_UP, Link
from webapp.services.passwords import Password
from webapp.services.previews import PreviewView
from webapp.services.sessions import Origin, hash_of
from webapp.services.sharing import recipients_of, state_of
from webapp.services.users import email_key

PASS = timedelta(hours=12)  # that a browser which has shown the password or code need not do so again
NOWHERE = "There is no such link, or it was revoked. Ask who sent it for a new one."
OVER = "This link is over. Ask who sent it for a new one."
READS, WRITES = frozenset({"files.read", "vault.read"}), frozenset({"files.read", "files.write", "vault.write"})


class Unlocking(Input):
    """The password of a link."""

    password: Password


class LinkQuery(Input):
    """A further page of a folder."""

    cursor: Annotated[str | None, Field(max_length=2000)] = None


def open_link(token: str, origin: Origin, passport: str | None = None, *, going_on: bool = False) -> Link:
    """The link with this token. One that is not there, was revoked, or whose maker may no longer share what it leads to
    is Missing, all alike; Gone is one that is over or used up (`going_on`: a download may still be finished).
    """
    row = read_row(live_shares(Share.token_hash == hash_of(token)))
    if row is None or row.revoked_at is not None or row.name is None or not _still_given(row):
        openings.note_guess(origin.address)
        raise Missing(NOWHERE, code="no_link")
    state = state_of(row)
    if state == "expired":
        raise Gone(OVER, code="link_expired")
    if state == "exhausted" and not going_on:
        raise Gone(USED_UP, code="link_used_up")
    return _link(row, origin, passport)


def _still_given(row: Any) -> bool:
    """Whether who made it may sign in and share what it leads to, now."""
    found = read_row(live_held_by(), {"boss_id": row.maker_id})
    if found is None:
        return False
    maker = _maker(found)
    if not is_on("public_links", maker):
        return False
    return maker.can("files.share") and reach(maker, row.owner_id, row.path, row.id).level >= Level.MANAGER


def _maker(row: Any) -> Actor:
    roles, held, groups = ((text or "").split(",") for text in (row.roles, row.permissions, row.groups))
    mine = frozenset(roles) - {""}
    return Actor(id=row.user_id, uuid=row.uuid, email=row.email, name=row.name, roles=mine,
                 permissions=permissions_of(mine, held), groups=frozenset(int(n) for n in groups if n))  # fmt: skip


def _link(row: Any, origin: Origin, passport: str | None) -> Link:
    said = read_words("link pass", passport or "") or {}
    said = said if said.get("share") == str(row.uuid) else {}
    recipients = tuple(recipients_of(row))
    who = next((each for each in recipients if email_key(each) == said.get("who")), None)
    locked: Literal["password", "code"] | None = None
    if row.password_hash is not None and said.get("password") != _mark(row.password_hash):
        locked = "password"
    elif recipients and who is None:
        locked = "code"
    # In a file's link nothing lies inside: `_reader` alone lets its visitor out to the file.
    root = row.folder_row if row.file_uuid is None else 0
    visitor = Actor(id=0, uuid=UUID(int=0), email="", name="Visitor", permissions=WRITES if row.upload_only else READS,
                    root=root, address=origin.address, agent=origin.agent, request_id=origin.request_id)  # fmt: skip
    return Link(
        number=row.row_id, uuid=row.uuid, maker_id=row.maker_id, maker=row.maker, label=row.label, name=row.name,
        noun="folder" if row.file_uuid is None else "file", thing=row.file_uuid or row.folder_uuid, visitor=visitor,
        upload_only=row.upload_only, view_only=row.view_only, strip_metadata=row.strip_metadata,
        expires_at=row.expires_at, locked=locked, who=who, password_hash=row.password_hash, recipients=recipients,
        left=None if row.download_limit is None else max(0, row.download_limit - row.downloads),
    )  # fmt: skip


def unlock(link: Link, wish: Unlocking) -> str:
    """A passport for the browser that knows the password. Raises Invalid, Limited after ten wrong ones."""
    account, address = f"link {link.uuid}", link.visitor.address
    with passwords.turn() as hashing:
        attempts.refuse_if_limited(account, address)
        matches = hashing.matches(link.password_hash, wish.password)
    if not matches:
        _refuse(link, account)
        raise Invalid.field("password", "wrong_password", "This is not the password of the link.")
    return passport_of(link, link.who)


@transactional
def _refuse(link: Link, account: str) -> None:
    attempts.note_failure(account, link.visitor.address)
    openings.note_refusal(link, "password")


def passport_of(link: Link, who: str | None) -> str:
    """What a browser shows from now on; a changed password or list of recipients ends it."""
    return sign_words("link pass", now() + PASS, share=str(link.uuid), password=_mark(link.password_hash),
                      who=email_key(who) if who else "")  # fmt: skip


def _mark(password_hash: str | None) -> str:
    return keyed_digest(password_hash or "none", "link password")[:22]


def _reader(link: Link, file_id: UUID | None = None) -> Actor:
    """Who reads inside the link. Raises Refused while it is locked, Missing for what it does not show."""
    if link.locked:
        raise Refused("Unlock this link first.", code="link_locked")
    if link.upload_only:
        raise Missing("This link shows nothing: it takes files.")
    if link.noun == "folder":
        return link.visitor
    if file_id != link.thing:
        raise Missing("There is no such file.")
    return replace(link.visitor, root=None)


def show_shared(link: Link, file_id: UUID) -> tuple[FileView, Facts]:
    """A file in the link. Raises Missing."""
    reader = _reader(link, file_id)
    return files.show_file(reader, file_id), downloads.show_facts(reader, file_id)


def find_picture(link: Link, file_id: UUID, size: int) -> PreviewView:
    """Its preview, drawn anew from the picture: nothing else of it comes along. Raises Missing."""
    return previews.find_preview(_reader(link, file_id), file_id, size)


def open_shared(link: Link, file_id: UUID) -> Content:
    """The content of a file in the link: the one place where strangers come by bytes. Raises Missing, Refused."""
    if link.view_only:
        raise Refused("This link is for looking only.", code="view_only")
    content = downloads.open_content(_reader(link, file_id), file_id)
    return cleanings.clean(content) if link.strip_metadata else content


def open_archive(link: Link, folder_id: UUID) -> Archive:
    """A folder in the link with all that is in it. Raises Missing, Refused, TooLarge."""
    if link.view_only or link.strip_metadata:  # pictures are drawn anew one by one, not by the thousand
        raise Refused("This link gives no folders away.", code="view_only")
    return archives.open_folder(_reader(link), folder_id)


def read_text(link: Link, file_id: UUID, length: int) -> bytes:
    """The beginning of a file, for its preview."""
    return b"".join(downloads.open_content(_reader(link, file_id), file_id).read(0, length))


def browse_shared(link: Link, folder_id: UUID, cursor: str | None) -> tuple[Page[Row], list[Crumb]]:
    """A page of a folder in the link, and the way to it from the shared one. Raises Missing."""
    reader = _reader(link)
    trail = folders.list_crumbs(reader, folder_id)
    start = next(place for place, crumb in enumerate(trail) if crumb.id == link.thing)
    return listings.browse(reader, folder_id, "name", 50, cursor), trail[start:]


def name_folder(link: Link, folder_id: UUID) -> str:
    """What a folder in the link is called. Raises Missing."""
    return folders.show_folder(_reader(link), folder_id).name


def check_room(link: Link, size: int | None) -> None:
    """Refuse early what would not fit. Raises TooLarge, Refused."""
    files.check_upload(_uploader(link), UploadQuery(folder_id=link.thing, conflict="rename"), size)


@transactional
def put_files(link: Link, uploads: Sequence[tuple[str, LocalDraft]]) -> list[str]:
    """Store what a stranger sends, charged to the folder's owner; returns the names as sent: what became of a name
    that is taken would tell what is there. Raises Invalid, TooLarge, DiskFull.
    """
    visitor = _uploader(link)
    wishes = [(NewFile(name=name, folder_id=link.thing, conflict="rename"), draft) for name, draft in uploads]
    files.create_files(visitor, wishes)
    names = [wish.name for wish, _draft in wishes]
    openings.note_uploads(link, names)
    return names


def _uploader(link: Link) -> Actor:
    if link.locked:
        raise Refused("Unlock this link first.", code="link_locked")
    if not link.upload_only:
        raise Refused("This link takes no files.", code="no_uploads")
    return link.visitor
