"""The application of processes that serve no requests: settings, logs, reports of errors and the database.

Half the memory and start time of create_app, which workers and the relay do not need: services know no HTTP.
"""

import logging

from flask import Flask

import webapp.models  # noqa: F401  (loads every table)
from webapp.config import Settings, current_settings, use_settings
from webapp.db import db, engine_options, watch_engine
from webapp.infra.logs import configure_logging
from webapp.infra.reports import start_reports


def make_app(settings: Settings | None = None) -> Flask:
    """An application whose context gives services their database. Raises ConfigurationError."""
    settings = settings or current_settings()
    use_settings(settings)
    configure_logging(settings)
    logging.getLogger("pika").setLevel(logging.CRITICAL)  # relay and worker say themselves when the broker is away
    start_reports(settings)
    app = Flask("tasks")
    app.config["SQLALCHEMY_DATABASE_URI"] = settings.database_url.get_secret_value()
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(settings)
    db.init_app(app)
    with app.app_context():
        watch_engine(db.engine, settings.slow_query)
    return app
