"""What administrators choose of the settings (services/settings): seeing all of them, changing some."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from webapp.config import Settings, current_settings
from webapp.db import after_commit, db, read_row, transactional
from webapp.errors import FieldError, Invalid
from webapp.models.settings import SettingsRow, first_settings, live_settings
from webapp.policies import Actor, require
from webapp.services.events import Target, record
from webapp.services.folders import check_version
from webapp.services.inputs import Input
from webapp.services.settings import ROW_NOW, SETTINGS, choice_of, default_of, forget_values, values_of

UNCHANGED = 1  # the version while nobody ever chose anything


class SettingView(msgspec.Struct, frozen=True, kw_only=True):
    """A setting. `source` says where `value` is from: environment (then `variable` fixes it), chosen or default."""

    name: str
    group: str
    title: str
    about: str
    unit: str
    value: str | int
    chosen: str | int | None
    default: str | int
    source: str
    variable: str | None


class SettingsView(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, and the version they have together."""

    items: list[SettingView]
    updated_at: datetime | None
    version: int


def show_settings(actor: Actor) -> SettingsView:
    """All settings, as the database has them now."""
    require(actor, "settings.read")
    row = read_row(ROW_NOW)
    return _view(row.chosen, row.updated_at, row.version) if row else _view({}, None, UNCHANGED)


@transactional
def change_settings(actor: Actor, wish: Input, expected: int | None = None) -> SettingsView:
    """Choose values; None takes a choice back. Raises Stale, and Invalid for what the environment fixes.

    In force here at once, in every other process within two seconds.
    """
    require(actor, "settings.write")
    _refuse_fixed(wish.model_fields_set)
    row = _held_row()
    check_version(row.version, expected)
    wishes = {name: getattr(wish, name) for name in wish.model_fields_set}
    chosen = {name: value for name, value in {**row.chosen, **wishes}.items() if value is not None}
    if chosen != row.chosen:
        before, after = (values_of(current_settings(), choices) for choices in (row.chosen, chosen))
        moved = sorted(name for name in wishes if row.chosen.get(name) != chosen.get(name))
        row.chosen = chosen
        db.session.flush()
        changes = {name: (getattr(before, name), getattr(after, name)) for name in moved}
        record(actor, "settings.changed", Target("settings", row.uuid, "Settings"), changes)
        after_commit(forget_values)
    return _view(row.chosen, row.updated_at, row.version)


def _held_row() -> SettingsRow:
    row = db.session.scalar(live_settings())
    if row is None:
        db.session.execute(first_settings(db.engine.dialect.name))
        row = db.session.scalars(live_settings()).one()
    return row


def _refuse_fixed(names: set[str]) -> None:
    fixed = [name for name in SETTINGS if name in names & current_settings().model_fields_set]
    if fixed:
        reason = "The variable {} fixes this. Change it there, or remove it."
        faults = tuple(FieldError(name, "fixed", reason.format(name.upper())) for name in fixed)
        raise Invalid("The environment fixes some of these.", errors=faults)


def _view(chosen: Mapping[str, Any], updated_at: datetime | None, version: int) -> SettingsView:
    environment = current_settings()
    values = values_of(environment, chosen)
    items = []
    for name, setting in SETTINGS.items():
        fixed, choice = name in environment.model_fields_set, choice_of(environment, chosen, name)
        items.append(SettingView(
            name=name, group=setting.group, title=setting.title, about=setting.about, unit=setting.unit,
            value=getattr(values, name), chosen=choice, default=default_of(environment, values.__dict__, name),
            source="environment" if fixed else "default" if choice is None else "chosen",
            variable=name.upper() if name in Settings.model_fields else None,
        ))  # fmt: skip
    return SettingsView(items=items, updated_at=updated_at, version=version)
