"""How pages show roles: their names in words, and what they allow in groups."""

from collections.abc import Collection
from typing import Any

from flask import render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_babel import ngettext

from webapp.errors import HoldfastError
from webapp.http.guard import current_actor
from webapp.http.merges import Answer, choice, merge_page
from webapp.http.rows import form_of
from webapp.policies import ADMIN, BUILT_IN, PERMISSIONS
from webapp.services import roles
from webapp.services.cursors import Page
from webapp.services.inputs import split_commas
from webapp.services.roles import RoleLine, RoleView

NAMES = {"guest": _l("Guest"), "member": _l("Member"), "manager": _l("Manager"), "admin": _l("Administrator")}
GROUPS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (_l("Own account"), ("account",)),
    (_l("Files and jobs"), ("files", "events", "jobs")),
    (_l("Running the vault"), ()),  # all others
)


def role_words(slug: str, name: str | None = None) -> str:
    """A role as people read it."""
    return str(NAMES[slug]) if slug in NAMES else name or slug


def asks_words(value: str) -> str:
    """Whether a role asks for a second factor, as its form spells it."""
    return str(_("Asked for") if value == "true" else _("Not asked for"))


def role_rows(page: Page[RoleLine]) -> list[dict[str, Any]]:
    """Rows of the list."""
    return [
        {**_role(role), "holders": role.holders,
         "holders_text": ngettext("%(num)d account", "%(num)d accounts", role.holders),
         "allows_text": _("everything") if role.slug == ADMIN
         else ngettext("%(num)d permission", "%(num)d permissions", len(role.permissions))}
        for role in page.items
    ]  # fmt: skip


def role_page(role: RoleView | None = None, error: HoldfastError | None = None) -> str:
    """A role with the form that changes it, or the form for a new one; what was typed stays."""
    actor = current_actor()
    saving = request.method == "POST" and "name" in request.form  # not a removal that was refused
    chosen = split_commas(request.form.getlist("permissions")) if saving else role.permissions if role else []
    others = [each for each in roles.assignable_roles(actor) if role and each.id != role.id]
    return render_template(
        "roles/form.html",
        role=_role(role) if role else None,
        groups=_groups(set(chosen), actor, fixed=role is not None and role.slug == ADMIN),
        form=form_of(error, field="name"),
        writes=actor.can("roles.write"),
        holders=roles.count_holders(actor, role.slug) if role else 0,
        successors=[(str(each.id), role_words(each.slug, each.name)) for each in others],
    )


def merge_role(role: RoleView) -> Answer:
    """Theirs and yours, to choose per field."""
    here = url_for("roles_pages.show_role", role_id=role.id)
    typed = ", ".join(sorted(set(split_commas(request.form.getlist("permissions")))))
    fields = [choice("name", _("Name"), role.name), choice("about", _("About"), role.about),
              choice("requires_second_factor", _("Second factor"), _spelt(role.requires_second_factor), asks_words),
              choice("permissions", _("Permissions"), ", ".join(sorted(role.permissions)), yours=typed)]  # fmt: skip
    return merge_page(role.name, here, role.version, here, fields)


def _role(role: RoleView) -> dict[str, Any]:
    return {
        "id": role.id, "slug": role.slug, "name": role_words(role.slug, role.name), "built_in": role.built_in,
        "about": _(BUILT_IN[role.slug][1]) if role.slug in BUILT_IN else role.about, "version": role.version,
        "page": url_for("roles_pages.show_role", role_id=role.id),
        "plain_name": role.name, "plain_about": role.about,
        "permissions_text": ", ".join(sorted(role.permissions)), "asks": _spelt(role.requires_second_factor),
    }  # fmt: skip


def permission_groups(chosen: set[str], offered: Collection[str]) -> list[dict[str, Any]]:
    """Check boxes of these permissions, in the groups of all."""
    lines = [
        {"name": name, "about": _(about), "chosen": name in chosen, "noun": name.partition(".")[0], "off": False}
        for name, (about, _holders) in PERMISSIONS.items()
        if name in offered
    ]  # fmt: skip
    return _grouped(lines)


def _spelt(asks: bool) -> str:
    return "true" if asks else "false"


def _groups(chosen: set[str], actor: Any, *, fixed: bool) -> list[dict[str, Any]]:
    lines = [
        {"name": name, "about": _(about), "chosen": name in chosen, "noun": name.partition(".")[0],
         "off": fixed or (name not in chosen and not actor.can(name))}
        for name, (about, _holders) in PERMISSIONS.items()
    ]  # fmt: skip
    return _grouped(lines)


def _grouped(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    listed = {noun for _title, nouns in GROUPS for noun in nouns}
    return [
        {"title": str(title),
         "rows": [line for line in lines if line["noun"] in nouns or (not nouns and line["noun"] not in listed)]}
        for title, nouns in GROUPS
    ]  # fmt: skip
