"""Promise 24: migrations run once however many start together, go back, and leave what the models say."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask
from flask_migrate import downgrade, upgrade
from sqlalchemy import Connection, Engine, create_engine, inspect, text

from tests.conftest import make_settings
from tests.databases import KINDS, empty_database
from webapp.app import create_app
from webapp.db import Base, db
from webapp.extensions import connect_migrations

ROOT = Path(__file__).parent.parent
FOLDER = str(ROOT / "migrations")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(kind: str, tmp_path: Path) -> Iterator[str]:
    with empty_database(kind, tmp_path) as address:
        yield address


@pytest.fixture
def blank(url: str, tmp_path: Path) -> Iterator[Flask]:
    """An application whose database has no tables yet."""
    application = create_app(make_settings(tmp_path / "var", DATABASE_URL=url))
    connect_migrations(application)
    with application.app_context():
        yield application
        db.session.remove()
        db.engine.dispose()


def newest() -> str:
    config = Config()
    config.set_main_option("script_location", FOLDER)
    head = ScriptDirectory.from_config(config).get_current_head()
    assert head
    return head


def tables_of(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names())


def test_four_upgrades_that_start_together_run_each_revision_once(url: str, tmp_path: Path) -> None:
    surroundings = {"PATH": os.environ["PATH"], "APP_ENV": "test", "LOG_LEVEL": "error"}
    surroundings |= {"VAR_DIR": str(tmp_path / "var"), "DATABASE_URL": url}
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"]
    running = [
        subprocess.Popen(
            command, cwd=ROOT, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(4)
    ]
    told = [process.communicate(timeout=100)[0] for process in running]
    assert [process.returncode for process in running] == [0] * 4, "\n".join(told)[-4000:]
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == [newest()]
    assert set(Base.metadata.tables) <= tables_of(engine)
    engine.dispose()


def test_every_revision_goes_up_down_and_up_again(blank: Flask) -> None:
    upgrade(directory=FOLDER)
    first = schema_of(db.engine)
    downgrade(directory=FOLDER, revision="base")
    assert tables_of(db.engine) == {"alembic_version"}
    upgrade(directory=FOLDER)
    assert schema_of(db.engine) == first


def test_a_revision_that_fails_leaves_nothing_behind(blank: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("power cut")

    monkeypatch.setattr("alembic.operations.base.Operations.create_index", refuse)
    with pytest.raises(OSError, match="power cut"):
        upgrade(directory=FOLDER)
    assert not tables_of(db.engine) & set(Base.metadata.tables)
    monkeypatch.undo()
    upgrade(directory=FOLDER)
    assert set(Base.metadata.tables) <= tables_of(db.engine)


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based index")
def test_after_the_upgrade_autogenerate_finds_no_difference(blank: Flask, kind: str) -> None:
    upgrade(directory=FOLDER)
    with db.engine.connect() as connection:
        opts = {
            "compare_type": True,
            "include_name": lambda name, *_: not (name or "").startswith("search_words"),  # of FTS5
            "include_object": lambda thing, *_: getattr(thing, "_ddl_if", None) is None or kind == "postgresql",
        }
        context = MigrationContext.configure(connection, opts=opts)
        assert compare_metadata(context, Base.metadata) == []


def test_the_migrations_make_to_the_letter_what_the_models_declare(blank: Flask, kind: str, tmp_path: Path) -> None:
    upgrade(directory=FOLDER)
    migrated = schema_of(db.engine)
    folder = tmp_path / "declared"
    folder.mkdir()
    with empty_database(kind, folder) as address:
        engine = create_engine(address)
        Base.metadata.create_all(engine)
        declared = schema_of(engine)
        engine.dispose()
    assert migrated == declared
    assert any("WHERE" in definition for definition in declared.values()), "partial indexes are part of the comparison"
    assert any("coalesce" in definition.lower() for definition in declared.values()), "and indexes on expressions"


def schema_of(engine: Engine) -> dict[str, str]:
    """Every column, index and constraint by name, as the database itself spells it."""
    with engine.connect() as connection:
        found = _OF[engine.dialect.name](connection)
    return {name: definition for name, definition in found.items() if "alembic_version" not in name}


def _sqlite_schema(connection: Connection) -> dict[str, str]:
    indexes = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"))
    found = {name: " ".join(sql.split()) for name, sql in indexes}
    for table in connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars().all():
        for row in connection.execute(text(f"PRAGMA table_xinfo('{table}')")).mappings():
            found[f"{table}.{row['name']}"] = f"{row['type']} {row['notnull']} {row['dflt_value']} {row['pk']}"
        keys = connection.execute(text(f"PRAGMA foreign_key_list('{table}')")).mappings()
        found[f"{table} keys"] = str(sorted((row["from"], row["table"], row["to"], row["on_delete"]) for row in keys))
        unique = connection.execute(text(f"PRAGMA index_list('{table}')")).mappings()
        found[f"{table} unique"] = str(sum(row["unique"] for row in unique))
    return found


def _postgresql_schema(connection: Connection) -> dict[str, str]:
    columns = connection.execute(text(
        "SELECT table_name || '.' || column_name, data_type || ' ' || coalesce(character_maximum_length, 0) || ' '"
        " || is_nullable || ' ' || coalesce(collation_name, '-') || ' ' || coalesce(column_default, '-')"
        " FROM information_schema.columns WHERE table_schema = 'public'"
    ))  # fmt: skip
    indexes = connection.execute(text("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"))
    constraints = connection.execute(text(
        "SELECT conrelid::regclass || ' ' || conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace"
    ))  # fmt: skip
    return {name: definition for rows in (columns, indexes, constraints) for name, definition in rows}


_OF: dict[str, Callable[[Connection], dict[str, str]]] = {"sqlite": _sqlite_schema, "postgresql": _postgresql_schema}


def test_mails_of_before_get_their_column_and_keys_of_before_are_noted(blank: Flask) -> None:
    upgrade(directory=FOLDER, revision="0017")
    sealed, moment = b"\xab\xcd\x01\x02 sealed", "2026-11-26 12:00:00.000000+00:00"
    job = {"id": 1, "uuid": "0" * 31 + "1", "name": "mails.send", "queue": "mail", "state": "queued",
           "args": json.dumps({"sealed": base64.b64encode(sealed).decode()}), "attempts": 0, "max_attempts": 5,
           "about": "", "progress": 0, "run_at": moment, "created_at": moment, "updated_at": moment,
           "version": 1}  # fmt: skip
    with db.engine.connect().execution_options(write=True) as connection, connection.begin():
        names = ", ".join(job)
        connection.execute(text(f"INSERT INTO jobs ({names}) VALUES ({', '.join(f':{name}' for name in job)})"), job)
    upgrade(directory=FOLDER)
    with db.engine.connect() as connection:
        assert bytes(connection.execute(text("SELECT sealed FROM jobs")).scalar_one()) == sealed
        assert connection.execute(text("SELECT id FROM encryption_keys")).scalars().all() == ["abcd0102"]
