"""Where in a text the words stand that were searched for: pieces of it, marked or not, never markup."""

import re
from collections.abc import Sequence

import msgspec

from webapp.infra.terms import letters_of

WIDTH = 180  # characters of a snippet
LOOK = 8000  # characters that are folded at once; most words stand in the first of them


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of text; `marked` is what was searched for."""

    text: str
    marked: bool = False


def marked(text: str, terms: Sequence[str]) -> list[Piece]:
    """The whole text in pieces."""
    return _cut(text, [match.span() for match in _pattern(terms).finditer(letters_of(text))])


def snippet_of(texts: Sequence[str | None], terms: Sequence[str]) -> list[Piece]:
    """A line around the first place where most of the words stand close together, of the first text that has any."""
    pattern = _pattern(terms)
    for text in texts:
        for start in range(0, len(text or ""), LOOK):
            part = (text or "")[start : start + LOOK + WIDTH]
            found = [match.span() for match in pattern.finditer(letters_of(part))]
            if found:
                return _around(part, found, begun=start > 0)
    return []


def _pattern(terms: Sequence[str]) -> re.Pattern[str]:
    longest_first = sorted((re.escape(term) for term in terms), key=len, reverse=True)
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(longest_first)})") if longest_first else re.compile(r"(?!)")


def _around(text: str, found: list[tuple[int, int]], *, begun: bool) -> list[Piece]:
    def words_from(first: int) -> int:
        return len({text[a:b].lower() for a, b in found if first <= a < first + WIDTH - 40})

    first = max((a for a, _ in found[:50]), key=lambda a: (words_from(a), -a))
    start = max(0, first - 40)
    if start and (blank := text.find(" ", start, first)) >= 0:
        start = blank + 1
    end = min(len(text), start + WIDTH)
    if end < len(text) and (blank := text.rfind(" ", start + WIDTH // 2, end)) >= 0:
        end = blank
    spans = [(a - start, min(b, end) - start) for a, b in found if start <= a < end]
    pieces = _cut(" ".join(text[start:end].split("\n")), spans)
    before = [Piece(text="… ")] if start or begun else []
    return [*before, *pieces, *([Piece(text=" …")] if end < len(text) else [])]


def _cut(text: str, spans: Sequence[tuple[int, int]]) -> list[Piece]:
    pieces, done = [], 0
    for start, end in spans:
        pieces += [Piece(text=text[done:start]), Piece(text=text[start:end], marked=True)]
        done = end
    return [piece for piece in [*pieces, Piece(text=text[done:])] if piece.text]
