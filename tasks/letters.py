"""Mails as text and HTML from templates/mail, in the recipient's language. Needs no request and no web application.

A mail is two templates: <name>.txt with the block `subject`, and <name>.html.
"""

from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from babel.core import UnknownLocaleError
from babel.dates import format_datetime
from babel.support import Translations
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from webapp.config import current_settings
from webapp.services.mails import Order

ROOT = Path(__file__).parent.parent


class Rendered(NamedTuple):
    """What the person reads."""

    subject: str
    text: str
    html: str


def render_letter(order: Order) -> Rendered:
    """Subject and both forms. Raises jinja2's errors: TemplateNotFound, UndefinedError for a missing variable."""
    locale, zone = order.to.locale or "en", order.to.time_zone
    surroundings = _environment(locale)
    known = {**order.variables, "to": order.to, "locale": locale, "origin": current_settings().origin,
             "zone": ZoneInfo(zone) if zone else current_settings().zone}  # fmt: skip
    template = surroundings.get_template(f"mail/{order.template}.txt")
    subject = "".join(template.blocks["subject"](template.new_context(known)))
    html = surroundings.get_template(f"mail/{order.template}.html").render(known)
    return Rendered(" ".join(subject.split()), template.render(known).strip() + "\n", html)


@lru_cache(maxsize=16)
def _environment(locale: str) -> Environment:
    surroundings = Environment(
        loader=FileSystemLoader(ROOT / "templates"), autoescape=select_autoescape(("html",)), undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"], trim_blocks=True, lstrip_blocks=True, auto_reload=False,
    )  # fmt: skip
    words = Translations.load(str(ROOT / "translations"), [locale])
    surroundings.install_gettext_translations(words, newstyle=True)  # type: ignore[attr-defined]
    surroundings.filters["moment"] = _moment
    return surroundings


def _moment(iso: str, locale: str, zone: ZoneInfo) -> str:
    """An instant of the variables, which are JSON, for people."""
    try:
        return str(format_datetime(datetime.fromisoformat(iso), "medium", zone, locale))
    except UnknownLocaleError:
        return _moment(iso, "en", zone)
