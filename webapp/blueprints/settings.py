"""Settings, for administrators: all of them on one page, changed together."""

from flask import Blueprint, flash, redirect, render_template, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from webapp.errors import Invalid, Stale
from webapp.http.answers import gives
from webapp.http.conditional import expected_version
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_form, takes
from webapp.http.merges import merge_page
from webapp.http.rows import form_of
from webapp.http.settingrows import setting_choices, setting_groups
from webapp.services import choices
from webapp.services.choices import SettingsView
from webapp.services.inputs import Input
from webapp.services.settings import SettingsChange

pages = Blueprint("settings_pages", __name__)
api = Blueprint("settings_api", __name__)


@api.get("/settings")
@guard("settings.read")
@gives(SettingsView)
def show_settings() -> SettingsView:
    """All settings: values, defaults, and who decides."""
    return choices.show_settings(current_actor())


@api.patch("/settings")
@guard("settings.write", fresh=True)
@takes(SettingsChange)
@gives(SettingsView, errors=(412,))
def change_settings(wish: Input) -> SettingsView:
    """Change some; what is absent stays, null goes back to the default. In force everywhere within two seconds."""
    return choices.change_settings(current_actor(), wish, expected_version())


@pages.get("/admin/settings", endpoint="show_settings")
@guard("settings.read")
def show_settings_page() -> str:
    """All settings in one form."""
    return _page()


@pages.post("/admin/settings", endpoint="change_settings")
@guard("settings.write", fresh=True)
def change_settings_page() -> str | Response | tuple[str, int]:
    """Save the form; a stale one meets the merge page, with the fields that differ."""
    actor, here = current_actor(), url_for(".show_settings")
    try:
        choices.change_settings(actor, read_form(SettingsChange), expected_version())
    except Invalid as error:
        return _page(error), error.status
    except Stale:
        theirs = choices.show_settings(actor)
        return merge_page(_("Settings"), here, theirs.version, here, setting_choices(theirs))
    flash(_("Saved. In force everywhere within two seconds."), "success")
    return redirect(here)


def _page(error: Invalid | None = None) -> str:
    actor = current_actor()
    settings = choices.show_settings(actor)
    groups = setting_groups(settings)
    return render_template(
        "settings/index.html",
        groups=groups,
        version=settings.version,
        opened={row["name"]: row["chosen"] for group in groups for row in group["rows"] if not row["fixed"]},
        form=form_of(error),
        writes=actor.can("settings.write"),
    )
