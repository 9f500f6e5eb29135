"""Everybody's accounts: pages under /admin/users and the same for programs."""

from uuid import UUID

from flask import Blueprint, flash, redirect, url_for
from flask_babel import gettext as _
from flask_babel import ngettext
from werkzeug.wrappers import Response

from webapp.errors import Conflict, HoldfastError, Refused, Stale
from webapp.http.accountrows import AccountForm, ask_again, form_page, list_page, merge_account, show_account_page
from webapp.http.answers import Created, created, gives
from webapp.http.conditional import expected_version
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_filter, read_form, takes
from webapp.http.limiting import limited
from webapp.http.merges import Answer
from webapp.services import accounts, standings
from webapp.services.accounts import AccountChange, AccountFilter, AccountView, NewAccount
from webapp.services.cursors import Page
from webapp.services.sessions import SessionFilter, SessionView

pages = Blueprint("accounts_pages", __name__)
api = Blueprint("accounts_api", __name__)


@api.get("/users")
@guard("users.read")
@takes(query=AccountFilter)
@gives(Page[AccountView])
def list_users(query: AccountFilter) -> Page[AccountView]:
    """All accounts; deleted ones only when asked for."""
    return accounts.list_users(current_actor(), query)


@api.post("/users")
@guard("users.write", fresh=True)
@takes(NewAccount)
@gives(AccountView, status=201, errors=(409, 503))
def create_user(wish: NewAccount) -> Created:
    """Make an account; without a password its owner is mailed a link to choose one."""
    made = accounts.create_user(current_actor(), wish)
    return created(made, url_for("accounts_api.show_user", user_id=made.id))


@api.get("/users/<uuid:user_id>")
@guard("users.read")
@gives(AccountView, errors=(404,))
def show_user(user_id: UUID) -> AccountView:
    """One account."""
    return accounts.show_user(current_actor(), user_id)


@api.patch("/users/<uuid:user_id>")
@guard("users.write", fresh=True)
@takes(AccountChange)
@gives(AccountView, errors=(404, 409, 412))
def change_user(wish: AccountChange, user_id: UUID) -> AccountView:
    """Change name, e-mail, roles or quota."""
    return accounts.change_user(current_actor(), user_id, wish, expected_version())


@api.delete("/users/<uuid:user_id>")
@guard("users.write", fresh=True)
@gives(None, status=204, errors=(404, 409, 412))
def delete_user(user_id: UUID) -> None:
    """Delete an account and end its sessions. It can be restored until it is erased."""
    standings.delete_user(current_actor(), user_id, expected_version())


@api.post("/users/<uuid:user_id>/suspension")
@guard("users.write", fresh=True)
@gives(AccountView, errors=(404, 409))
def suspend_user(user_id: UUID) -> AccountView:
    """Suspend an account: every session ends and nobody signs in to it."""
    return standings.suspend_user(current_actor(), user_id)


@api.post("/users/<uuid:user_id>/restoration")
@guard("users.write", fresh=True)
@gives(AccountView, errors=(404, 409))
def restore_user(user_id: UUID) -> AccountView:
    """Take back a deletion or a suspension."""
    return standings.restore_user(current_actor(), user_id)


@api.post("/users/<uuid:user_id>/password-resets")
@guard("users.write", fresh=True)
@limited("sendings")
@gives(None, status=204, errors=(404, 409))
def send_reset(user_id: UUID) -> None:
    """Mail the owner a link that sets a new password."""
    standings.send_reset(current_actor(), user_id)


@api.get("/users/<uuid:user_id>/sessions")
@guard("users.read")
@takes(query=SessionFilter)
@gives(Page[SessionView], errors=(404,))
def list_user_sessions(query: SessionFilter, user_id: UUID) -> Page[SessionView]:
    """Where the account is signed in."""
    return standings.list_user_sessions(current_actor(), user_id, query)


@api.delete("/users/<uuid:user_id>/sessions")
@guard("users.write", fresh=True)
@gives(None, status=204, errors=(404,))
def end_user_sessions(user_id: UUID) -> None:
    """Sign the account out everywhere."""
    standings.end_user_sessions(current_actor(), user_id)


@api.delete("/users/<uuid:user_id>/sessions/<uuid:session_id>")
@guard("users.write", fresh=True)
@gives(None, status=204, errors=(404, 412))
def end_user_session(user_id: UUID, session_id: UUID) -> None:
    """Sign the account out on one device."""
    standings.end_user_session(current_actor(), user_id, session_id, expected_version())


@pages.get("/admin/users", endpoint="list_users")
@guard("users.read")
def list_users_page() -> str:
    """The list."""
    query = read_filter(AccountFilter)
    return list_page(accounts.list_users(current_actor(), query), query)


@pages.get("/admin/users/new")
@guard("users.write", fresh=True)
def user_form() -> str:
    """The form for a new account."""
    return form_page()


@pages.post("/admin/users", endpoint="create_user")
@guard("users.write", fresh=True)
def create_user_page() -> Answer:
    """Make it; what is refused comes back in the form."""
    try:
        made = accounts.create_user(current_actor(), read_form(NewAccount))
    except HoldfastError as error:
        return form_page(error), error.status
    flash(_("The account is made, and its owner is mailed."), "success")
    return redirect(url_for(".show_user", user_id=made.id))


@pages.get("/admin/users/<uuid:user_id>", endpoint="show_user")
@guard("users.read")
def show_user_page(user_id: UUID) -> str:
    """One account: profile, roles, quota, sign-ins, what can be done."""
    return show_account_page(user_id)


@pages.post("/admin/users/<uuid:user_id>", endpoint="change_user")
@guard("users.write", fresh=True)
def change_user_page(user_id: UUID) -> Answer:
    """Save it; where it was saved from elsewhere meanwhile, the person chooses."""
    actor = current_actor()
    try:
        accounts.change_user(actor, user_id, read_form(AccountForm).change(), expected_version())
    except Stale:
        return merge_account(accounts.show_user(actor, user_id))
    except HoldfastError as error:
        return show_account_page(user_id, error), error.status
    flash(_("Saved."), "success")
    return redirect(url_for(".show_user", user_id=user_id))


@pages.post("/admin/users/<uuid:user_id>/suspension", endpoint="suspend_user")
@guard("users.write", fresh=True)
def suspend_user_page(user_id: UUID) -> Answer:
    """Suspend it."""
    try:
        standings.suspend_user(current_actor(), user_id)
    except (Conflict, Refused) as error:
        return show_account_page(user_id, error), error.status
    flash(_("The account is suspended and signed out everywhere."), "success")
    return redirect(url_for(".show_user", user_id=user_id))


@pages.post("/admin/users/<uuid:user_id>/restoration", endpoint="restore_user")
@guard("users.write", fresh=True)
def restore_user_page(user_id: UUID) -> Answer:
    """Take back a deletion or a suspension."""
    try:
        standings.restore_user(current_actor(), user_id)
    except (Conflict, Refused) as error:
        return show_account_page(user_id, error), error.status
    flash(_("The account is restored."), "success")
    return redirect(url_for(".show_user", user_id=user_id))


@pages.post("/admin/users/<uuid:user_id>/removal", endpoint="delete_user")
@guard("users.write", fresh=True)
def delete_user_page(user_id: UUID) -> Answer:
    """Delete it; what was changed meanwhile is asked about once more."""
    actor = current_actor()
    try:
        standings.delete_user(actor, user_id, expected_version())
    except Stale:
        return ask_again(accounts.show_user(actor, user_id))
    except (Conflict, Refused) as error:
        return show_account_page(user_id, error), error.status
    flash(_("The account is deleted. It can be restored for a while."), "success")
    return redirect(url_for(".list_users"))


@pages.post("/admin/users/<uuid:user_id>/password-resets", endpoint="send_reset")
@guard("users.write", fresh=True)
@limited("sendings")
def send_reset_page(user_id: UUID) -> Answer:
    """Mail the owner a link that sets a new password."""
    try:
        standings.send_reset(current_actor(), user_id)
    except (Conflict, Refused) as error:
        return show_account_page(user_id, error), error.status
    flash(_("The mail is on its way. Its link is good for a day."), "success")
    return redirect(url_for(".show_user", user_id=user_id))


@pages.post("/admin/users/<uuid:user_id>/sessions/end", endpoint="end_user_sessions")
@guard("users.write", fresh=True)
def end_user_sessions_page(user_id: UUID) -> Response:
    """Sign the account out everywhere."""
    count = standings.end_user_sessions(current_actor(), user_id)
    flash(ngettext("%(num)d device is signed out.", "%(num)d devices are signed out.", count), "success")
    return redirect(url_for(".show_user", user_id=user_id))


@pages.post("/admin/users/<uuid:user_id>/sessions/<uuid:session_id>/end", endpoint="end_user_session")
@guard("users.write", fresh=True)
def end_user_session_page(user_id: UUID, session_id: UUID) -> Response:
    """Sign the account out on one device."""
    standings.end_user_session(current_actor(), user_id, session_id)
    flash(_("That device is signed out."), "success")
    return redirect(url_for(".show_user", user_id=user_id))
