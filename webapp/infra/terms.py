"""Words as search compares them: without case and accents, split at what is neither letter nor digit.

The functions search_fold and search_words of PostgreSQL (models/search.py) do the same; a test holds both together.
"""

import re
import string
import unicodedata

SEPARATORS = string.punctuation + "\t\n\r\v\f\u00a0«»·\u2010\u2011\u2013\u2014‘’“”„…、。「」『』（），：；！？"
LONGEST = 60  # characters of a word that count
_BLANKS = str.maketrans(dict.fromkeys(SEPARATORS, " "))
_MARKS = re.compile("[\u0300-\u036f]")  # combining diacritical marks


def fold(text: str) -> str:
    """Small letters without accents, and blanks between them."""
    return _MARKS.sub("", unicodedata.normalize("NFKD", text)).lower().translate(_BLANKS)


def terms_of(text: str) -> list[str]:
    """The words of a question, each once, folded."""
    return list(dict.fromkeys(word[:LONGEST] for word in fold(text).split(" ") if word))


def spelled_terms(text: str) -> list[str]:
    """The same as they are spelled: SQLite's tokenizer folds by itself."""
    return list(dict.fromkeys(word for word in text.translate(_BLANKS).split(" ") if word))


class _Letters(dict[int, str]):
    """Each character as one that compares; made as they come."""

    def __missing__(self, code: int) -> str:
        plain = unicodedata.normalize("NFKD", chr(code)).lower()[:1]
        self[code] = plain if plain and plain not in SEPARATORS else " " if plain else chr(code)
        return self[code]


_LETTERS = _Letters()


def letters_of(text: str) -> str:
    """The text folded letter by letter, as long as it was: what is found in it lies there in the text."""
    return text.translate(_LETTERS)
