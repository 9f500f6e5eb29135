"""Personal tokens: pages under /account/tokens, and the same for programs that are signed in."""

from uuid import UUID

from flask import Blueprint, flash, redirect, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from webapp.errors import Conflict, Invalid, Refused
from webapp.http.answers import Created, created, gives
from webapp.http.conditional import expected_version
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_form, takes
from webapp.http.merges import Answer
from webapp.http.tokenrows import secret_page, token_form_page, token_list_page
from webapp.services import standings, tokens
from webapp.services.cursors import Page
from webapp.services.tokens import NewToken, NewTokenView, TokenChange, TokenFilter, TokenForm, TokenView

pages = Blueprint("tokens_pages", __name__)
api = Blueprint("tokens_api", __name__)


@api.get("/tokens")
@guard("account.read")
@takes(query=TokenFilter)
@gives(Page[TokenView])
def list_tokens(query: TokenFilter) -> Page[TokenView]:
    """Your personal tokens, newest first, without their secrets."""
    return tokens.list_tokens(current_actor(), query)


@api.post("/tokens")
@guard("account.secure", fresh=True)
@takes(NewToken)
@gives(NewTokenView, status=201, errors=(409,))
def create_token(wish: NewToken) -> Created:
    """Make a personal token. This answer alone holds it. Personal tokens themselves cannot make any."""
    made = tokens.create_token(current_actor(), wish)
    return created(made, url_for("tokens_api.show_token", token_id=made.id))


@api.get("/tokens/<uuid:token_id>")
@guard("account.read")
@gives(TokenView, errors=(404,))
def show_token(token_id: UUID) -> TokenView:
    """One of them."""
    return tokens.show_token(current_actor(), token_id)


@api.patch("/tokens/<uuid:token_id>")
@guard("account.secure", fresh=True)
@takes(TokenChange)
@gives(TokenView, errors=(404, 412))
def change_token(wish: TokenChange, token_id: UUID) -> TokenView:
    """Change its name, scopes or address ranges. In force within a second."""
    return tokens.change_token(current_actor(), token_id, wish, expected_version())


@api.delete("/tokens/<uuid:token_id>")
@guard("account.secure")
@gives(None, status=204, errors=(404, 412))
def revoke_token(token_id: UUID) -> None:
    """Revoke it: dead here at once, in every other process within a second."""
    tokens.revoke_token(current_actor(), token_id, expected_version())


@api.get("/users/<uuid:user_id>/tokens")
@guard("users.read")
@takes(query=TokenFilter)
@gives(Page[TokenView], errors=(404,))
def list_user_tokens(query: TokenFilter, user_id: UUID) -> Page[TokenView]:
    """The personal tokens of an account."""
    return standings.list_user_tokens(current_actor(), user_id, query)


@api.delete("/users/<uuid:user_id>/tokens")
@guard("users.write")
@gives(None, status=204, errors=(404,))
def revoke_user_tokens(user_id: UUID) -> None:
    """Revoke all of them."""
    standings.revoke_user_tokens(current_actor(), user_id)


@pages.get("/account/tokens", endpoint="list_tokens")
@guard("account.read")
def list_tokens_page() -> str:
    """The list."""
    return token_list_page(tokens.list_tokens(current_actor(), TokenFilter(limit=100)))


@pages.get("/account/tokens/new")
@guard("account.secure", fresh=True)
def token_form() -> str:
    """The form for a new one."""
    return token_form_page()


@pages.post("/account/tokens", endpoint="create_token")
@guard("account.secure", fresh=True)
def create_token_page() -> Response | tuple[str, int]:
    """Make it and show it, this once."""
    try:
        made = tokens.create_token(current_actor(), read_form(TokenForm))
    except (Invalid, Conflict, Refused) as error:
        return token_form_page(error), error.status
    return secret_page(made)


@pages.post("/account/tokens/<uuid:token_id>/revocation", endpoint="revoke_token")
@guard("account.secure")
def revoke_token_page(token_id: UUID) -> Response:
    """Revoke it."""
    tokens.revoke_token(current_actor(), token_id)
    flash(_("The token is revoked."), "success")
    return redirect(url_for(".list_tokens"))


@pages.post("/admin/users/<uuid:user_id>/tokens/revocation", endpoint="revoke_user_tokens")
@guard("users.write")
def revoke_user_tokens_page(user_id: UUID) -> Answer:
    """Revoke all tokens of an account."""
    standings.revoke_user_tokens(current_actor(), user_id)
    flash(_("The tokens are revoked."), "success")
    return redirect(url_for("accounts_pages.show_user", user_id=user_id))
