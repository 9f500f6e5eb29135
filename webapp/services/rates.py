"""Rates that a person may type: `600 per minute`, and what is too low, too high or counted for too long."""

import math
import re
from dataclasses import dataclass

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from webapp.infra.limits import Rate, rate_of

LONGEST_WINDOW, MOST = 3600, 10**9
UNITS = {1: "second", 60: "minute", 3600: "hour"}


@dataclass(frozen=True, slots=True)
class RateText:
    """A rate of at least `least` hits a minute, in windows of an hour at most: `rate: Annotated[str, RateText(60)]`.

    Below that people who use the vault by hand would be refused, the administrator who wants to mend it among them.
    """

    least: int

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A plain string schema for the OpenAPI document, then the check."""
        text = core_schema.str_schema(min_length=1, max_length=40, strip_whitespace=True)
        return core_schema.no_info_after_validator_function(self.check, text)

    def check(self, text: str) -> str:
        """The text itself. Raises for what cannot be counted or would lock people out."""
        try:
            rate = rate_of(text)
        except ValueError:
            rate = None
        if rate is None or re.search(r"[,;|\n]", text):
            raise PydanticCustomError("rate", "Write it like 600 per minute or 20 per second")
        if rate.window > LONGEST_WINDOW:
            raise PydanticCustomError("rate_window", "An hour is the longest time to count over")
        floor = math.ceil(self.least * max(1.0, rate.window / 60))
        if rate.amount < floor:
            message = "Under {least} a minute people are locked out, you too. Give at least {floor}"
            raise PydanticCustomError("rate_too_low", message, {"floor": floor, "least": self.least})
        if rate.amount > MOST:
            raise PydanticCustomError("rate_too_high", "Give at most {most}", {"most": MOST})
        return text


def share_of(text: str, part: float) -> str:
    """A part of this rate, over the same window."""
    rate: Rate = rate_of(text)
    unit = UNITS.get(rate.window, f"{rate.window} seconds")
    return f"{max(1, round(rate.amount * part))} per {unit}"
