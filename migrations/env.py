"""Alembic under Flask-Migrate: one upgrade at a time, in one transaction, on PostgreSQL and SQLite.

With MIGRATION_DATABASE_URL the tables belong to that role, not to the application's.
"""

from typing import Any, Literal

from alembic import context
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool
from sqlalchemy.types import TypeDecorator

import webapp.models  # noqa: F401  (loads every table)
from webapp.config import current_settings
from webapp.db import Base, watch_engine

LOCK = 0x486F6C64  # "Hold": the advisory lock of upgrades


def include_name(name: str | None, type_: str, _parents: object) -> bool:
    """Compare only what we own: other tables of the same database are left alone."""
    return type_ != "table" or name in Base.metadata.tables


def render_item(type_: str, item: Any, _context: Any) -> str | Literal[False]:
    """Write our own column types as what they store: a revision must not change when the code does."""
    if type_ != "type" or not isinstance(item, TypeDecorator):
        return False
    return f"sa.{item.impl_instance!r}"


def run(connection: Connection) -> None:
    """Upgrade under a lock, so that four processes that start together run each revision once."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("SET lock_timeout = '10s'"))
        connection.commit()
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
        connection.commit()
    try:
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            render_as_batch=connection.dialect.name == "sqlite",
            compare_type=True,
            include_name=include_name,
            render_item=render_item,
            transaction_per_migration=False,
            transactional_ddl=True,  # Alembic thinks that SQLite cannot, and lets others in between two statements
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()
    finally:
        connection.rollback()
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": LOCK})
            connection.commit()


def offline() -> None:
    """Write SQL instead of running it (`flask db upgrade --sql`), for review and for squawk."""
    settings = current_settings()
    context.configure(url=settings.database_url.get_secret_value(), target_metadata=Base.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def online() -> None:
    """Connect as the owner of the tables and run."""
    settings = current_settings()
    url = settings.migration_database_url or settings.database_url
    waits = {"timeout": 60} if settings.sqlite else {"connect_timeout": 5}
    if settings.sqlite:
        settings.var_dir.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url.get_secret_value(), poolclass=NullPool, connect_args=waits)
    watch_engine(engine, slow_query=60)
    with engine.connect().execution_options(write=True) as connection:
        run(connection)
    engine.dispose()


offline() if context.is_offline_mode() else online()
