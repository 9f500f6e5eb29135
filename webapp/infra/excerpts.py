"""Text as people read it, from the first bytes of a file: its characters, its lines, its cells. All are bounded."""

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from webapp.infra.sniffing import decode_text

LINES = 5000
COLUMNS, ROWS, CELL = 50, 500, 300  # of a table; a cell in characters
DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class Table:
    """The first row apart, as it mostly has the names; `cut`: there is more."""

    head: list[str]
    rows: list[list[str]]
    cut: bool


def decode(data: bytes) -> str:
    """Bytes of some text as characters: UTF-8, UTF-16, UTF-32, else the old code page of Windows. Never raises."""
    found = decode_text(data)
    if found is not None:
        return found[1]
    try:
        text = data.decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        # a character that the cut went through is no sign of another encoding
        whole = error.start >= len(data) - 3
        text = data.decode("utf-8" if whole else "cp1252", "replace")
    return "".join(c if c >= " " or c in "\t\n\r\f" else "\N{REPLACEMENT CHARACTER}" for c in text)


def clip(text: str) -> tuple[str, bool]:
    """At most LINES lines, with line feeds for all ends of lines; and whether there is more."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    at = -1
    for _ in range(LINES):
        at = text.find("\n", at + 1)
        if at < 0:
            return text, False
    return text[:at], at + 1 < len(text)


def read_table(text: str, *, cut: bool) -> Table | None:
    """A table of comma- or otherwise separated values; None for what is none. `cut`: the text goes on in the file."""
    delimiter = delimiter_of(text)
    rows: list[list[str]] = []
    more = cut
    try:
        for cells in csv.reader(_lines(text, cut=cut), delimiter=delimiter):
            if len(rows) > ROWS:
                more = True
                break
            more = more or len(cells) > COLUMNS
            rows.append([cell if len(cell) <= CELL else cell[: CELL - 1] + "…" for cell in cells[:COLUMNS]])
    except csv.Error:  # a field larger than the module takes, so no table to look at
        return None
    rows = [row for row in rows if any(row)]
    if not rows:
        return None
    width = max(len(row) for row in rows)
    filled = [row + [""] * (width - len(row)) for row in rows]
    return Table(filled[0], filled[1:], more)


def _lines(text: str, *, cut: bool) -> Iterator[str]:
    lines = text.splitlines(keepends=True)
    return iter(lines[:-1] if cut and len(lines) > 1 else lines)  # the last one may be half


def delimiter_of(text: str) -> str:
    """What separates the cells: the sign that most lines have equally often, outside of quotes."""
    best, most = ",", (0, 0)
    for sign in DELIMITERS:
        counts = Counter(
            count for line in islice(text[:20_000].splitlines(), 20) if (count := _outside(line).count(sign))
        )
        if counts:
            number, lines = counts.most_common(1)[0]
            best, most = max((best, most), (sign, (lines, number)), key=lambda one: one[1])
    return best


def _outside(line: str) -> str:
    """A line without what stands in quotes."""
    return "".join(line.split('"')[::2])
