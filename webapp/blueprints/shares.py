"""Public links: made on the page of a file or folder, listed, changed, revoked, revived; the same for programs."""

from uuid import UUID

from flask import Blueprint, flash, redirect, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from webapp.errors import Conflict, Invalid, Refused, Stale
from webapp.http import sharerows
from webapp.http.accessrows import access_page
from webapp.http.answers import Created, created, gives
from webapp.http.conditional import expected_version
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_filter, read_form, read_query, takes
from webapp.http.merges import Answer
from webapp.services import openings, shares, sharing
from webapp.services.audiences import AccessFilter
from webapp.services.cursors import Page
from webapp.services.openings import VisitFilter, VisitView
from webapp.services.sharing import (
    NewShare,
    ShareChange,
    ShareEdit,
    ShareFilter,
    ShareForm,
    ShareView,
    VaultShareFilter,
)

pages = Blueprint("shares_pages", __name__)
api = Blueprint("shares_api", __name__)
SHARE = "/shares/<uuid:share_id>"


@api.get("/shares")
@guard("files.share", feature="public_links")
@takes(query=ShareFilter)
@gives(Page[ShareView], errors=(404,))
def list_shares(query: ShareFilter) -> Page[ShareView]:
    """Your public links, newest first; or all links on one file or folder that you may share."""
    return sharing.list_shares(current_actor(), query)


@api.post("/shares")
@guard("files.share", feature="public_links")
@takes(NewShare)
@gives(ShareView, status=201, errors=(404, 409))
def create_share(wish: NewShare) -> Created:
    """Make a public link to a file or folder. Its `url` is all that a stranger needs, but for a password or code."""
    made = shares.create_share(current_actor(), wish)
    return created(made, url_for("shares_api.show_share", share_id=made.id))


@api.get(SHARE)
@guard("files.share", feature="public_links")
@gives(ShareView, errors=(404,))
def show_share(share_id: UUID) -> ShareView:
    """One of them."""
    return sharing.show_share(current_actor(), share_id)


@api.patch(SHARE)
@guard("files.share", feature="public_links")
@takes(ShareChange)
@gives(ShareView, errors=(404, 412))
def change_share(wish: ShareChange, share_id: UUID) -> ShareView:
    """Change label, password, recipients, end or limit; null takes away. In force with the next request."""
    return shares.change_share(current_actor(), share_id, wish, expected_version())


@api.delete(SHARE)
@guard("files.share", feature="public_links")
@gives(None, status=204, errors=(404, 412))
def delete_share(share_id: UUID) -> None:
    """Remove it, with the list of who came by it."""
    shares.delete_share(current_actor(), share_id, expected_version())


@api.post(f"{SHARE}/revocation")
@guard("files.share", feature="public_links")
@gives(ShareView, errors=(404, 412))
def revoke_share(share_id: UUID) -> ShareView:
    """Close it at once."""
    return shares.revoke_share(current_actor(), share_id, expected_version())


@api.post(f"{SHARE}/restoration")
@guard("files.share", feature="public_links")
@gives(ShareView, errors=(404, 412))
def restore_share(share_id: UUID) -> ShareView:
    """Revive it under the same address; what somebody else revoked they or an administrator revive."""
    return shares.restore_share(current_actor(), share_id, expected_version())


@api.get(f"{SHARE}/visits")
@guard("files.share", feature="public_links")
@takes(query=VisitFilter)
@gives(Page[VisitView], errors=(404,))
def list_visits(query: VisitFilter, share_id: UUID) -> Page[VisitView]:
    """Who opened it, and downloaded or handed in what and when, newest first."""
    return openings.list_visits(current_actor(), share_id, query)


@api.get("/vault/shares")
@guard("shares.read")
@takes(query=VaultShareFilter)
@gives(Page[ShareView])
def list_vault_shares(query: VaultShareFilter) -> Page[ShareView]:
    """Everybody's public links, without their addresses."""
    return sharing.list_vault_shares(current_actor(), query)


@api.post(f"/vault{SHARE}/revocation")
@guard("shares.write")
@gives(ShareView, errors=(404, 412))
def revoke_vault_share(share_id: UUID) -> ShareView:
    """Close anybody's; who made it cannot revive it."""
    return shares.revoke_vault_share(current_actor(), share_id, expected_version())


@api.post(f"/vault{SHARE}/restoration")
@guard("shares.write")
@gives(ShareView, errors=(404, 412))
def restore_vault_share(share_id: UUID) -> ShareView:
    """Revive anybody's."""
    return shares.restore_vault_share(current_actor(), share_id, expected_version())


@pages.get("/shares", endpoint="list_shares")
@guard("files.share", feature="public_links")
def list_shares_page() -> str:
    """One's own links."""
    query = read_filter(ShareFilter)
    return sharerows.list_page(sharing.list_shares(current_actor(), query), query)


@pages.post("/shares", endpoint="create_share")
@guard("files.share", feature="public_links")
def create_share_page() -> Answer:
    """Make one, from the page of who has access to a file or folder."""
    actor = current_actor()
    try:
        made = shares.create_share(actor, sharerows.wished(read_form(ShareForm)))
    except (Invalid, Conflict) as error:
        noun, thing = sharerows.thing_of_form()
        return access_page(actor, noun, thing, AccessFilter(), link_error=error), error.status
    flash(_("The link is made. Copy it and pass it on."), "success")
    return redirect(url_for(".show_share", share_id=made.id))


@pages.get(SHARE, endpoint="show_share")
@guard("files.share", feature="public_links")
def show_share_page(share_id: UUID) -> str:
    """Its address, its settings, and who came by it."""
    return _page(share_id)


@pages.post(SHARE, endpoint="change_share")
@guard("files.share", feature="public_links")
def change_share_page(share_id: UUID) -> Answer | str:
    """Save its settings."""
    actor = current_actor()
    try:
        shares.change_share(actor, share_id, sharerows.changed(read_form(ShareEdit)), expected_version())
    except Stale:
        return sharerows.merge_share(sharing.show_share(actor, share_id))
    except Invalid as error:
        return _page(share_id, error), error.status
    flash(_("Saved."), "success")
    return redirect(url_for(".show_share", share_id=share_id))


@pages.post(f"{SHARE}/removal", endpoint="delete_share")
@guard("files.share", feature="public_links")
def delete_share_page(share_id: UUID) -> Answer:
    """Remove it; what was changed meanwhile is asked about once more."""
    actor = current_actor()
    try:
        shares.delete_share(actor, share_id, expected_version())
    except Stale:
        return sharerows.ask_again(sharing.show_share(actor, share_id))
    flash(_("The link is removed."), "success")
    return redirect(url_for(".list_shares"))


@pages.post(f"{SHARE}/revocation", endpoint="revoke_share")
@guard("files.share", feature="public_links")
def revoke_share_page(share_id: UUID) -> Response:
    """Close it at once."""
    shares.revoke_share(current_actor(), share_id)
    flash(_("The link is revoked: it opens nothing any more."), "success")
    return redirect(url_for(".show_share", share_id=share_id))


@pages.post(f"{SHARE}/restoration", endpoint="restore_share")
@guard("files.share", feature="public_links")
def restore_share_page(share_id: UUID) -> Response:
    """Open it again."""
    try:
        shares.restore_share(current_actor(), share_id)
        flash(_("The link is open again."), "success")
    except Refused as error:
        flash(_(error.detail), "error")
    return redirect(url_for(".show_share", share_id=share_id))


@pages.get("/admin/shares", endpoint="list_vault_shares")
@guard("shares.read")
def list_vault_shares_page() -> str:
    """Everybody's links."""
    query = read_filter(VaultShareFilter)
    return sharerows.vault_page(sharing.list_vault_shares(current_actor(), query), query)


@pages.post(f"/admin{SHARE}/revocation", endpoint="revoke_vault_share")
@guard("shares.write")
def revoke_vault_share_page(share_id: UUID) -> Response:
    """Close anybody's."""
    shares.revoke_vault_share(current_actor(), share_id)
    flash(_("The link is revoked; who made it cannot revive it."), "success")
    return redirect(url_for(".list_vault_shares"))


@pages.post(f"/admin{SHARE}/restoration", endpoint="restore_vault_share")
@guard("shares.write")
def restore_vault_share_page(share_id: UUID) -> Response:
    """Revive anybody's."""
    shares.restore_vault_share(current_actor(), share_id)
    flash(_("The link is open again."), "success")
    return redirect(url_for(".list_vault_shares"))


def _page(share_id: UUID, error: Invalid | None = None) -> str:
    actor = current_actor()
    query = VisitFilter() if error else read_query(VisitFilter)
    return sharerows.show_page(sharing.show_share(actor, share_id), openings.list_visits(actor, share_id, query), error)
