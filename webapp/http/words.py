"""The catalogue of the present request, looked for once: a page says some hundred words."""

from functools import lru_cache
from typing import Any

from flask import Flask, has_request_context, request
from flask_babel import get_translations
from jinja2 import pass_eval_context
from jinja2.nodes import EvalContext
from markupsafe import Markup

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
    app.jinja_env.globals["_"] = _word


@pass_eval_context
def _word(context: EvalContext, text: str, **variables: Any) -> str:
    """What jinja's own new-style `_` does, but for words without variables only once for each catalogue."""
    if not context.autoescape:
        return str(_catalogue().ugettext(text) % variables)
    return _safe(_catalogue().ugettext(text)) % variables if variables else _ready(_catalogue(), text)


@lru_cache(maxsize=20_000)
def _ready(catalogue: Any, text: str) -> Markup:
    return _safe(catalogue.ugettext(text)) % {}  # %% is a per cent sign in all words


def _safe(text: str) -> Markup:
    return Markup(text)  # noqa: S704 - catalogues are ours, as templates are; variables are escaped


def _catalogue() -> Any:
    """Outside requests, where mails force the reader's language, it is looked up each time."""
    if not has_request_context():
        return get_translations()
    environ = request.environ
    words = environ.get(KEY)
    if words is None:
        words = environ[KEY] = get_translations()
    return words
