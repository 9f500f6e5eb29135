"""The `flask` commands: thin, one service call each. Every command defined here is found by `register`."""

import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import click
from flask import Flask, current_app
from flask.cli import AppGroup
from pydantic import SecretStr, ValidationError
from sqlalchemy import make_url

from webapp.config import Settings, current_settings
from webapp.errors import HoldfastError
from webapp.extensions import connect_migrations
from webapp.infra.ids import release_node
from webapp.policies import BUILT_IN, MEMBER
from webapp.services import factors, keys, moves, scans, scrubs, seals, seeds, setup, standings, users
from webapp.services.users import NewUser

config = AppGroup("config", help="Look at the configuration.")
keyring = AppGroup("keys", help="Keys of what is stored encrypted.")
accounts = AppGroup("users", help="Make and suspend accounts.")
stored = AppGroup("storage", help="Stored bytes.")
trail = AppGroup("audit", help="Look at the audit trail.")


@config.command("check")
def check_config() -> None:
    """Validate the environment and say what is set; secrets are named, never shown."""
    for line in describe(current_settings()):
        click.echo(line)


@accounts.command("create")
@click.option("--email", required=True)
@click.option("--name", required=True)
@click.option("--role", type=click.Choice(tuple(BUILT_IN)), default=MEMBER, show_default=True)
def create_user(email: str, name: str, role: str) -> None:
    """Make an account. The password is asked for, or read from the first line of standard input."""
    asked = sys.stdin.isatty()
    password = click.prompt("Password", hide_input=True, confirmation_prompt=True) if asked else sys.stdin.readline()
    try:
        wish = NewUser(email=email, name=name, password=SecretStr(password.rstrip("\r\n")))
        actor = users.create_user(None, wish, role)
    except ValidationError as error:
        faults = [f"{fault['loc'][0]}: {fault['msg']}" for fault in error.errors()]
        raise click.ClickException("; ".join(faults)) from None
    except HoldfastError as error:
        raise click.ClickException(error.detail) from None
    click.echo(f"Made {actor.email} ({role}), id {actor.uuid}.")


@accounts.command("suspend")
@click.argument("email")
def suspend_user(email: str) -> None:
    """Let an account sign in no more, and sign it out everywhere. An administrator restores it under /admin/users."""
    try:
        account = standings.suspend_by_email(email)
    except HoldfastError as error:
        raise click.ClickException(error.detail) from None
    click.echo(f"Suspended {account.email}, id {account.id}.")


@trail.command("verify")
@click.option("--expect", metavar="PLACE:HASH", help="The head that an earlier check printed and you kept elsewhere.")
def verify_audit(expect: str | None) -> None:
    """Compute the chain of the audit trail again. Names what was changed or removed, and ends with 1 then."""
    seals.seal_entries(every=True)
    check = seals.verify_chain(expect)
    for fault in check.named:
        click.echo(str(fault), err=True)
    if check.faults:
        raise click.ClickException(f"{check.faults} of {check.links} links are not as they were.")
    click.echo(f"{check.links} links, whole. Head: {check.head}")


@stored.command("rescan")
def rescan_blobs() -> None:
    """Have a job ask the virus scanner about every stored file again."""
    if not current_settings().clamav_url:
        raise click.ClickException("There is no virus scanner: set CLAMAV_URL.")
    try:
        job = scans.order_rescan()
    except HoldfastError as error:
        detail = "It is under way already." if error.status == 409 else error.detail
        raise click.ClickException(detail) from None
    click.echo(f"Queued as job {job}.")


@stored.command("move")
def move_stored() -> None:
    """Have a job move everything from FORMER_STORAGE_URL to STORAGE_URL; both are read meanwhile."""
    _queued(moves.order_move)


@stored.command("convert")
def convert_stored() -> None:
    """Have a job encrypt what is stored plain, or the other way round, as ENCRYPT_FILES says."""
    _queued(moves.order_conversion)


@stored.command("scrub")
def scrub_stored() -> None:
    """Have a job read SCRUB_BYTES of the store again now and note what is damaged."""
    _queued(scrubs.order_scrub)


def _queued(order: Callable[[], UUID]) -> None:
    try:
        job = order()
    except HoldfastError as error:
        detail = "It is under way already." if error.code == "taken" else error.detail
        raise click.ClickException(detail) from None
    click.echo(f"Queued as job {job}.")


@keyring.command("rotate")
def rotate_keys() -> None:
    """Have a job re-encrypt in the background what is not under the first of DATA_KEYS."""
    try:
        job = keys.order_rotation()
    except HoldfastError as error:
        detail = "It is under way already." if error.status == 409 else error.detail
        raise click.ClickException(detail) from None
    click.echo(f"Queued as job {job}. `flask --app wsgi keys status` tells what is left.")


@keyring.command("status")
def show_keys() -> None:
    """Say how many values of which column are under which of DATA_KEYS."""
    uses = keys.count_values()
    for use in uses:
        whose = "LOST" if use.number is None else f"key {use.number}"
        click.echo(f"{use.place:26} {use.values:8}  {whose}  {use.key_id}{' (bound to its column only)' * use.former}")
    stale = sum(use.values for use in uses if use.number != 1 or use.former)
    click.echo(f"{stale} values are to be re-encrypted." if stale else "Every value is under the first key.")


@accounts.command("reset-mfa")
@click.argument("email")
def reset_factors(email: str) -> None:
    """Take the second factors and recovery codes of an account, whose owner has lost them and is mailed."""
    try:
        account = factors.reset_by_email(email)
    except HoldfastError as error:
        raise click.ClickException(error.detail) from None
    click.echo(f"Reset the second factors of {email}, id {account}.")


@click.command("setup")
def set_up_vault() -> None:
    """Make the first administrator from ADMIN_EMAIL and ADMIN_PASSWORD, or print the one-time link that does."""
    if setup.create_first_admin():
        click.echo(f"Made the first administrator, {current_settings().admin_email}.")
    elif link := setup.setup_link():
        click.echo(f"Make the first administrator here: {link}")
    else:
        click.echo("There are accounts already.")


@click.command("seed")
@click.option("--from", "source", type=click.Path(file_okay=False, path_type=Path), help="Take files from this folder.")
def seed_workspace(source: Path | None) -> None:
    """Make a demo workspace of several users: some 350 files. A second run adds what is missing."""
    try:
        from samples import found, missing_writers, workspace
    except ImportError:
        raise click.ClickException("The demo files are in the source tree only, not in an image.") from None
    if missing := missing_writers():
        raise click.ClickException(f"The demo files need {', '.join(missing)}; `make seed` installs them.")
    given = os.environ.get("SEED_PASSWORD")
    password = given or secrets.token_urlsafe(12)
    try:
        files = workspace.workspace(source)
        people = [(person, *seeds.seed_person(person, password)) for person in workspace.PEOPLE]
        total = seeds.Planted()
        with click.progressbar(length=len(files), label="Planting", item_show_func=lambda name: name) as bar:
            for person, actor, _ in people:
                own = [file for file in files if file.owner == person.key]
                total += seeds.plant_files(actor, own, lambda file: bar.update(1, file.name))
    except (HoldfastError, found.PrivateFolder, NotADirectoryError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(total.summary)
    for person, actor, fresh in people:
        known = "" if fresh else " (was here before, password unchanged)"
        click.echo(f"  {actor.email:24} {person.name}, {person.role}{known}")
    if any(fresh for *_, fresh in people):
        click.echo(f"Password of the new accounts: {'as given in SEED_PASSWORD' if given else password}")


@click.command("reset")
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset_vault(yes: bool) -> None:
    """Delete all data of the configured database and store, then migrate. Refuses in production."""
    from flask_migrate import downgrade, upgrade

    settings = current_settings()
    database = make_url(settings.database_url.get_secret_value()).database or ""
    try:
        seeds.refuse_in_production()
    except HoldfastError as error:
        raise click.ClickException(error.detail) from None
    name = Path(database).name
    if not yes:
        click.echo(f"This deletes every row of the database {database} and every file in {settings.storage_url}.")
        if click.prompt(f"Type {name} to go on", default="", show_default=False) != name:
            raise click.ClickException("That was another name. Nothing was deleted.")
    release_node()  # the leases go, too
    connect_migrations(current_app)
    downgrade(revision="base")
    upgrade()
    click.echo(f"{name} is empty; {seeds.forget_bytes()} stored files are gone. Restart the vault where it runs.")


def describe(settings: Settings) -> list[str]:
    """One line a setting. What is secret shows only whether it is set."""
    lines = []
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if "SecretStr" in repr(type(value)) or (
            isinstance(value, tuple) and any("Secret" in type(v).__name__ for v in value)
        ):
            value = f"set ({len(value)} keys)" if isinstance(value, tuple) else "set"
        lines.append(f"{name.upper()}: {'not set' if value in (None, '', ()) else value}")
    return lines


def register(app: Flask) -> None:
    """Give the application every command of this module."""
    if os.environ.get("FLASK_RUN_FROM_CLI"):
        connect_migrations(app)  # for `flask db`, which Flask-Migrate brings
    commands = [command for command in globals().values() if isinstance(command, click.Command)]
    grouped = [id(inner) for group in commands if isinstance(group, click.Group) for inner in group.commands.values()]
    for command in commands:
        if id(command) not in grouped:
            app.cli.add_command(command)
