"""The catalogue of the present request, looked for once: a page says some hundred words."""

from typing import Any

from flask import Flask, has_request_context, request
from flask_babel import get_translations

KEY = "holdfast.words"


def quicken_words(app: Flask) -> None:
    """Let templates use the request's catalogue; flask-babel looks locale and catalogue up for every word."""
    app.jinja_env.install_gettext_callables(  # type: ignore[attr-defined]
        gettext=lambda text: _catalogue().ugettext(text),
        ngettext=lambda one, many, number: _catalogue().ungettext(one, many, number),
        pgettext=lambda place, text: _catalogue().upgettext(place, text),
        npgettext=lambda place, one, many, number: _catalogue().unpgettext(place, one, many, number),
        newstyle=True,
    )


def _catalogue() -> Any:
    """Outside requests, where mails force the reader's language, it is looked up each time."""
    if not has_request_context():
        return get_translations()
    environ = request.environ
    words = environ.get(KEY)
    if words is None:
        words = environ[KEY] = get_translations()
    return words
