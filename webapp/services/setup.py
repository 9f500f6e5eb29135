"""The first administrator of an empty vault: by a one-time link, or from ADMIN_EMAIL and ADMIN_PASSWORD."""

import hmac
import secrets
from contextlib import suppress
from dataclasses import replace
from typing import Annotated

from pydantic import ValidationError
from sqlalchemy import insert

from webapp.config import ConfigurationError, current_settings
from webapp.db import db, read_row, transactional
from webapp.errors import Conflict, Invalid, Missing
from webapp.infra.clock import now
from webapp.infra.crypto import keyed_digest
from webapp.models.installation import Installation, any_installation
from webapp.models.record import any_state
from webapp.models.users import any_user_count
from webapp.policies import ADMIN, Actor, system_actor
from webapp.services.inputs import Line
from webapp.services.sessions import Origin, start_browser_session
from webapp.services.users import NewUser, hash_new_password, insert_user

SETUP_KEY = any_state(Installation, Installation.setup_key)


class SetUp(NewUser):
    """The first administrator's account and the token of the link she opened."""

    token: Annotated[str, Line(200)]


def setup_link() -> str | None:
    """The link that makes the first administrator; None when an account exists.

    Every process names the same link, also after a restart, until it is used: it is keyed by SECRET_KEYS and by a
    random value that belongs to this database.
    """
    token = _token()
    return f"{current_settings().origin}/setup?token={token}" if token else None


def check_setup(token: str) -> None:
    """Raise Missing unless this token opens the set-up now."""
    right = _token()
    if right is None or not hmac.compare_digest(right.encode(), token.encode("utf-8", "replace")):
        raise Missing("This set-up link has been used or is not valid.")


def set_up(wish: SetUp, origin: Origin) -> str:
    """Make the first administrator and sign her browser in; returns the secret for its cookie.

    Of two at the same moment one wins, the other gets Missing. Raises Invalid for a weak password.
    """
    check_setup(wish.token)
    password_hash = hash_new_password(wish.name, wish.email, wish.password)
    return _set_up(wish, password_hash, origin)


def create_first_admin() -> bool:
    """Make the administrator that ADMIN_EMAIL and ADMIN_PASSWORD name, on an empty database only; whether it did.

    Raises ConfigurationError for an address or a password that nobody could sign up with.
    """
    settings = current_settings()
    if not settings.admin_email or not settings.admin_password or _any_account():
        return False
    try:
        wish = NewUser(email=settings.admin_email, name="Administrator", password=settings.admin_password)
        password_hash = hash_new_password(wish.name, wish.email, wish.password)
    except ValidationError as error:
        raise ConfigurationError([f"ADMIN_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors()]) from None
    except Invalid as error:
        raise ConfigurationError([f"ADMIN_PASSWORD: {error.detail}"]) from None
    _setup_key()
    return _make_first(wish, password_hash, system_actor()) is not None


@transactional
def _set_up(wish: SetUp, password_hash: str, origin: Origin) -> str:
    actor = replace(system_actor(origin.request_id), address=origin.address, agent=origin.agent)
    first = _make_first(wish, password_hash, actor)
    if first is None:
        raise Missing("This set-up link has been used or is not valid.")
    return start_browser_session(first)


@transactional
def _make_first(wish: NewUser, password_hash: str, actor: Actor) -> Actor | None:
    """The first account, unless another stands by now; the installation's row lets one at a time look."""
    db.session.execute(any_installation().with_for_update())
    if db.session.scalar(any_user_count()):
        return None
    return insert_user(actor, wish, ADMIN, password_hash)


def _token() -> str | None:
    return None if _any_account() else keyed_digest(_setup_key(), "set-up link")


def _any_account() -> bool:
    row = read_row(any_user_count())
    return row is not None and row[0] > 0


def _setup_key() -> str:
    row = read_row(SETUP_KEY)
    if row is None:
        with suppress(Conflict):  # a twin was first: its value stands
            _found()
        row = read_row(SETUP_KEY)
        assert row is not None  # noqa: S101
    return str(row.setup_key)


@transactional
def _found() -> None:
    db.session.execute(insert(Installation).values(id=1, setup_key=secrets.token_urlsafe(32), created_at=now()))
