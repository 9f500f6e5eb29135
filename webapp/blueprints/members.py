"""Who is in a group: its managers change that on its page, programs by the same addresses."""

from uuid import UUID

from flask import Blueprint, flash, redirect, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from webapp.errors import Invalid
from webapp.http.answers import Created, created, gives
from webapp.http.conditional import expected_version
from webapp.http.grouprows import group_page
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_form, takes
from webapp.http.merges import Answer
from webapp.services import groups, members
from webapp.services.cursors import Page
from webapp.services.members import MemberFilter, Membership, MemberView, NewMember

pages = Blueprint("members_pages", __name__)
api = Blueprint("members_api", __name__)


@api.get("/groups/<uuid:group_id>/members")
@guard("account.read")
@takes(query=MemberFilter)
@gives(Page[MemberView], errors=(404,))
def list_members(query: MemberFilter, group_id: UUID) -> Page[MemberView]:
    """The members of a group, by name."""
    return members.list_members(current_actor(), group_id, query)


@api.post("/groups/<uuid:group_id>/members")
@guard("account.write")
@takes(NewMember)
@gives(MemberView, status=201, errors=(404,))
def add_member(wish: NewMember, group_id: UUID) -> Created:
    """Take somebody in by e-mail. For managers of the group, and with groups.write."""
    member = members.add_member(current_actor(), group_id, wish)
    return created(member, url_for("members_api.show_member", group_id=group_id, user_id=member.id))


@api.get("/groups/<uuid:group_id>/members/<uuid:user_id>")
@guard("account.read")
@gives(MemberView, errors=(404,))
def show_member(group_id: UUID, user_id: UUID) -> MemberView:
    """One member of a group."""
    return members.show_member(current_actor(), group_id, user_id)


@api.put("/groups/<uuid:group_id>/members/<uuid:user_id>")
@guard("account.write")
@takes(Membership)
@gives(MemberView, errors=(404, 412))
def set_member(wish: Membership, group_id: UUID, user_id: UUID) -> MemberView:
    """Take somebody in, or say whether they manage the group. For its managers, and with groups.write."""
    return members.set_member(current_actor(), group_id, user_id, wish, expected_version())


@api.delete("/groups/<uuid:group_id>/members/<uuid:user_id>")
@guard("account.write")
@gives(None, status=204, errors=(404, 412))
def remove_member(group_id: UUID, user_id: UUID) -> None:
    """Take somebody out of a group; what was shared with the group ends for them at once."""
    members.remove_member(current_actor(), group_id, user_id, expected_version())


@pages.post("/groups/<uuid:group_id>/members", endpoint="add_member")
@guard("account.write")
def add_member_page(group_id: UUID) -> Answer:
    """Take somebody in; an unknown address comes back in the form."""
    actor = current_actor()
    try:
        member = members.add_member(actor, group_id, read_form(NewMember))
    except Invalid as error:
        return group_page(actor, groups.show_group(actor, group_id), MemberFilter(), error), error.status
    flash(_("%(name)s is in the group.", name=member.name), "success")
    return redirect(url_for("groups_pages.show_group", group_id=group_id))


@pages.post("/groups/<uuid:group_id>/members/<uuid:user_id>", endpoint="set_member")
@guard("account.write")
def set_member_page(group_id: UUID, user_id: UUID) -> Response:
    """Make somebody a manager of the group, or no longer."""
    members.set_member(current_actor(), group_id, user_id, read_form(Membership))
    flash(_("Saved."), "success")
    return redirect(url_for("groups_pages.show_group", group_id=group_id))


@pages.post("/groups/<uuid:group_id>/members/<uuid:user_id>/removal", endpoint="remove_member")
@guard("account.write")
def remove_member_page(group_id: UUID, user_id: UUID) -> Response:
    """Take somebody out. Who took themselves out may see the group no more."""
    actor = current_actor()
    members.remove_member(actor, group_id, user_id)
    flash(_("Taken out of the group."), "success")
    gone = user_id == actor.uuid and not actor.can("groups.read")
    return redirect(url_for("groups_pages.list_own_groups") if gone else
                    url_for("groups_pages.show_group", group_id=group_id))  # fmt: skip
