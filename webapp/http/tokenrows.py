"""How pages show personal tokens: what they allow in groups, until when, and the secret once."""

from typing import Any

from flask import Response, make_response, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_babel import ngettext

from webapp.errors import HoldfastError
from webapp.http.formats import ago, exact
from webapp.http.guard import current_actor
from webapp.http.rolerows import permission_groups
from webapp.http.rows import form_of
from webapp.infra.clock import now
from webapp.policies import SCOPES
from webapp.services.cursors import Page
from webapp.services.folders import list_all_folders
from webapp.services.inputs import split_commas
from webapp.services.tokens import NewTokenView, TokenView

LIVES = (("7", _l("7 days")), ("30", _l("30 days")), ("90", _l("90 days")), ("365", _l("a year")))
BEFORE = ("files.read",)  # what is ticked at first


def token_rows(page: Page[TokenView]) -> list[dict[str, Any]]:
    """Rows of a list."""
    return [token_row(token) for token in page.items]


def token_row(token: TokenView) -> dict[str, Any]:
    """One of them."""
    over = token.expires_at <= now()
    return {
        "id": token.id, "name": token.name, "prefix": token.prefix, "scopes_text": ", ".join(token.scopes),
        "count_text": ngettext("%(num)d scope", "%(num)d scopes", len(token.scopes)),
        "place": token.folder or "", "networks_text": ", ".join(token.networks),
        "used": token.last_used_at, "used_text": ago(token.last_used_at) if token.last_used_at else _("never used"),
        "used_exact": exact(token.last_used_at), "used_from": token.last_used_address or "", "over": over,
        "expires": token.expires_at, "expires_text": ago(token.expires_at), "expires_exact": exact(token.expires_at),
        "end_url": url_for("tokens_pages.revoke_token", token_id=token.id),
    }  # fmt: skip


def token_list_page(page: Page[TokenView]) -> str:
    """One's own."""
    return render_template("tokens/index.html", rows=token_rows(page))


def token_form_page(error: HoldfastError | None = None) -> str:
    """The form for a new one, with what was typed."""
    actor = current_actor()
    posted = request.method == "POST"
    chosen = split_commas(request.form.getlist("scopes")) if posted else BEFORE
    offered = {name for name in SCOPES if actor.can(name)}
    return render_template(
        "tokens/form.html",
        form=form_of(error),
        groups=permission_groups(set(chosen), offered),
        lives=[(days, str(words)) for days, words in LIVES],
        folders=[("", _("All files and folders")), *list_all_folders(actor)] if actor.can("files.read") else [],
    )


def secret_page(made: NewTokenView) -> Response:
    """The token, this once: no cache keeps it."""
    page: Response = make_response(render_template("tokens/secret.html", token=token_row(made), secret=made.token))
    page.headers["Cache-Control"] = "no-store"
    return page
