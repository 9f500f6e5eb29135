"""Structured logs: one JSON line, one write, an event; the standard library's records go the same way."""

import logging
import re
import sys
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor

from webapp.config import Settings

SECRET_NAME = re.compile(r"passw|secret|token|authorization|cookie|csrf|api_?key|dsn|credential", re.IGNORECASE)
SECRET_IN_URL = re.compile(r"(\w+://[^/\s:@]*:)[^@/\s]+@")
PERSONAL_TOKEN = re.compile(r"\bhf_[0-9A-Za-z]{20,}")
SECRET_IN_TEXT = re.compile(r"(?i)(bearer\s+|token=|password=|secret=)[^\s&\"',;]+")
REDACTED = "[redacted]"
QUIET = (
    "alembic.runtime.plugins",
    "pika",
    "flask-limiter",
    "PIL",
    "urllib3",
    "sentry_sdk",
)  # their information is noise
encoder = msgspec.json.Encoder(enc_hook=str)


class Bound:
    """The request log's logger, bound once: a logger that is looked up costs 30 µs a line."""

    requests: Any = structlog.get_logger("webapp.request")


def configure_logging(settings: Settings, stream: TextIO | None = None) -> None:
    """Send everything that is logged in this process to `stream` (standard error unless given)."""
    output = stream or sys.stderr
    level = getattr(logging, settings.log_level.upper())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        redact,
        structlog.processors.format_exc_info,
    ]
    final: Processor = (
        render_json if settings.log_format == "json" else structlog.dev.ConsoleRenderer(colors=output.isatty())
    )
    if settings.log_format == "console":
        shared.pop()  # the console renderer prints tracebacks itself
    structlog.configure(
        processors=[*shared, final],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=output),
    )
    Bound.requests = structlog.get_logger("webapp.request").bind()
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, final],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [h for h in root.handlers if not getattr(h, "holdfast", False)] + [handler]
    handler.holdfast = True  # type: ignore[attr-defined]
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def redact(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Hide values whose name or shape says that they are secret."""
    for name, value in event.items():
        if _is_secret(name):
            event[name] = REDACTED
        elif isinstance(value, str) and any(sign in value for sign in ("://", "=", "earer", "hf_")):
            value = PERSONAL_TOKEN.sub(REDACTED, value)
            event[name] = SECRET_IN_TEXT.sub(rf"\1{REDACTED}", SECRET_IN_URL.sub(rf"\1{REDACTED}@", value))
    return event


def render_json(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    """One line."""
    return encoder.encode(event).decode()


def _name(_logger: Any, _method: str, event: EventDict) -> EventDict:
    record = event.get("_record")
    if record is not None:
        event["logger"] = record.name
    return event


@lru_cache(maxsize=512)
def _is_secret(name: str) -> bool:
    return SECRET_NAME.search(name) is not None
