"""Roles for administrators: pages under /admin/roles and the same for programs."""

from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, url_for
from flask_babel import gettext as _

from webapp.errors import Conflict, Invalid, Refused, Stale
from webapp.http.answers import Created, created, gives
from webapp.http.conditional import expected_version
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_form, takes
from webapp.http.merges import Answer, merge_page
from webapp.http.rolerows import merge_role, role_page, role_rows
from webapp.services import roles
from webapp.services.cursors import Page
from webapp.services.roles import NewRole, RoleChange, RoleForm, RoleLine, RoleRemoval, RoleView

pages = Blueprint("roles_pages", __name__)
api = Blueprint("roles_api", __name__)


@api.get("/roles")
@guard("roles.read")
@gives(Page[RoleLine])
def list_roles() -> Page[RoleLine]:
    """All roles with what they allow and how many accounts hold them."""
    return roles.list_roles(current_actor())


@api.post("/roles")
@guard("roles.write", fresh=True)
@takes(NewRole)
@gives(RoleView, status=201, errors=(409,))
def create_role(wish: NewRole) -> Created:
    """Make a role that allows at most what you may do yourself."""
    role = roles.create_role(current_actor(), wish)
    return created(role, url_for("roles_api.show_role", role_id=role.id))


@api.get("/roles/<uuid:role_id>")
@guard("roles.read")
@gives(RoleView, errors=(404,))
def show_role(role_id: UUID) -> RoleView:
    """One role."""
    return roles.show_role(current_actor(), role_id)


@api.patch("/roles/<uuid:role_id>")
@guard("roles.write", fresh=True)
@takes(RoleChange)
@gives(RoleView, errors=(404, 409, 412))
def change_role(wish: RoleChange, role_id: UUID) -> RoleView:
    """Change a role. Whoever holds it may do the new within a second."""
    return roles.change_role(current_actor(), role_id, wish, expected_version())


@api.delete("/roles/<uuid:role_id>")
@guard("roles.write", fresh=True)
@takes(query=RoleRemoval)
@gives(None, status=204, errors=(404, 409, 412))
def delete_role(role_id: UUID, query: RoleRemoval) -> None:
    """Remove a role; its holders get the `successor`."""
    roles.delete_role(current_actor(), role_id, query, expected_version())


@pages.get("/admin/roles", endpoint="list_roles")
@guard("roles.read")
def list_roles_page() -> str:
    """The list."""
    return render_template("roles/index.html", rows=role_rows(roles.list_roles(current_actor())))


@pages.get("/admin/roles/new")
@guard("roles.write", fresh=True)
def role_form() -> str:
    """The form for a new one."""
    return role_page()


@pages.post("/admin/roles", endpoint="create_role")
@guard("roles.write", fresh=True)
def create_role_page() -> Answer:
    """Make it."""
    try:
        role = roles.create_role(current_actor(), read_form(RoleForm))
    except (Invalid, Conflict, Refused) as error:
        return role_page(error=error), error.status
    flash(_("Role “%(name)s” made.", name=role.name), "success")
    return redirect(url_for(".list_roles"))


@pages.get("/admin/roles/<uuid:role_id>", endpoint="show_role")
@guard("roles.read")
def show_role_page(role_id: UUID) -> str:
    """One role: what it allows, and its removal."""
    return role_page(roles.show_role(current_actor(), role_id))


@pages.post("/admin/roles/<uuid:role_id>", endpoint="change_role")
@guard("roles.write", fresh=True)
def change_role_page(role_id: UUID) -> Answer:
    """Save it; where it was saved from elsewhere meanwhile, the person chooses."""
    actor = current_actor()
    try:
        whole = read_form(RoleForm)
        wish = RoleChange(**{name: getattr(whole, name) for name in RoleChange.model_fields})
        roles.change_role(actor, role_id, wish, expected_version())
    except Stale:
        return merge_role(roles.show_role(actor, role_id))
    except (Invalid, Conflict, Refused) as error:
        return role_page(roles.show_role(actor, role_id), error), error.status
    flash(_("Saved."), "success")
    return redirect(url_for(".show_role", role_id=role_id))


@pages.post("/admin/roles/<uuid:role_id>/removal", endpoint="delete_role")
@guard("roles.write", fresh=True)
def delete_role_page(role_id: UUID) -> Answer:
    """Remove it; what was changed meanwhile is asked about once more."""
    actor = current_actor()
    try:
        roles.delete_role(actor, role_id, read_form(RoleRemoval), expected_version())
    except Stale:
        role, here = roles.show_role(actor, role_id), url_for(".show_role", role_id=role_id)
        action = url_for(".delete_role", role_id=role_id)
        return merge_page(role.name, action, role.version, here, deed=_("Remove role"), danger=True)
    except (Invalid, Conflict, Refused) as error:
        return role_page(roles.show_role(actor, role_id), error), error.status
    flash(_("The role is gone."), "success")
    return redirect(url_for(".list_roles"))
