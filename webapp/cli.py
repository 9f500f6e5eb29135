"""The `flask` commands: thin, one service call each. Every command defined here is found by `register`."""

import click
from flask import Flask
from flask.cli import AppGroup

from webapp.config import Settings, current_settings

config = AppGroup("config", help="Look at the configuration.")


@config.command("check")
def check_config() -> None:
    """Validate the environment and say what is set; secrets are named, never shown."""
    for line in describe(current_settings()):
        click.echo(line)


def describe(settings: Settings) -> list[str]:
    """One line a setting. What is secret shows only whether it is set."""
    lines = []
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if "SecretStr" in repr(type(value)) or (isinstance(value, tuple) and any("Secret" in type(v).__name__ for v in value)):
            value = f"set ({len(value)} keys)" if isinstance(value, tuple) else "set"
        lines.append(f"{name.upper()}: {'not set' if value in (None, '', ()) else value}")
    return lines


def register(app: Flask) -> None:
    """Give the application every command of this module."""
    for command in list(globals().values()):
        if isinstance(command, click.Command) and command.name != "check":
            app.cli.add_command(command)
