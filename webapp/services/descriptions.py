"""What people write about a file: a description, and tags as one line of a form."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from webapp.services.inputs import Input

MOST_TAGS, MOST_OF_A_TAG = 50, 50


def one_ending(text: object) -> object:
    """Lines end in one character here; browsers send two, which would count twice and look like a change."""
    return text.replace("\r\n", "\n") if isinstance(text, str) else text


def split_tags(text: str) -> list[str]:
    """The tags of a line: commas part them, the first spelling of each stays."""
    return list(dict.fromkeys(tag for part in text.split(",") if (tag := part.strip())))


def join_tags(tags: Sequence[str]) -> str:
    """The line that stands for them in a form."""
    return ", ".join(tags)


class Description(Input):
    """The description and the tags of a file, as a form spells them; what is absent stays."""

    description: Annotated[str, BeforeValidator(one_ending), Field(max_length=5000)] | None = None
    tags: Annotated[str, Field(max_length=MOST_TAGS * (MOST_OF_A_TAG + 2))] | None = None

    @field_validator("tags")
    @classmethod
    def few_and_short(cls, text: str | None) -> str | None:
        """Refuse more or longer tags than a file may have."""
        tags = split_tags(text or "")
        if len(tags) > MOST_TAGS:
            raise ValueError("A file has at most 50 tags.")
        if any(len(tag) > MOST_OF_A_TAG for tag in tags):
            raise ValueError("A tag has at most 50 characters.")
        return text
