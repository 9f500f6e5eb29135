"""Features, for administrators: what is on, for whom, and switching it."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from webapp.errors import Invalid, Stale
from webapp.http.answers import gives
from webapp.http.conditional import expected_version
from webapp.http.flagrows import flag_page, flag_row, merge_flag
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_form, takes
from webapp.http.merges import Answer
from webapp.services import flags
from webapp.services.cursors import Page
from webapp.services.flags import FlagChange, FlagView

pages = Blueprint("flags_pages", __name__)
api = Blueprint("flags_api", __name__)


@api.get("/flags")
@guard("flags.read")
@gives(Page[FlagView])
def list_flags() -> Page[FlagView]:
    """Every feature that can be switched."""
    return flags.list_flags(current_actor())


@api.get("/flags/<string:name>")
@guard("flags.read")
@gives(FlagView, errors=(404,))
def show_flag(name: str) -> FlagView:
    """One feature."""
    return flags.show_flag(current_actor(), name)


@api.patch("/flags/<string:name>")
@guard("flags.write")
@takes(FlagChange)
@gives(FlagView, errors=(404, 412))
def change_flag(wish: FlagChange, name: str) -> FlagView:
    """Switch it, for everybody or for some. In force everywhere within two seconds."""
    return flags.change_flag(current_actor(), name, wish, expected_version())


@pages.get("/admin/flags", endpoint="list_flags")
@guard("flags.read")
def list_flags_page() -> str:
    """All of them."""
    page = flags.list_flags(current_actor())
    return render_template("flags/index.html", rows=[flag_row(flag) for flag in page.items])


@pages.get("/admin/flags/<string:name>", endpoint="show_flag")
@guard("flags.read")
def show_flag_page(name: str) -> str:
    """One, and the form."""
    actor = current_actor()
    return flag_page(actor, flags.show_flag(actor, name))


@pages.post("/admin/flags/<string:name>", endpoint="change_flag")
@guard("flags.write")
def change_flag_page(name: str) -> Answer:
    """Save it; where it was saved from elsewhere meanwhile, the person chooses."""
    actor = current_actor()
    try:
        flags.change_flag(actor, name, read_form(FlagChange), expected_version())
    except Invalid as error:
        return flag_page(actor, flags.show_flag(actor, name), error), error.status
    except Stale:
        return merge_flag(flags.show_flag(actor, name), request.form.to_dict())
    flash(_("Saved. In force everywhere within two seconds."), "success")
    return redirect(url_for(".show_flag", name=name))
