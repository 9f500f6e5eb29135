"""One SQLite file, two hosts: production refuses it."""

from pathlib import Path

import pytest
from sqlalchemy import insert

from tests.conftest import make_settings, migrate
from webapp.app import create_app
from webapp.config import ConfigurationError
from webapp.db import db
from webapp.infra import ids

KEY = "k3yF0rTests-" * 4


def lease(host: str, until: int) -> None:
    with db.engine.connect().execution_options(write=True) as connection, connection.begin():
        row = {"node": 7, "host": host, "pid": 1, "token": 1, "leased_until_ms": until, "used_until_ms": until}
        connection.execute(insert(ids.node_leases).values(row))


@pytest.mark.parametrize(
    ("environment", "host", "seconds", "refused"),
    [
        ("production", "elsewhere", 60, True),
        ("production", "elsewhere", -60, False),
        ("production", "", 60, False),
        ("test", "elsewhere", 60, False),
    ],
)
def test_production_refuses_a_sqlite_file_that_another_host_uses(
    tmp_path: Path, environment: str, host: str, seconds: int, refused: bool
) -> None:
    extra = {"PUBLIC_URL": "https://vault.example.org", "SECRET_KEYS": KEY, "JWT_KEYS": KEY, "DATA_KEYS": KEY}
    application = create_app(make_settings(tmp_path, **{**extra, "APP_ENV": environment}))
    with application.app_context():
        ids.refuse_other_hosts()  # before the first migration there is nothing to ask
        migrate(application)
        lease(host or ids.socket.gethostname(), ids.wall_ms() + seconds * 1000)
        if refused:
            with pytest.raises(ConfigurationError, match="elsewhere is using this SQLite file"):
                ids.refuse_other_hosts()
        else:
            ids.refuse_other_hosts()
