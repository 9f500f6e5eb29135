"""How the page shows settings: in groups, with hints that name the default and what fixes a value."""

from typing import Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from webapp.http.merges import Choice, choice
from webapp.services.choices import SettingsView, SettingView

GROUPS: dict[str, tuple[Any, Any]] = {
    "accounts": (_l("Accounts"), _l("How people come to have one.")),
    "sessions": (_l("Sign-ins"), _l("How long browsers and programs stay signed in. A shorter time counts at once.")),
    "limits": (
        _l("Rate limits"),
        _l("How many requests are answered before people and programs have to wait, written like 600 per minute. "
           "Each kind counts for itself, beside the limit over all. An empty field means the default, which it shows."),
    ),
    "strict": (
        _l("Strict limits"),
        _l("Counted one by one over all processes, with or without Redis. Failed sign-ins are delayed besides."),
    ),
    "sharing": (_l("Sharing"), _l("How long public links are good, for whom nobody needs an account.")),
    "retention": (_l("How long things are kept"), _l("The nightly upkeep removes what is older.")),
}  # fmt: skip
UNITS = {"days": _l("days"), "hours": _l("hours")}
# Settings of few values: each value and its words.
CHOICES: dict[str, dict[str, Any]] = {
    "registration": {
        "open": _l("Open to everybody"), "invitation": _l("By invitation"), "closed": _l("Closed"),
    },
    "impersonation_mail": {"sent": _l("Sent"), "off": _l("Not sent")},
}  # fmt: skip


def setting_groups(settings: SettingsView) -> list[dict[str, Any]]:
    """All settings, formatted, in the groups of the page."""
    return [
        {
            "name": name,
            "title": str(title),
            "about": str(about),
            "rows": [_row(item) for item in settings.items if item.group == name],
        }
        for name, (title, about) in GROUPS.items()
    ]


def setting_choices(theirs: SettingsView) -> list[Choice]:
    """Each setting, to choose between what is saved and what was typed."""
    return [
        choice(item.name, _(item.title), item.chosen, lambda text, name=item.name: _words(name, text))  # type: ignore[misc]
        for item in theirs.items
    ]


def _row(item: SettingView) -> dict[str, Any]:
    unit = str(UNITS.get(item.unit, ""))
    return {
        "name": item.name,
        "label": f"{_(item.title)} ({unit})" if unit else _(item.title),
        "hint": _(item.about),
        "default": _words(item.name, str(item.default)),
        "options": _options(item),
        "fixed": item.variable if item.source == "environment" else None,
        "value": f"{_words(item.name, str(item.value))} {unit}".strip(),
        "chosen": _text(item.chosen),
        "number": isinstance(item.value, int),
    }


def _options(item: SettingView) -> list[tuple[str, str]]:
    """What can be chosen of, the default first; empty where the value is typed."""
    words = CHOICES.get(item.name)
    if words is None:
        return []
    usual = _("%(value)s (default)", value=_words(item.name, str(item.default)))
    return [("", usual), *((value, str(text)) for value, text in words.items())]


def _words(name: str, value: str) -> str:
    return str(CHOICES.get(name, {}).get(value, value)) if value else str(_("the default"))


def _text(value: str | int | None) -> str:
    return "" if value is None else str(value)
