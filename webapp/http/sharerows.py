"""How pages show public links to those who made them, and to administrators."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from flask import render_template, request, url_for
from flask_babel import format_decimal, ngettext
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from webapp.errors import HoldfastError, Missing
from webapp.http.formats import ago, exact
from webapp.http.guard import current_actor
from webapp.http.merges import Answer, choice, merge_page
from webapp.http.rows import form_of
from webapp.infra.clock import now
from webapp.services.cursors import Page
from webapp.services.grants import Noun
from webapp.services.openings import VisitView
from webapp.services.settings import in_force
from webapp.services.sharing import NewShare, ShareChange, ShareEdit, ShareFilter, ShareForm, ShareView
from webapp.services.sharing import VaultShareFilter as VaultFilter

STATES = {"active": (_l("Open"), "good"), "revoked": (_l("Revoked"), "bad"), "expired": (_l("Over"), "warn"),
          "exhausted": (_l("Used up"), "warn"), "gone": (_l("Nothing there"), "plain")}  # fmt: skip
FILTERS = ("active", "revoked", "expired", "exhausted")
LIVES = (("1", _l("a day")), ("7", _l("7 days")), ("30", _l("30 days")), ("90", _l("90 days")),
         ("365", _l("a year")))  # fmt: skip
DEEDS = {"opened": (_l("Opened"), "eye"), "refused": (_l("Refused"), "lock"),
         "downloaded": (_l("Downloaded"), "download"), "uploaded": (_l("Handed in"), "upload")}  # fmt: skip


def share_rows(page: Page[ShareView]) -> list[dict[str, Any]]:
    """Rows of a list."""
    return [share_row(share) for share in page.items]


def share_row(share: ShareView) -> dict[str, Any]:
    """One link."""
    text, tone = STATES[share.state]
    noun, thing = ("file", share.file_id) if share.file_id else ("folder", share.folder_id)
    count = ngettext(
        "%(shown)s download", "%(shown)s downloads", share.downloads, shown=format_decimal(share.downloads)
    )
    return {
        "id": share.id, "name": share.name or _("gone"), "label": share.label, "noun": noun,
        "thing_url": f"/{noun}s/{thing}/access" if thing else None, "icon": "file" if noun == "file" else "folder",
        "url": share.url, "state": share.state, "state_text": str(text), "tone": tone, "maker": share.maker,
        "downloads_text": count if share.download_limit is None
        else _("%(count)s of %(limit)s", count=count, limit=format_decimal(share.download_limit)),
        "marks": _marks(share), "ends": share.expires_at, "ends_text": ago(share.expires_at),
        "ends_exact": exact(share.expires_at), "made": share.created_at, "made_text": ago(share.created_at),
        "made_exact": exact(share.created_at), "revoked_by": share.revoked_by, "version": share.version,
        "show_url": url_for("shares_pages.show_share", share_id=share.id),
        "revoke_url": url_for("shares_pages.revoke_share", share_id=share.id),
        "restore_url": url_for("shares_pages.restore_share", share_id=share.id),
    }  # fmt: skip


def _marks(share: ShareView) -> list[str]:
    people = ngettext("%(num)d recipient", "%(num)d recipients", len(share.recipients))
    marks = [(share.has_password, _("password")), (share.upload_only, _("takes files")),
             (share.view_only, _("looking only")), (share.strip_metadata, _("without picture data")),
             (bool(share.recipients), people)]  # fmt: skip
    return [str(words) for there, words in marks if there]


def list_page(page: Page[ShareView], query: ShareFilter) -> str:
    """One's own links."""
    return render_template("shares/index.html", rows=share_rows(page), **_around(page, query, "list_shares"))


def vault_page(page: Page[ShareView], query: VaultFilter) -> str:
    """Everybody's, for administrators."""
    rows = [
        {**row, "revoke_url": url_for("shares_pages.revoke_vault_share", share_id=row["id"]),
         "restore_url": url_for("shares_pages.restore_vault_share", share_id=row["id"])}
        for row in share_rows(page)
    ]  # fmt: skip
    writes = current_actor().can("shares.write")
    return render_template("shares/vault.html", rows=rows, q=query.q or "", writes=writes,
                           **_around(page, query, "list_vault_shares"))  # fmt: skip


def _around(page: Page[ShareView], query: ShareFilter | VaultFilter, endpoint: str) -> dict[str, Any]:
    here = url_for(f"shares_pages.{endpoint}")
    given = {name: value for name, value in request.args.items() if name in {"q", "state"} and value}

    def link(**other: str | None) -> str:
        kept = {name: value for name, value in {**given, **other}.items() if value}
        return f"{here}?{urlencode(kept)}" if kept else here

    states = [(_("All"), link(state=None), "plain", query.state is None)]
    states += [(str(STATES[name][0]), link(state=name), STATES[name][1], query.state == name) for name in FILTERS]
    return {"states": states, "filtered": bool(given),
            "next_url": link(cursor=page.next_cursor) if page.next_cursor else None}  # fmt: skip


def show_page(share: ShareView, visits: Page[VisitView], error: HoldfastError | None = None) -> str:
    """One link: its address, the form that changes it, who came by it."""
    here = url_for("shares_pages.show_share", share_id=share.id)
    return render_template(
        "shares/show.html",
        share=share_row(share),
        saved={"label": share.label, "download_limit": share.download_limit or "",
               "recipients": ", ".join(share.recipients)},
        has_password=share.has_password,
        view_only=share.view_only,
        strip_metadata=share.strip_metadata,
        upload_only=share.upload_only,
        lives=[("", _("As it is")), *([] if in_force().link_most_days else [("0", _("No end"))]), *_lives()],
        form=form_of(error),
        visits=[_visit(visit) for visit in visits.items],
        next_url=f"{here}?cursor={visits.next_cursor}" if visits.next_cursor else None,
    )  # fmt: skip


def lives() -> list[tuple[str, str]]:
    """How long a new link may be good, to choose; empty is what the settings say."""
    values = in_force()
    days = values.link_default_days or values.link_most_days
    return [("", ngettext("%(num)d day", "%(num)d days", days) if days else _("No end")), *_lives()]


def _lives() -> list[tuple[str, str]]:
    most = in_force().link_most_days
    return [(days, str(words)) for days, words in LIVES if not most or int(days) <= most]


def _visit(visit: VisitView) -> dict[str, Any]:
    words, icon = DEEDS[visit.what]
    return {"words": str(words), "icon": icon, "name": visit.name, "address": visit.address,
            "recipient": visit.recipient, "at": visit.created_at, "at_text": ago(visit.created_at),
            "at_exact": exact(visit.created_at)}  # fmt: skip


def wished(form: ShareForm) -> NewShare:
    """What a page's form asks for."""
    days = form.days
    return form if days is None else form.model_copy(update={"expires_at": now() + timedelta(days=days)})


def thing_of_form() -> tuple[Noun, UUID]:
    """What the form was about that was refused. Raises Missing where it names nothing."""
    noun: Noun = "file" if request.form.get("file_id") else "folder"
    try:
        return noun, UUID(request.form.get(f"{noun}_id", ""))
    except ValueError:
        raise Missing("There is no such file or folder.") from None


def changed(form: ShareEdit) -> ShareChange:
    """What the page of a link asks for: all that it shows, and the password and end where they are touched."""
    names = ("label", "recipients", "download_limit", "view_only", "strip_metadata")
    wishes: dict[str, Any] = {name: getattr(form, name) for name in names}
    if form.password is not None or form.no_password:
        wishes["password"] = None if form.no_password else form.password
    if form.days is not None:
        wishes["expires_at"] = now() + timedelta(days=form.days) if form.days else None
    return ShareChange(**wishes)


def merge_share(share: ShareView) -> Answer:
    """Theirs and yours, to choose per field."""
    fields = [choice("label", _("Label"), share.label),
              choice("download_limit", _("Downloads"), share.download_limit)]  # fmt: skip
    here, action = (url_for(f"shares_pages.{name}", share_id=share.id) for name in ("show_share", "change_share"))
    return merge_page(share.name or share.label, action, share.version, here, fields)


def ask_again(share: ShareView) -> Answer:
    """Whether to remove a link all the same that was changed meanwhile."""
    here, action = (url_for(f"shares_pages.{name}", share_id=share.id) for name in ("list_shares", "delete_share"))
    return merge_page(share.name or share.label, action, share.version, here, deed=_("Remove"), danger=True)
