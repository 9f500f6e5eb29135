"""Groups: one's own under /groups, all of them under /admin/groups, and the same for programs."""

from uuid import UUID

from flask import Blueprint, flash, redirect, url_for
from flask_babel import gettext as _

from webapp.errors import Conflict, Invalid, Stale
from webapp.http.answers import Created, created, gives
from webapp.http.conditional import expected_version
from webapp.http.grouprows import form_page, group_page, list_page, merge_group
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_filter, read_form, takes
from webapp.http.merges import Answer, merge_page
from webapp.services import groups
from webapp.services.cursors import Page
from webapp.services.groups import GroupChange, GroupFilter, GroupView, NewGroup
from webapp.services.members import MemberFilter

pages = Blueprint("groups_pages", __name__)
api = Blueprint("groups_api", __name__)


@api.get("/groups")
@guard("account.read")
@takes(query=GroupFilter)
@gives(Page[GroupView])
def list_groups(query: GroupFilter) -> Page[GroupView]:
    """The groups you are in; with groups.read all there are."""
    return groups.list_groups(current_actor(), query)


@api.post("/groups")
@guard("groups.write")
@takes(NewGroup)
@gives(GroupView, status=201, errors=(409,))
def create_group(wish: NewGroup) -> Created:
    """Make a group without members."""
    group = groups.create_group(current_actor(), wish)
    return created(group, url_for("groups_api.show_group", group_id=group.id))


@api.get("/groups/<uuid:group_id>")
@guard("account.read")
@gives(GroupView, errors=(404,))
def show_group(group_id: UUID) -> GroupView:
    """One group."""
    return groups.show_group(current_actor(), group_id)


@api.patch("/groups/<uuid:group_id>")
@guard("groups.write")
@takes(GroupChange)
@gives(GroupView, errors=(404, 409, 412))
def change_group(wish: GroupChange, group_id: UUID) -> GroupView:
    """Rename or describe a group."""
    return groups.change_group(current_actor(), group_id, wish, expected_version())


@api.delete("/groups/<uuid:group_id>")
@guard("groups.write")
@gives(None, status=204, errors=(404, 412))
def delete_group(group_id: UUID) -> None:
    """Remove a group: all that was granted to it ends at once."""
    groups.delete_group(current_actor(), group_id, expected_version())


@pages.get("/groups")
@guard("account.read")
def list_own_groups() -> str:
    """The groups one is in."""
    query = read_filter(GroupFilter).model_copy(update={"whose": "mine"})
    return list_page(groups.list_groups(current_actor(), query), query)


@pages.get("/admin/groups", endpoint="list_groups")
@guard("groups.read")
def list_groups_page() -> str:
    """All groups."""
    query = read_filter(GroupFilter)
    return list_page(groups.list_groups(current_actor(), query), query, office=True)


@pages.get("/admin/groups/new")
@guard("groups.write")
def group_form() -> str:
    """The form for a new one."""
    return form_page()


@pages.post("/admin/groups", endpoint="create_group")
@guard("groups.write")
def create_group_page() -> Answer:
    """Make it and go on to its members."""
    try:
        group = groups.create_group(current_actor(), read_form(NewGroup))
    except (Invalid, Conflict) as error:
        return form_page(error), error.status
    flash(_("Group “%(name)s” made. Add its members now.", name=group.name), "success")
    return redirect(url_for(".show_group", group_id=group.id))


@pages.get("/groups/<uuid:group_id>", endpoint="show_group")
@guard("account.read")
def show_group_page(group_id: UUID) -> str:
    """One group and who is in it."""
    actor = current_actor()
    return group_page(actor, groups.show_group(actor, group_id), read_filter(MemberFilter))


@pages.post("/groups/<uuid:group_id>", endpoint="change_group")
@guard("groups.write")
def change_group_page(group_id: UUID) -> Answer:
    """Save it; where it was saved from elsewhere meanwhile, the person chooses."""
    actor = current_actor()
    try:
        groups.change_group(actor, group_id, read_form(GroupChange), expected_version())
    except Stale:
        return merge_group(groups.show_group(actor, group_id))
    except (Invalid, Conflict) as error:
        return group_page(actor, groups.show_group(actor, group_id), MemberFilter(), error), error.status
    flash(_("Saved."), "success")
    return redirect(url_for(".show_group", group_id=group_id))


@pages.post("/groups/<uuid:group_id>/removal", endpoint="delete_group")
@guard("groups.write")
def delete_group_page(group_id: UUID) -> Answer:
    """Remove it; what was changed meanwhile is asked about once more."""
    actor = current_actor()
    try:
        groups.delete_group(actor, group_id, expected_version())
    except Stale:
        group, here = groups.show_group(actor, group_id), url_for(".show_group", group_id=group_id)
        action = url_for(".delete_group", group_id=group_id)
        return merge_page(group.name, action, group.version, here, deed=_("Remove group"), danger=True)
    flash(_("The group is gone, and with it what was shared with it."), "success")
    return redirect(url_for(".list_groups") if actor.can("groups.read") else url_for(".list_own_groups"))
