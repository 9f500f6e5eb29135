"""Proving more than a password: by a code of an app, a passkey, a recovery code; failures are counted and audited."""

from typing import Annotated, Literal

from pydantic import Field

from webapp.db import db
from webapp.errors import Invalid
from webapp.models.users import live_user
from webapp.policies import Actor
from webapp.services import attempts, passkeys, recovery_codes, totp
from webapp.services.events import Target, record
from webapp.services.factors import tell
from webapp.services.inputs import Input, Line
from webapp.services.mails import Recipient

ANYWHERE = "second step"  # failures at one account count together, from wherever: whoever fails here has its password


class FactorProof(Input):
    """A code of the app or a recovery code, or what a passkey signed: the browser's credential as JSON text."""

    method: Literal["totp", "passkey", "recovery_code"]
    code: Annotated[str, Line(100)] | None = None
    credential: Annotated[str, Field(max_length=20_000)] | None = None

    @property
    def given(self) -> str:
        """What the method needs. Raises Invalid where it is absent."""
        field = "credential" if self.method == "passkey" else "code"
        value = self.credential if self.method == "passkey" else self.code
        if not value:
            raise Invalid.field(field, "missing", "Give a code." if field == "code" else "Use your passkey.")
        return value


def try_factor(actor: Actor, wish: FactorProof) -> str | None:
    """Use the factor once; else count and audit the failure and say why (see factors.WORDS). Raises Limited, Invalid.

    Must run inside a transaction, to be committed either way: it holds the account's row, so failures are counted one
    by one, and a code that many send at once is used by one.
    """
    given = wish.given
    db.session.execute(live_user(actor.id).with_for_update())
    account = f"second step {actor.uuid}"
    attempts.refuse_if_limited(account, actor.address, inside=True)
    attempts.refuse_if_limited(account, None, ANYWHERE, inside=True)
    fault = _use(actor, wish.method, given)
    if fault is not None:
        attempts.note_failure(account, actor.address)
        attempts.note_failure(account, None, ANYWHERE)
        said = {"method": (None, wish.method), "reason": (None, fault)}
        record(actor, "factor.refused", Target("user", actor.uuid, owner_id=actor.id), said)
        return fault
    attempts.forgive(account, actor.address)
    attempts.forgive(account, None, ANYWHERE)
    if wish.method == "recovery_code":
        left = recovery_codes.codes_left(actor.id)
        record(actor, "factor.code_used", Target("user", actor.uuid, owner_id=actor.id), {"left": (None, left)})
        to = Recipient(actor.email, actor.name, actor.locale, actor.time_zone)
        tell(actor, to, "recovery_code_used", left=str(left))
    return None


def _use(actor: Actor, method: str, given: str) -> str | None:
    if method == "totp":
        return totp.use_totp(actor.id, given)
    if method == "recovery_code":
        return recovery_codes.use_code(actor.id, given)
    return passkeys.use_passkey(given, actor.id)[1]
