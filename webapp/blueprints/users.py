"""One's own account: for people and for programs."""

import msgspec
from flask import Blueprint, flash, redirect, render_template, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from webapp.config import time_zones
from webapp.errors import Invalid, Stale
from webapp.http.accountrows import roles_words
from webapp.http.answers import gives
from webapp.http.conditional import expected_version
from webapp.http.formats import ago
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_form, takes
from webapp.http.merges import choice, merge_page
from webapp.http.rows import form_of, zone_words
from webapp.services import users
from webapp.services.users import MyChange, UserView

pages = Blueprint("users_pages", __name__)
api = Blueprint("users_api", __name__)


@api.get("/users/me")
@guard("account.read")
@gives(UserView)
def show_me() -> UserView:
    """The account that asks."""
    return users.show_me(current_actor())


@api.patch("/users/me")
@guard("account.write")
@takes(MyChange)
@gives(UserView, errors=(412,))
def change_me(wish: MyChange) -> UserView:
    """Change your name, language or time zone; what is absent stays."""
    return users.change_me(current_actor(), wish, expected_version())


@pages.get("/account")
@guard("account.read")
def show_account() -> str:
    """One's own profile."""
    return _account_page()


@pages.post("/account")
@guard("account.write")
def change_account() -> str | Response | tuple[str, int]:
    """Save the profile; where it was saved from elsewhere meanwhile, the person chooses per field."""
    actor = current_actor()
    try:
        users.change_me(actor, read_form(MyChange), expected_version())
    except Invalid as error:
        return _account_page(error), error.status
    except Stale:
        mine, here = users.show_me(actor), url_for("users_pages.show_account")
        zone = choice("time_zone", _("Time zone"), mine.time_zone, zone_words)
        return merge_page(_("Account"), here, mine.version, here, [choice("name", _("Name"), mine.name), zone])
    flash(_("Saved."), "success")
    return redirect(url_for("users_pages.show_account"))


def _account_page(error: Invalid | None = None) -> str:
    mine = users.show_me(current_actor())
    shown = {**msgspec.structs.asdict(mine), "created_text": ago(mine.created_at),
             "roles_text": roles_words(mine.roles)}  # fmt: skip
    zones = [(name, zone_words(name)) for name in ("", *sorted(time_zones()))]
    return render_template("users/account.html", user=shown, form=form_of(error), time_zones=zones)
