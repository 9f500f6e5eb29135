"""How pages show groups and who is in them."""

from typing import Any
from urllib.parse import urlencode

from flask import render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import ngettext

from webapp.errors import HoldfastError
from webapp.http.formats import ago, exact
from webapp.http.merges import Answer, choice, merge_page
from webapp.http.rows import form_of
from webapp.policies import Actor
from webapp.services import members
from webapp.services.cursors import Page
from webapp.services.groups import GroupFilter, GroupView
from webapp.services.members import MemberFilter, MemberView


def list_page(page: Page[GroupView], query: GroupFilter, *, office: bool = False) -> str:
    """Groups: all of them in the office, else one's own."""
    here = url_for("groups_pages.list_groups" if office else "groups_pages.list_own_groups")
    given = {"q": query.q} if query.q else {}
    return render_template(
        "groups/index.html",
        rows=[_row(group) for group in page.items],
        next_url=f"{here}?{urlencode({**given, 'cursor': page.next_cursor})}" if page.next_cursor else None,
        here=here,
        office=office,
        q=query.q or "",
    )


def form_page(error: HoldfastError | None = None) -> str:
    """The form for a new group, with what was typed."""
    return render_template("groups/create.html", form=form_of(error, field="name"))


def group_page(actor: Actor, group: GroupView, query: MemberFilter, error: HoldfastError | None = None) -> str:
    """One group: what it is for, who is in it, and what the actor may change of that."""
    page, here = members.list_members(actor, group.id, query), url_for("groups_pages.show_group", group_id=group.id)
    adding = "email" in request.form
    return render_template(
        "groups/show.html",
        group=_row(group),
        rows=[_member(group, member) for member in page.items],
        next_url=f"{here}?cursor={page.next_cursor}" if page.next_cursor else None,
        form=form_of(None if adding else error, field="name"),
        adding=form_of(error if adding else None, field="email"),
        back_url=url_for("groups_pages.list_groups" if actor.can("groups.read") else "groups_pages.list_own_groups"),
    )


def merge_group(group: GroupView) -> Answer:
    """Theirs and yours, to choose per field."""
    here = url_for("groups_pages.show_group", group_id=group.id)
    fields = [choice("name", _("Name"), group.name), choice("about", _("About"), group.about)]
    return merge_page(group.name, here, group.version, here, fields)


def _row(group: GroupView) -> dict[str, Any]:
    return {
        "id": group.id, "name": group.name, "about": group.about, "version": group.version, "manages": group.manages,
        "url": url_for("groups_pages.show_group", group_id=group.id),
        "members_text": ngettext("%(num)d member", "%(num)d members", group.members),
        "created": group.created_at, "created_text": ago(group.created_at), "created_exact": exact(group.created_at),
    }  # fmt: skip


def _member(group: GroupView, member: MemberView) -> dict[str, Any]:
    here = url_for("members_pages.set_member", group_id=group.id, user_id=member.id)
    return {
        "id": member.id, "name": member.name, "email": member.email, "manager": member.manager, "set_url": here,
        "removal_url": f"{here}/removal", "added": member.added_at, "added_text": ago(member.added_at),
        "added_exact": exact(member.added_at),
    }  # fmt: skip
