"""What every input shares: a base class that takes no unknown field, and text without hidden characters."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, GetCoreSchemaHandler, field_validator
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

UNSTORABLE = re.compile("[\0\ud800-\udfff]")
HIDDEN = {"Cc", "Cs", "Zl", "Zp"}  # control characters (NUL too), half surrogate pairs, separators of lines


class Input(BaseModel):
    """A wish, as it comes from a form, a body or a query: frozen, stripped of outer blanks, without unknown fields."""

    model_config = ConfigDict(
        extra="forbid", str_strip_whitespace=True, frozen=True, hide_input_in_errors=True, allow_inf_nan=False
    )

    @field_validator("*")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        """No database column takes NUL, half a surrogate pair or more than 64 bits: refused before anything else."""
        refuse_unstorable(value)
        return value


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("out_of_range", "This time lies outside the calendar") from None


Instant = Annotated[AwareDatetime, AfterValidator(_in_utc)]  # a moment with its offset, in UTC from then on


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text of `least` to `most` characters: `name: Annotated[str, Line(200)]`."""

    most: int
    least: int = 1

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A plain string schema, so that the lengths reach the OpenAPI document, then the check of its characters."""
        text = core_schema.str_schema(min_length=self.least, max_length=self.most, strip_whitespace=True)
        return core_schema.no_info_after_validator_function(without_hidden, text)


def refuse_unstorable(value: Any) -> None:
    """Raise for text with NUL or half surrogate pairs and for integers beyond 64 bits, at any depth."""
    if isinstance(value, str) and UNSTORABLE.search(value):
        raise PydanticCustomError("unstorable_character", "NUL and broken characters are not accepted")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise PydanticCustomError("out_of_range", "The number is too large")
    if isinstance(value, list | tuple | set | frozenset):
        for part in value:
            refuse_unstorable(part)
    if isinstance(value, dict):
        for pair in value.items():
            refuse_unstorable(pair)


def without_hidden(text: str) -> str:
    """The text itself. Refuses characters that nobody sees and that PostgreSQL or a header cannot take."""
    if any(unicodedata.category(character) in HIDDEN for character in text):
        raise PydanticCustomError("hidden_character", "Control characters and broken characters are not accepted")
    return text


def split_commas(values: Any) -> Any:
    """The values of a form's field that holds several: boxes that are ticked, or text with commas between them."""
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        return values
    return [part.strip() for value in values for part in value.split(",") if part.strip()]
