"""How pages show factors: kinds and times in words, the picture that an app reads, codes to keep."""

from typing import Any
from urllib.parse import quote

from flask import Response, make_response, render_template, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from markupsafe import Markup

from webapp.errors import HoldfastError
from webapp.http.devices import device_of
from webapp.http.formats import ago, exact
from webapp.http.guard import current_actor, origin_of_request
from webapp.http.merges import Answer, choice, merge_page
from webapp.http.rows import form_of
from webapp.infra.clock import now
from webapp.services import factors, passkeys, totp
from webapp.services.factors import FactorView

KINDS = {"totp": (_l("Authenticator app"), "device-mobile"), "passkey": (_l("Passkey"), "key")}


def factor_sections() -> dict[str, Any]:
    """Variables of the sections about factors on the security page."""
    actor = current_actor()
    held = factors.list_factors(actor)
    rows = [_row(one) for one in held.items]
    return {
        "apps": [row for row in rows if row["kind"] == "totp"],
        "passkeys": [row for row in rows if row["kind"] == "passkey"],
        "passkeys_possible": passkeys.possible(),
        "codes_left": held.recovery_codes,
        "factor_due": actor.asks_factor and not rows,
    }


def proof_form(error: HoldfastError | None) -> dict[str, Any]:
    """What the form macros show of a proof that was none; a code is typed anew."""
    form = form_of(error)
    form["values"].pop("code", None)
    return form


def app_page(error: HoldfastError | None = None) -> Response:
    """The picture that the app reads, the secret to type, and the field for its first code; nobody keeps a copy."""
    setup = totp.show_totp_setup(current_actor())
    groups = [setup.secret[start : start + 4] for start in range(0, len(setup.secret), 4)]
    page = render_template("security/app.html", form=form_of(error), picture=_picture(setup.uri), uri=setup.uri,
                           groups=groups, secret=setup.secret)  # fmt: skip
    return _unkept(page, error.status if error else 200)


def passkey_page(error: HoldfastError | None = None) -> str:
    """The form that makes a passkey, which needs scripts."""
    device, _icon = device_of(origin_of_request().agent, "browser")
    return render_template("security/passkey.html", form=form_of(error), name=device, possible=passkeys.possible())


def codes_page(codes: list[str], made: FactorView | None = None) -> Response:
    """The only page that shows recovery codes; nobody keeps a copy of it."""
    words = [_("Holdfast recovery codes of %(email)s, %(day)s", email=current_actor().email, day=exact(now())), *codes]
    file = "data:text/plain;charset=utf-8," + quote("\n".join(words) + "\n")
    made_text = str(KINDS[made.kind][0]) if made else ""
    return _unkept(render_template("security/codes.html", codes=codes, file=file, made=made_text), 201)


def _unkept(page: str, status: int) -> Response:
    answer = make_response(page, status)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def merge_factor(factor: FactorView) -> Answer:
    """Theirs and yours, to choose."""
    action = url_for("factors_pages.rename_factor", factor_id=factor.id)
    here = url_for("security_pages.show_security")
    return merge_page(factor_name(factor), action, factor.version, here, [choice("name", _("Name"), factor.name)])


def factor_name(factor: FactorView) -> str:
    """What its owner calls it, else its kind."""
    return factor.name or str(KINDS[factor.kind][0])


def _row(one: FactorView) -> dict[str, Any]:
    return {
        "id": one.id, "kind": one.kind, "name": factor_name(one), "plain_name": one.name, "icon": KINDS[one.kind][1],
        "synced": one.synced, "used": one.used_at, "used_text": ago(one.used_at) if one.used_at else "",
        "used_exact": exact(one.used_at) if one.used_at else "", "created_text": ago(one.created_at),
        "version": one.version,
    }  # fmt: skip


def _picture(uri: str) -> Markup:
    """A QR code as SVG, without style of its own: black on white in either theme, as readers want it."""
    import segno

    code = segno.make(uri, error="m")
    return Markup(code.svg_inline(dark="#000", light="#fff", omitsize=True, svgclass="qr", lineclass=None))  # noqa: S704
