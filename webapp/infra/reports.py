"""Unforeseen errors to Sentry, when SENTRY_DSN is set: without people's data. Nothing leaves the machine otherwise."""

import re
from typing import Any

from webapp.config import Settings

EMAIL = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")
_started = False


def start_reports(settings: Settings) -> None:
    """Connect to Sentry once; costs nothing without a DSN."""
    global _started
    if settings.sentry_dsn is None or _started:
        return
    import sentry_sdk

    sentry_sdk.init(
        dsn=settings.sentry_dsn.get_secret_value(), environment=settings.app_env,
        max_request_body_size="never", include_local_variables=False, default_integrations=False, before_send=scrub,
    )  # fmt: skip
    _started = True


def report(error: BaseException) -> None:
    """Send the error, if somebody asked for it."""
    if _started:
        import sentry_sdk

        sentry_sdk.capture_exception(error)


def scrub(event: Any, _hint: Any = None) -> Any:
    """The event without request, user, breadcrumbs and extra data, and with every e-mail address masked."""
    for part in ("request", "user", "breadcrumbs", "extra", "server_name", "modules"):
        event.pop(part, None)
    return _masked(event)


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return EMAIL.sub("[e-mail]", value)
    if isinstance(value, dict):
        return {key: _masked(part) for key, part in value.items()}
    return [_masked(part) for part in value] if isinstance(value, list | tuple) else value
