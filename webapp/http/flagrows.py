"""How administrators see features: what counts now in words, and the form that switches one."""

from typing import Any

from flask import render_template, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_babel import ngettext

from webapp.errors import Invalid
from webapp.http.formats import ago, due, exact
from webapp.http.merges import Answer, Choice, choice, merge_page
from webapp.http.rows import form_of
from webapp.infra.clock import now
from webapp.policies import Actor
from webapp.services.flags import FlagView
from webapp.services.groups import GroupFilter, list_groups

HOW = {
    "on": (_l("On"), "good"),
    "partly": (_l("For some"), "info"),
    "planned": (_l("Planned"), "warn"),
    "over": (_l("Over"), "plain"),
    "off": (_l("Off"), "plain"),
}
LABELS = {"enabled": _l("Switched on"), "percentage": _l("Share of everybody"), "people": _l("People"),
          "groups": _l("Groups"), "starts_at": _l("From"), "ends_at": _l("Until"), "notes": _l("Notes")}  # fmt: skip


def flag_row(flag: FlagView) -> dict[str, Any]:
    """One feature, formatted."""
    text, tone = HOW[flag.how]
    return {
        "name": flag.name, "url": f"/admin/flags/{flag.name}", "title": _(flag.title), "about": _(flag.about),
        "how": str(text), "tone": tone, "whom": _whom(flag), "when": _when(flag), "version": flag.version,
        "enabled": flag.enabled, "default": _("on") if flag.default else _("off"),
        "asked": flag.asked_at, "asked_text": ago(flag.asked_at), "asked_exact": exact(flag.asked_at),
        "changed": flag.updated_at, "notes": flag.notes,
    }  # fmt: skip


def flag_page(actor: Actor, flag: FlagView, error: Invalid | None = None) -> str:
    """The feature and its form."""
    groups = list_groups(actor, GroupFilter(limit=100)).items if actor.can("groups.read") else flag.groups
    chosen = {str(group.id) for group in flag.groups}
    return render_template(
        "flags/show.html", flag=flag_row(flag), form=form_of(error), opened=_spelled(flag),
        groups=[(str(group.id), group.name, str(group.id) in chosen) for group in groups],
    )  # fmt: skip


def merge_flag(theirs: FlagView, typed: dict[str, str]) -> Answer:
    """Ask which to keep of what both changed."""
    here = url_for("flags_pages.show_flag", name=theirs.name)
    spelled = _spelled(theirs)
    choices: list[Choice] = [choice(name, str(LABELS[name]), spelled[name], yours=typed.get(name)) for name in spelled]
    return merge_page(_(theirs.title), here, theirs.version, here, choices)


def _spelled(flag: FlagView) -> dict[str, str]:
    """Each field as the form spells it."""
    return {
        "enabled": "true" if flag.enabled else "false", "percentage": str(flag.percentage),
        "people": ", ".join(person.email for person in flag.people),
        "starts_at": flag.starts_at.isoformat() if flag.starts_at else "",
        "ends_at": flag.ends_at.isoformat() if flag.ends_at else "", "notes": flag.notes,
    }  # fmt: skip


def _whom(flag: FlagView) -> str:
    if flag.percentage >= 100:
        return str(_("everybody"))
    parts: list[str] = [_("%(num)d %% of everybody", num=flag.percentage)] if flag.percentage else []
    if flag.people:
        parts.append(ngettext("%(num)d person", "%(num)d people", len(flag.people)))
    if flag.groups:
        parts.append(ngettext("%(num)d group", "%(num)d groups", len(flag.groups)))
    return ", ".join(parts) or str(_("nobody"))


def _when(flag: FlagView) -> str:
    parts = []
    for moment, past, future in ((flag.starts_at, _("since"), _("from")), (flag.ends_at, _("ended"), _("until"))):
        if moment:
            parts.append(f"{past if moment <= now() else future} {due(moment) if moment > now() else ago(moment)}")
    return ", ".join(parts)
