"""How pages write numbers and times, and what every page knows: filters, globals and the numbers of the shell."""

import math
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Any
from unicodedata import bidirectional

import msgspec
from babel import dates, numbers
from flask import Flask, request
from flask_babel import get_locale, get_timezone, gettext

from webapp.errors import HoldfastError
from webapp.extensions import cache, known_actor, language
from webapp.http.words import quicken_words
from webapp.infra.clock import now
from webapp.policies import Actor
from webapp.services.features import is_on
from webapp.services.meters import read_meters

TURNING = {"R", "AL", "AN", "RLE", "RLO", "LRE", "LRO", "PDF", "RLI", "LRI", "FSI", "PDI"}  # bidirectional classes
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
SHELL_AGE = 1  # seconds that the numbers around a page may be old


def register_formats(app: Flask) -> None:
    """Add the filters |ago, |exact, |size and |isolated and what all templates may use."""
    app.jinja_env.filters.update(ago=ago, exact=exact, size=size, isolated=isolated)
    app.context_processor(_surroundings)
    app.jinja_env.globals["feature"] = lambda name: is_on(name, known_actor())  # whether to show its controls
    quicken_words(app)


@dataclass(frozen=True, slots=True)
class Pen:
    """Writes for one person, whose language and time zone are looked for once, however long the list."""

    locale: str | None
    zone: tzinfo

    def size(self, number: int | None) -> str:
        """Bytes for people, in powers of 1,000 as disks are sold: 999 B, 1.2 kB, 34 MB."""
        if number is None:
            return ""
        step = min(int(math.log10(max(number, 1))) // 3, len(UNITS) - 1)
        value = number / 1000**step
        if step and round(value, 1) >= 1000 and step < len(UNITS) - 1:
            step, value = step + 1, value / 1000
        digits = "#,##0" if step == 0 or value >= 100 else "#,##0.#"
        return f"{_decimal(value, digits, self.locale)} {UNITS[step]}"

    def ago(self, moment: datetime | None) -> str:
        """How long ago, or in how long; "just now" within ten seconds."""
        if moment is None:
            return ""
        apart = moment - now()
        if abs(apart.total_seconds()) < 10:
            return str(gettext("just now"))
        seconds = round(apart.total_seconds())
        grain = 1 if abs(seconds) < 60 else 60 if abs(seconds) < 86_400 else 3600
        return _span(round(seconds / grain) * grain, self.locale)

    def due(self, moment: datetime | None) -> str:
        """In how long; "due now" once it has come, for what is done at the next chance."""
        if moment is None:
            return ""
        seconds = math.ceil((moment - now()).total_seconds())
        return self.ago(moment) if seconds >= 10 else _span(seconds, self.locale) if seconds > 0 else gettext("due now")

    def exact(self, moment: datetime | None) -> str:
        """Date and time to the second in the person's own time zone."""
        return "" if moment is None else _instant(moment.replace(microsecond=0), self.locale, self.zone)


def pen() -> Pen:
    """That of whoever asks."""
    locale = get_locale()
    return Pen(str(locale) if locale else None, get_timezone())  # a Locale as a key of the memories costs two calls


def size(number: int | None) -> str:
    """See Pen."""
    return pen().size(number)


def isolated(name: str) -> str:
    """A name that people gave, for the middle of a sentence or a title: its directions end where it ends (UAX 9).

    Only names that hold such characters are changed; where the name stands alone in an element, <bdi> does the same.
    """
    if name.isascii() or not any(bidirectional(character) in TURNING for character in name):
        return name
    early = unclosed = 0  # ends and beginnings of isolates in the name that have no partner there
    for character in name:
        if character in "\u2066\u2067\u2068":
            unclosed += 1
        elif character == "\u2069":
            early, unclosed = (early, unclosed - 1) if unclosed else (early + 1, 0)
    return "\u2068" * (1 + early) + name + "\u2069" * (1 + unclosed)


def ago(moment: datetime | None) -> str:
    """See Pen."""
    return pen().ago(moment)


def due(moment: datetime | None) -> str:
    """See Pen."""
    return pen().due(moment)


def exact(moment: datetime | None) -> str:
    """See Pen."""
    return pen().exact(moment)


def on_day(moment: datetime) -> str:
    """Date with its weekday, and the time to the minute, in the person's own time zone: Mon, Nov 30, 2026, 07:00."""
    zone, locale = get_timezone(), get_locale()
    day = dates.format_skeleton("yMMMEd", moment.astimezone(zone), locale=locale)
    return f"{day}, {dates.format_time(moment, 'short', tzinfo=zone, locale=locale)}"


# Babel takes 30 to 100 µs for each, three times a row; most rows say today what they said a moment ago.


@lru_cache(maxsize=4096)
def _decimal(value: float, digits: str, locale: str | None) -> str:
    return str(numbers.format_decimal(value, digits, locale=locale))


@lru_cache(maxsize=4096)
def _span(seconds: int, locale: str | None) -> str:
    return dates.format_timedelta(seconds, add_direction=True, threshold=0.975, locale=locale)


@lru_cache(maxsize=16_384)
def _instant(moment: datetime, locale: str | None, zone: tzinfo) -> str:
    return dates.format_datetime(moment, "medium", tzinfo=zone, locale=locale)


def _surroundings() -> dict[str, Any]:
    actor = known_actor()
    return {
        "actor": actor,
        "lang": language(),
        "request_id": request.environ.get("holdfast.request_id", ""),
        **(_shell(actor) if actor else {"storage": None, "running_jobs": 0}),
    }


def _shell(actor: Actor) -> dict[str, Any]:
    """Storage meter and number of running jobs. A page shows without them where the database does not answer."""
    key = f"meters:{actor.id}"
    numbers = cache.get(key)
    if numbers is None:
        try:
            numbers = msgspec.structs.asdict(read_meters(actor))
        except HoldfastError:
            return {"storage": None, "running_jobs": 0}
        cache.set(key, numbers, timeout=SHELL_AGE)
    used, limit = numbers["used"], numbers["limit"]
    percent = min(100, round(used * 100 / limit)) if limit else 0
    storage = {"used": used, "limit": limit, "used_text": size(used), "limit_text": size(limit), "percent": percent}
    return {"storage": storage, "running_jobs": numbers["running"]}
