"""Settings that administrators edit while the vault runs: every one is declared here, and read from here.

What the environment gives stands above what somebody chose (services/choices), below both are the defaults. Each
process reads the choices once a second: a change is in force everywhere within two, with no message and no Redis.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import structlog
from pydantic import Field, ValidationError, create_model
from sqlalchemy.exc import SQLAlchemyError

from webapp.config import Settings, current_settings
from webapp.db import read_row
from webapp.errors import HoldfastError
from webapp.models.record import live
from webapp.models.settings import ROW, SettingsRow
from webapp.services.inputs import Input
from webapp.services.rates import RateText, share_of

log = structlog.get_logger("webapp.settings")
FRESH = 1.0  # seconds
_COLUMNS = (SettingsRow.chosen, SettingsRow.updated_at, SettingsRow.version)
ROW_NOW = live(SettingsRow, *_COLUMNS).where(SettingsRow.id == ROW)

GeneralRate = Annotated[str, RateText(60)]
ManualRate = Annotated[str, RateText(30)]
RareRate = Annotated[str, RateText(5)]
Registration = Literal["open", "invitation", "closed"]
ImpersonationMail = Literal["sent", "off"]
Days = Annotated[int, Field(ge=1, le=3650)]
Hours = Annotated[int, Field(ge=1, le=8760)]


@dataclass(frozen=True, slots=True)
class Setting:
    """What a setting is called, and its default: the variable of its name, or a `share` of another setting's rate."""

    group: str
    title: str
    about: str
    unit: str = ""
    share: tuple[str, float] | None = None


class Values(Input):
    """What each setting may be."""

    registration: Registration
    impersonation_mail: ImpersonationMail
    session_idle_hours: Hours
    session_brief_hours: Hours
    session_life_days: Annotated[int, Field(ge=1, le=365)]
    rate_limit: GeneralRate
    reads_rate_limit: ManualRate
    writes_rate_limit: ManualRate
    uploads_rate_limit: ManualRate
    downloads_rate_limit: ManualRate
    administration_rate_limit: ManualRate
    sign_in_rate_limit: RareRate
    renewals_rate_limit: RareRate
    sendings_rate_limit: RareRate
    trash_retention_days: Annotated[int, Field(ge=0, le=3650)]
    versions_kept: Annotated[int, Field(ge=0, le=100_000)]
    version_retention_days: Annotated[int, Field(ge=0, le=3650)]
    account_retention_days: Days
    job_retention_days: Days
    dead_letter_days: Days
    webhook_log_days: Days
    link_default_days: Annotated[int, Field(ge=0, le=3650)]
    link_most_days: Annotated[int, Field(ge=0, le=3650)]


ALL, HALF = ("rate_limit", 1.0), ("rate_limit", 0.5)
SETTINGS = {
    "registration": Setting(
        "accounts", "Registration", "Who may make an account: anybody, those who were invited, or nobody."
    ),
    "impersonation_mail": Setting(
        "accounts", "Mail about impersonation", "Whether people are told when an administrator acts as them."
    ),
    "session_idle_hours": Setting(
        "sessions", "Unused", "Until a browser or program that nobody uses is signed out.", "hours"
    ),
    "session_brief_hours": Setting(
        "sessions", "Unused, not remembered", "The same of a browser that was not to stay signed in.", "hours"
    ),
    "session_life_days": Setting("sessions", "At most", "Until everybody has to sign in again, however busy.", "days"),
    "rate_limit": Setting("limits", "All requests", "Of one account, or of one address that is not signed in."),
    "reads_rate_limit": Setting("limits", "Reading", "Pages, lists, single objects, small previews.", share=ALL),
    "writes_rate_limit": Setting("limits", "Changing", "Whatever changes something.", share=HALF),
    "uploads_rate_limit": Setting("limits", "Uploading", "Each request that brings files.", share=ALL),
    "downloads_rate_limit": Setting("limits", "Downloading", "Each request for the content of a file.", share=HALF),
    "administration_rate_limit": Setting("limits", "Administration", "What only administrators may do.", share=HALF),
    "sign_in_rate_limit": Setting("strict", "Signing in", "Of one address, whoever tries."),
    "renewals_rate_limit": Setting(
        "strict", "Staying signed in", "Programs of one address that renew tokens.", share=("sign_in_rate_limit", 5.0)
    ),
    "sendings_rate_limit": Setting(
        "strict",
        "Sending by hand",
        "Test mails, webhook tests and repetitions, of one account.",
        share=("rate_limit", 0.05),
    ),
    "trash_retention_days": Setting("retention", "Trash", "How long trashed files stay; 0: for ever.", "days"),
    "versions_kept": Setting(
        "retention", "Former versions", "How many of each file stay; 0: all. Named ones do not count."
    ),
    "version_retention_days": Setting(
        "retention", "Age of former versions", "How long one stays after it was replaced; 0: for ever.", "days"
    ),
    "account_retention_days": Setting(
        "retention",
        "Deleted accounts",
        "How long they can be restored, until their files go.",
        "days",
    ),
    "job_retention_days": Setting("retention", "Finished jobs", "How long they stay in the list.", "days"),
    "dead_letter_days": Setting("retention", "Failed jobs", "How long those stay that failed for good.", "days"),
    "webhook_log_days": Setting("retention", "Webhook deliveries", "How long they stay, with the answers.", "days"),
    "link_default_days": Setting(
        "sharing", "Public links", "How long they are good where nobody says; 0: no end.", "days"
    ),
    "link_most_days": Setting(
        "sharing", "Public links at most", "How long they may be good; 0: no limit. Those there are stay.", "days"
    ),
}
_optional: dict[str, Any] = {
    name: (field.rebuild_annotation() | None, None) for name, field in Values.model_fields.items()
}
SettingsChange = create_model("SettingsChange", __base__=Input, **_optional)
SettingsChange.__doc__ = "What to change; what is absent stays, null goes back to the default."


class _Known:
    """The values of this process under an environment, and until when nobody needs to ask for them again."""

    lock = threading.Lock()
    state: tuple[Settings, Values] | None = None
    until = 0.0
    changes = 0

    @classmethod
    def values(cls, environment: Settings) -> Values | None:
        """What is known under this environment, fresh or not."""
        state = cls.state
        return state[1] if state is not None and state[0] is environment else None


def in_force() -> Values:
    """Every setting's value, at most a second old; the same object until one changes. Never fails.

    One thread reads while the others go on with what was known; while the database is away all do.
    """
    environment = current_settings()
    known = _Known.values(environment)
    if known is not None and (_Known.until > time.monotonic() or not _Known.lock.acquire(blocking=False)):
        return known
    if known is None:
        _Known.lock.acquire()
    try:
        known = _Known.values(environment)
        if known is not None and _Known.until > time.monotonic():  # somebody read them while we waited
            return known
        changes = _Known.changes
        fresh = _read(environment, known)
        _Known.state = environment, fresh
        _Known.until = time.monotonic() + FRESH if changes == _Known.changes else 0.0
        return fresh
    finally:
        _Known.lock.release()


def read_values(environment: Settings | None = None) -> Values:
    """Every setting's value, from the database: for deeds that no default may decide. Raises Unavailable."""
    row = read_row(ROW_NOW)
    return values_of(environment or current_settings(), row.chosen if row else {})


def forget_values() -> None:
    """Ask at the next need: this process has changed a setting."""
    _Known.changes += 1
    _Known.until = 0.0


def limit_text(route_class: str, values: Values | None = None) -> str:
    """The rate of a class of routes (see http/limiting)."""
    return str(getattr(values or in_force(), f"{route_class}_rate_limit"))


def values_of(environment: Settings, chosen: Mapping[str, Any]) -> Values:
    """Every value under this environment and these choices."""
    values: dict[str, Any] = {}
    for name in SETTINGS:
        choice = choice_of(environment, chosen, name)
        values[name] = default_of(environment, values, name) if choice is None else choice
    return Values.model_construct(**values)


def choice_of(environment: Settings, chosen: Mapping[str, Any], name: str) -> Any:
    """What somebody chose, where that counts: not above the environment, not what this version does not take."""
    if name in environment.model_fields_set or name not in chosen:
        return None
    try:
        return getattr(SettingsChange.model_validate({name: chosen[name]}), name)
    except ValidationError:
        log.warning("setting_ignored", name=name)  # an older or newer version may have written it
        return None


def default_of(environment: Settings, values: Mapping[str, Any], name: str) -> Any:
    """The value without a choice, beside the other values."""
    share = SETTINGS[name].share
    return getattr(environment, name) if share is None else share_of(values[share[0]], share[1])


def _read(environment: Settings, known: Values | None) -> Values:
    try:
        fresh = read_values(environment)
    except (HoldfastError, SQLAlchemyError) as error:  # away, or not migrated yet
        log.warning("settings_not_read", error=type(error).__name__)
        return known or values_of(environment, {})
    return known if known == fresh and known is not None else fresh
