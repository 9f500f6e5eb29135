"""How pages show everybody's accounts: states and roles in words, the quota in GB, where somebody is signed in."""

from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from flask import render_template, request, url_for
from flask_babel import format_decimal
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from pydantic import BeforeValidator, Field

from webapp.errors import HoldfastError
from webapp.http.devices import device_of
from webapp.http.formats import ago, exact, size
from webapp.http.guard import current_actor
from webapp.http.merges import Answer, choice, merge_page
from webapp.http.rolerows import role_words
from webapp.http.rows import form_of
from webapp.http.tokenrows import token_rows
from webapp.services.accounts import AccountChange, AccountFilter, AccountView, Roles, show_user
from webapp.services.cursors import Page
from webapp.services.inputs import Input, split_commas
from webapp.services.roles import assignable_roles
from webapp.services.sessions import SessionFilter, SessionView
from webapp.services.standings import list_user_sessions, list_user_tokens
from webapp.services.tokens import TokenFilter, TokenView
from webapp.services.users import Email, Name

GB = 10**9
STATES = {
    "active": (_l("Active"), "good"),
    "suspended": (_l("Suspended"), "warn"),
    "deleted": (_l("Deleted"), "bad"),
}


class AccountForm(Input):
    """The form of an account; the quota in GB."""

    name: Name
    email: Email
    roles: Annotated[Roles, BeforeValidator(split_commas)] = Field(default_factory=list)
    gigabytes: Annotated[float, Field(ge=0, le=4 * 10**9)] | None = None

    def change(self) -> AccountChange:
        """As the service takes it."""
        limit = None if self.gigabytes is None else round(self.gigabytes * GB)
        given = {} if limit is None else {"byte_limit": limit}
        return AccountChange(name=self.name, email=self.email, roles=self.roles or None, **given)


def roles_words(roles: list[str]) -> str:
    """The same of several."""
    return ", ".join(role_words(role) for role in roles)


def list_page(page: Page[AccountView], query: AccountFilter) -> str:
    """All accounts that match."""
    here = url_for("accounts_pages.list_users")
    given = {name: value for name, value in request.args.items() if name != "cursor" and value}
    return render_template(
        "accounts/index.html",
        rows=[account_row(account) for account in page.items],
        next_url=f"{here}?{urlencode({**given, 'cursor': page.next_cursor})}" if page.next_cursor else None,
        states=[(_("All"), _link(here, given, None), "plain", query.state is None)]
        + [(str(text), _link(here, given, name), tone, query.state == name) for name, (text, tone) in STATES.items()],
        roles=[("", _("Any role")), *((slug, text) for slug, text, _held in _role_boxes([]))],
        sorts=[("name", _("By name")), ("email", _("By e-mail")), ("-created_at", _("Newest first")),
               ("created_at", _("Oldest first"))],
        filters=given,
        filtered=bool(given.keys() - {"sort"}),
    )  # fmt: skip


def _link(here: str, given: dict[str, str], state: str | None) -> str:
    kept = {name: value for name, value in given.items() if name != "state"}
    query = urlencode({**kept, "state": state} if state else kept)
    return f"{here}?{query}" if query else here


def account_page(
    account: AccountView, sessions: Page[SessionView], tokens: Page[TokenView], error: HoldfastError | None
) -> str:
    """One account."""
    form = form_of(error)
    held = split_commas(request.form.getlist("roles")) if "name" in request.form else account.roles
    return render_template(
        "accounts/show.html",
        user=account_row(account),
        form=form,
        roles=_role_boxes(held),
        rows=[_session(account, session) for session in sessions.items],
        tokens=token_rows(tokens),
    )


def show_account_page(user_id: UUID, error: HoldfastError | None = None) -> str:
    """One account by its id, with what was typed where it was refused. Raises Missing."""
    actor = current_actor()
    account = show_user(actor, user_id)
    signed_in = list_user_sessions(actor, user_id, SessionFilter(limit=100))
    return account_page(account, signed_in, list_user_tokens(actor, user_id, TokenFilter(limit=100)), error)


def form_page(error: HoldfastError | None = None) -> str:
    """The form for a new account, with what was typed."""
    held = request.form.getlist("roles") if request.method == "POST" else ["member"]
    return render_template("accounts/create.html", form=form_of(error), roles=_role_boxes(held))


def merge_account(account: AccountView) -> Answer:
    """Theirs and yours, to choose per field."""
    typed = ",".join(sorted(split_commas(request.form.getlist("roles"))))
    fields = [
        choice("name", _("Name"), account.name),
        choice("email", _("E-mail"), account.email),
        choice("gigabytes", _("Quota in GB"), gigabytes(account.byte_limit)),
        choice("roles", _("Roles"), ",".join(account.roles), lambda text: roles_words(text.split(",")), typed),
    ]
    here = url_for("accounts_pages.show_user", user_id=account.id)
    return merge_page(account.name, here, account.version, here, fields)


def ask_again(account: AccountView) -> Answer:
    """Whether to delete an account all the same that was changed meanwhile."""
    here, action = (url_for(f"accounts_pages.{name}", user_id=account.id) for name in ("show_user", "delete_user"))
    return merge_page(account.name, action, account.version, here, deed=_("Delete account"), danger=True)


def gigabytes(number: int) -> str:
    """Bytes as GB, as a form spells them."""
    return f"{number / GB:.3f}".rstrip("0").rstrip(".")


def account_row(account: AccountView) -> dict[str, Any]:
    """One account, formatted."""
    text, tone = STATES[account.state]
    return {
        "id": account.id, "name": account.name, "email": account.email, "version": account.version,
        "url": url_for("accounts_pages.show_user", user_id=account.id), "state": account.state,
        "state_text": str(text), "tone": tone, "roles": account.roles, "roles_text": roles_words(account.roles),
        "used_text": size(account.byte_used), "limit_text": size(account.byte_limit),
        "gigabytes": gigabytes(account.byte_limit), "bytes_text": format_decimal(account.byte_used),
        "percent": min(100, round(100 * account.byte_used / account.byte_limit)) if account.byte_limit else 100,
        "seen": account.seen_at, "seen_text": ago(account.seen_at) or _("never"), "seen_exact": exact(account.seen_at),
        "created": account.created_at, "created_text": ago(account.created_at),
        "created_exact": exact(account.created_at), "suspended_text": ago(account.suspended_at),
        "deleted_text": ago(account.deleted_at), "second_factor": account.second_factor,
    }  # fmt: skip


def _role_boxes(held: list[str]) -> list[tuple[str, str, bool]]:
    """Those that the actor may give or take, and those that the account holds all the same."""
    words = {role.slug: role_words(role.slug, role.name) for role in assignable_roles(current_actor())}
    return [(slug, text, slug in held) for slug, text in {**{h: role_words(h) for h in held}, **words}.items()]


def _session(account: AccountView, session: SessionView) -> dict[str, Any]:
    device, icon = device_of(session.agent, session.kind)
    return {
        "id": session.id, "device": device, "icon": icon, "address": session.address or "", "current": session.current,
        "seen": session.seen_at, "seen_text": ago(session.seen_at), "seen_exact": exact(session.seen_at),
        "end_url": url_for("accounts_pages.end_user_session", user_id=account.id, session_id=session.id),
    }  # fmt: skip
