"""The one clock."""

from datetime import UTC, datetime


def now() -> datetime:
    """The present instant, aware, UTC, whole milliseconds as JSON shows them."""
    instant = datetime.now(UTC)
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)
