"""How pages show who has access and why, what is granted, and what others share with one."""

from typing import Any
from uuid import UUID

from flask import render_template, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from webapp.errors import HoldfastError
from webapp.http.formats import ago, exact, pen, size
from webapp.http.rolerows import role_words
from webapp.http.rows import LEVELS, crumbs_to, form_of, icon_of
from webapp.http.sharerows import lives, share_rows
from webapp.policies import Actor
from webapp.services import audiences, files, folders, grants, groups, sharing
from webapp.services.audiences import AccessFilter, AccessView, PersonView, Way
from webapp.services.cursors import Page
from webapp.services.grants import GrantView, Noun
from webapp.services.groups import GroupFilter
from webapp.services.shared import SharedView
from webapp.services.sharing import ShareFilter

CHOICES = (("viewer", _l("May look and download")), ("editor", _l("May change as well")),
           ("manager", _l("May share as well")))  # fmt: skip


def people_rows(actor: Actor, access: AccessView) -> list[dict[str, Any]]:
    """Everybody with access, with their ways in words."""
    return [_person(actor, person) for person in access.items]


def access_page(
    actor: Actor, noun: Noun, thing_id: UUID, query: AccessFilter, error: HoldfastError | None = None,
    link_error: HoldfastError | None = None,
) -> str:  # fmt: skip
    """Who has access to a file or folder; for who may share it, the forms that do."""
    access = audiences.show_access(actor, noun, thing_id, query)
    thing: Any = files.show_file(actor, thing_id) if noun == "file" else folders.show_folder(actor, thing_id)
    shares = actor.can("files.share") and access.level in {"owner", "manager"}
    here = f"/{noun}s/{thing_id}"
    granted = grants.list_grants(actor, noun, thing_id).items if shares else []
    return render_template(
        "access/show.html",
        thing=thing,
        noun=noun,
        people=people_rows(actor, access),
        next_url=f"{here}/access?cursor={access.next_cursor}" if access.next_cursor else None,
        shares=shares,
        rows=[_grant(each) for each in granted],
        put_url=f"{here}/grants",
        removal_url=f"{here}/grants/removal",
        levels=[(value, str(text)) for value, text in CHOICES],
        groups=_groups(actor) if shares else [],
        form=form_of(error, field="email") if link_error is None else form_of(None) | {"values": {}},
        links=_links(actor, noun, thing_id) if shares else None,
        link_form=form_of(link_error) if link_error else {"values": {}, "errors": []},
        lives=lives(),
        breadcrumbs=_crumbs(actor, noun, thing),
        back_url=here,
    )


def shared_rows(page: Page[SharedView]) -> dict[str, Any]:
    """Variables of the page of what is shared with one."""
    writer = pen()
    rows = [
        {
            "id": item.id, "kind": item.kind, "name": item.name, "url": f"/{item.kind}s/{item.id}",
            "icon": "folder" if item.kind == "folder" else icon_of(item.mime or ""), "owner": item.owner,
            "level_text": str(LEVELS[item.level]), "size_text": size(item.size) if item.size is not None else "",
            "shared": item.shared_at, "shared_text": writer.ago(item.shared_at),
            "shared_exact": writer.exact(item.shared_at),
        }
        for item in page.items
    ]  # fmt: skip
    next_url = f"{url_for('shared_pages.list_shared')}?cursor={page.next_cursor}" if page.next_cursor else None
    return {"rows": rows, "next_url": next_url}


def _person(actor: Actor, person: PersonView) -> dict[str, Any]:
    return {
        "name": _("You") if person.user_id == actor.uuid else person.name, "email": person.email,
        "level": person.level, "level_text": str(LEVELS[person.level]), "ways": [_way(way) for way in person.ways],
    }  # fmt: skip


def _way(way: Way) -> dict[str, Any]:
    """How somebody came to it: icon, words, the folder it is inherited from, its level."""
    words = {
        "owner": lambda: _("Owner"),
        "role": lambda: _("Role %(name)s, for everybody's files", name=role_words(way.role or "")),
        "grant": lambda: _("Shared directly"),
        "group": lambda: _("Shared with the group %(name)s", name=way.group.name if way.group else ""),
    }[way.kind]()
    if way.inherited:
        words = (_("%(way)s on the folder %(name)s", way=words, name=way.folder.name) if way.folder
                 else _("%(way)s on a folder above", way=words))  # fmt: skip
    icon = {"owner": "user-circle", "role": "shield", "grant": "user", "group": "users-group"}[way.kind]
    return {"icon": icon, "words": words, "level_text": str(LEVELS[way.level]),
            "until": way.expires_at, "until_text": ago(way.expires_at)}  # fmt: skip


def _grant(grant: GrantView) -> dict[str, Any]:
    return {
        "name": grant.name, "email": grant.email, "level": grant.level, "level_text": str(LEVELS[grant.level]),
        "icon": "users-group" if grant.group_id else "user", "user_id": grant.user_id, "group_id": grant.group_id,
        "by": grant.by, "made": grant.created_at, "made_text": ago(grant.created_at),
        "made_exact": exact(grant.created_at), "until_text": ago(grant.expires_at), "until": grant.expires_at,
    }  # fmt: skip


def _links(actor: Actor, noun: Noun, thing_id: UUID) -> list[dict[str, Any]]:
    """The newest hundred public links to it, whoever made them."""
    here = ShareFilter(file_id=thing_id, limit=100) if noun == "file" else ShareFilter(folder_id=thing_id, limit=100)
    return share_rows(sharing.list_shares(actor, here))


def _groups(actor: Actor) -> list[tuple[str, str]]:
    """The first hundred groups that the actor may share with."""
    page = groups.list_groups(actor, GroupFilter(limit=100))
    return [(str(group.id), group.name) for group in page.items]


def _crumbs(actor: Actor, noun: Noun, thing: Any) -> list[tuple[str, str]]:
    if noun == "file":
        trail = crumbs_to(actor, thing.folder_id, thing.name)
        return [*trail[:-1], (thing.name, f"/files/{thing.id}"), (_("Access"), "")]
    return [*crumbs_to(actor, thing.id), (_("Access"), "")]
