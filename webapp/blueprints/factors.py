"""Second factors: one's own, on the security page and for programs; an administrator's reset."""

from uuid import UUID

from flask import Blueprint, flash, redirect, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from webapp.errors import Conflict, HoldfastError, Invalid, Missing, Refused, Stale
from webapp.http.answers import gives
from webapp.http.conditional import expected_version
from webapp.http.factorrows import app_page, codes_page, merge_factor, passkey_page
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_form, takes
from webapp.http.limiting import limited
from webapp.http.merges import Answer
from webapp.services import factors, passkeys, recovery_codes, totp
from webapp.services.factors import FactorChange, FactorList, FactorMade, FactorView
from webapp.services.passkeys import NewPasskey, PasskeyOptions
from webapp.services.recovery_codes import RecoveryCodes
from webapp.services.totp import TotpCode, TotpSetup

pages = Blueprint("factors_pages", __name__)
api = Blueprint("factors_api", __name__)


@api.get("/factors")
@guard("account.read", unready=True)
@gives(FactorList)
def list_factors() -> FactorList:
    """Your second factors, and how many recovery codes are left."""
    return factors.list_factors(current_actor())


@api.post("/factors/totp")
@guard("account.secure", fresh=True, unready=True)
@gives(TotpSetup, errors=(409,))
def start_totp() -> TotpSetup:
    """A secret for an app; it counts once the app's first code is confirmed."""
    return totp.start_totp(current_actor())


@api.post("/factors/totp/confirmation")
@guard("account.secure", fresh=True, unready=True)
@limited("sign_in")
@takes(TotpCode)
@gives(FactorMade, errors=(404, 429))
def confirm_totp(wish: TotpCode) -> FactorMade:
    """Confirm the app by its first code. With your first factor come recovery codes."""
    return totp.confirm_totp(current_actor(), wish)


@api.post("/factors/passkeys")
@guard("account.secure", fresh=True, unready=True, feature="passkeys")
@gives(PasskeyOptions, errors=(404, 409))
def start_passkey() -> PasskeyOptions:
    """What the browser makes a passkey of (navigator.credentials.create)."""
    return passkeys.start_passkey(current_actor())


@api.post("/factors/passkeys/confirmation")
@guard("account.secure", fresh=True, unready=True, feature="passkeys")
@limited("sign_in")
@takes(NewPasskey)
@gives(FactorMade, errors=(404, 409))
def create_passkey(wish: NewPasskey) -> FactorMade:
    """Keep the passkey that the browser made. With your first factor come recovery codes."""
    return passkeys.create_passkey(current_actor(), wish)


@api.post("/factors/recovery-codes")
@guard("account.secure", fresh=True, unready=True)
@limited("sendings")
@gives(RecoveryCodes, errors=(409,))
def make_codes() -> RecoveryCodes:
    """Ten new recovery codes; those before are dead."""
    return recovery_codes.make_codes(current_actor())


@api.get("/factors/<uuid:factor_id>")
@guard("account.read", unready=True)
@gives(FactorView, errors=(404,))
def show_factor(factor_id: UUID) -> FactorView:
    """One of them."""
    return factors.show_factor(current_actor(), factor_id)


@api.patch("/factors/<uuid:factor_id>")
@guard("account.secure", unready=True)
@takes(FactorChange)
@gives(FactorView, errors=(404, 412))
def rename_factor(wish: FactorChange, factor_id: UUID) -> FactorView:
    """Call it something else."""
    return factors.rename_factor(current_actor(), factor_id, wish, expected_version())


@api.delete("/factors/<uuid:factor_id>")
@guard("account.secure", fresh=True)
@gives(None, status=204, errors=(404, 409, 412))
def remove_factor(factor_id: UUID) -> None:
    """Remove it; 409 where a role asks for it, or for your only way to sign in."""
    factors.remove_factor(current_actor(), factor_id, expected_version())


@api.delete("/users/<uuid:user_id>/factors")
@guard("users.write", fresh=True)
@gives(None, status=204, errors=(404, 409))
def reset_factors(user_id: UUID) -> None:
    """Take all second factors of an account whose owner has lost them; the owner is mailed."""
    factors.reset_factors(current_actor(), user_id)


@pages.post("/account/security/app", endpoint="start_totp")
@guard("account.secure", fresh=True, unready=True)
def start_totp_page() -> Response:
    """Begin with an app."""
    try:
        totp.start_totp(current_actor())
    except Conflict as error:
        flash(_(error.detail), "error")
        return _back()
    return redirect(url_for(".totp_form"))


@pages.get("/account/security/app")
@guard("account.secure", fresh=True, unready=True)
def totp_form() -> str | Response:
    """The picture for the app, while it waits for its first code."""
    try:
        return app_page()
    except Missing:
        return _back()


@pages.post("/account/security/app/confirmation", endpoint="confirm_totp")
@guard("account.secure", fresh=True, unready=True)
@limited("sign_in")
def confirm_totp_page() -> Answer:
    """Confirm it."""
    try:
        return _made(totp.confirm_totp(current_actor(), read_form(TotpCode)))
    except Missing as error:
        flash(_(error.detail), "error")
        return _back()
    except HoldfastError as error:
        return app_page(error)


@pages.get("/account/security/passkey")
@guard("account.secure", fresh=True, unready=True, feature="passkeys")
def passkey_form() -> str:
    """The form that makes one."""
    return passkey_page()


@pages.post("/account/security/passkey", endpoint="create_passkey")
@guard("account.secure", fresh=True, unready=True, feature="passkeys")
@limited("sign_in")
def create_passkey_page() -> Answer:
    """Keep what the browser made."""
    try:
        return _made(passkeys.create_passkey(current_actor(), read_form(NewPasskey)))
    except (Invalid, Conflict) as error:
        return passkey_page(error), error.status


@pages.post("/account/security/recovery-codes", endpoint="make_codes")
@guard("account.secure", fresh=True, unready=True)
@limited("sendings")
def make_codes_page() -> Response:
    """New codes, shown this once."""
    try:
        return codes_page(recovery_codes.make_codes(current_actor()).codes)
    except Conflict as error:
        flash(_(error.detail), "error")
        return _back()


@pages.post("/account/factors/<uuid:factor_id>/name", endpoint="rename_factor")
@guard("account.secure", unready=True)
def rename_factor_page(factor_id: UUID) -> Answer:
    """Call it something else; where it was changed meanwhile, the person chooses."""
    actor = current_actor()
    try:
        factors.rename_factor(actor, factor_id, read_form(FactorChange), expected_version())
    except Stale:
        return merge_factor(factors.show_factor(actor, factor_id))
    except (Invalid, Missing) as error:
        flash(_(error.errors[0].message if error.errors else error.detail), "error")
    else:
        flash(_("Saved."), "success")
    return _back()


@pages.post("/account/factors/<uuid:factor_id>/removal", endpoint="remove_factor")
@guard("account.secure", fresh=True)
def remove_factor_page(factor_id: UUID) -> Response:
    """Remove it."""
    try:
        factors.remove_factor(current_actor(), factor_id)
    except (Conflict, Missing) as error:
        flash(_(error.detail), "error")
    else:
        flash(_("Removed. It no longer proves that it is you."), "success")
    return _back()


@pages.post("/admin/users/<uuid:user_id>/factors/removal", endpoint="reset_factors")
@guard("users.write", fresh=True)
def reset_factors_page(user_id: UUID) -> Response:
    """Take all factors of an account."""
    try:
        factors.reset_factors(current_actor(), user_id)
    except (Conflict, Refused) as error:
        flash(_(error.detail), "error")
    else:
        flash(_("The second factors are gone, and their owner is mailed."), "success")
    return redirect(url_for("accounts_pages.show_user", user_id=user_id))


def _made(made: FactorMade) -> Response:
    """Recovery codes where there are new ones, else the list."""
    if made.recovery_codes:
        return codes_page(made.recovery_codes, made.factor)
    flash(_("Added. It proves from now on that it is you."), "success")
    return _back()


def _back() -> Response:
    return redirect(url_for("security_pages.show_security"))
