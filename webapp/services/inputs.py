"""What every input shares: a base class that takes no unknown field, and text without hidden characters."""

import unicodedata
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

HIDDEN = {"Cc", "Cs", "Zl", "Zp"}  # control characters (NUL too), half surrogate pairs, separators of lines


class Input(BaseModel):
    """A wish, as it comes from a form, a body or a query: frozen, stripped of outer blanks, without unknown fields."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, frozen=True, hide_input_in_errors=True)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text of `least` to `most` characters: `name: Annotated[str, Line(200)]`."""

    most: int
    least: int = 1

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A plain string schema, so that the lengths reach the OpenAPI document, then the check of its characters."""
        text = core_schema.str_schema(min_length=self.least, max_length=self.most, strip_whitespace=True)
        return core_schema.no_info_after_validator_function(without_hidden, text)


def without_hidden(text: str) -> str:
    """The text itself. Refuses characters that nobody sees and that PostgreSQL or a header cannot take."""
    if any(unicodedata.category(character) in HIDDEN for character in text):
        raise PydanticCustomError("hidden_character", "Control characters and broken characters are not accepted")
    return text
