"""`python -m tasks.serve`, which `make run` becomes: prepare the database, say where the vault is, serve it.

By itself it is the one server process. With RABBITMQ_URL it starts web, relay and worker and stops them together, with
REDIS_URL the process for event streams, too.
"""

import logging
import os
import socket
import sys
from pathlib import Path

from webapp.config import ConfigurationError, Settings, load_settings, use_settings

ROOT = Path(__file__).parent.parent


class CannotStart(Exception):
    """Something outside is in the way; the text says what and what to do."""


def main() -> int:
    """Exit status: 0 after an ordered stop, 1 when something fell or is in the way, 2 for a wrong configuration."""
    try:
        settings = load_settings()
        use_settings(settings)
        check_port(settings.host, settings.port, "PORT")
        if settings.redis_url is not None:
            check_port(*settings.streams_address, "STREAMS_PORT")
        empty_metrics(settings)
        link = prepare(settings)
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    except CannotStart as error:
        print(f"Holdfast cannot start: {error}", file=sys.stderr)  # noqa: T201
        return 1
    if settings.rabbitmq_url is None and settings.redis_url is None:
        from tasks.web import serve_web

        announce(settings, link)
        serve_web(settings)
        return 0
    from tasks.supervisor import supervise

    return supervise(settings, lambda: announce(settings, link))


def check_port(host: str, port: int, variable: str) -> None:
    """Raise CannotStart when somebody listens there: granian would share the port with a twin without a word."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CannotStart(
                f"{host}:{port} is not free ({error.strerror}). Stop what uses it, or set {variable}."
            ) from None


def empty_metrics(settings: Settings) -> None:
    """A fresh directory for the numbers of all web processes; must stand before prometheus_client is imported."""
    directory = settings.var_dir / "metrics"
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("*.db"):
        old.unlink()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)


def migrate() -> None:
    """Bring the database of the present settings to the newest revision."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic import command
    from alembic.config import Config

    config = Config(str(ROOT / "migrations/alembic.ini"))
    config.set_main_option("script_location", str(ROOT / "migrations"))
    command.upgrade(config, "head")


def prepare(settings: Settings) -> str | None:
    """Migrate, make the first administrator where asked for; the set-up link where nobody has an account."""
    from sqlalchemy.exc import OperationalError

    from tasks.application import make_app
    from webapp.db import db
    from webapp.errors import Unavailable
    from webapp.infra.ids import refuse_other_hosts, release_node
    from webapp.services.keys import refuse_lost_keys
    from webapp.services.setup import create_first_admin, setup_link

    app = make_app(settings)
    try:
        migrate()
        with app.app_context():
            refuse_other_hosts()
            refuse_lost_keys()
            create_first_admin()
            link = setup_link()
            release_node()
            db.engine.dispose()
    except (OperationalError, Unavailable) as error:
        first = error.__cause__ or error
        cause = str(getattr(first, "orig", None) or first).strip().splitlines()[0]
        raise CannotStart(f"the database does not answer. {cause}") from None
    return link


def announce(settings: Settings, link: str | None) -> None:
    """Say where the vault is."""
    print(f"Holdfast is at {settings.origin}  (Ctrl-C stops it)", flush=True)  # noqa: T201
    if link:
        print(f"Nobody has an account yet. This link, once, makes the administrator:\n  {link}", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
