"""News: what happens to a person's jobs and files, in the order in which it is told, with a short history for each."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

KEPT = 200  # pieces of news of one account that a reconnecting listener can catch up on
KEPT_FOR = 600  # seconds
FIRST = "retry: 3000\n\n"
HEARTBEAT = b": still here\n\n"
SYNC = "sync"  # news may have been missed: read again what you show

Mark = tuple[int, int]  # milliseconds and a number among those; grows with every piece of news of an account


class News(NamedTuple):
    """One thing that happened; `data` is a JSON object."""

    owner_id: int
    type: str
    data: str = "{}"


class Told(NamedTuple):
    """News with its place in the history of its account."""

    mark: Mark
    owner_id: int
    type: str
    data: str


class Past(NamedTuple):
    """What came after a mark. `whole` is False when something may be missing; `newest` is where the history ends."""

    whole: bool
    newest: Mark
    after: Sequence[Told]


class Board(Protocol):
    """Where news are told and heard."""

    def tell(self, news: Sequence[News]) -> None:
        """Pass them on; never waits and never raises."""

    def past(self, owner_id: int, since: Mark | None) -> Past | None:
        """The history of an account; None while it cannot be read."""

    def follow(self, hear: Callable[[Told], None], lost: Callable[[], None]) -> bool:
        """Call `hear` with all news told from now on, `lost` when the line broke. False when there is none now."""

    def flush(self, seconds: float) -> None:
        """Wait until what was told is on its way."""


def mark_of(text: str) -> Mark | None:
    """The mark in a Last-Event-ID; None for what is none of ours."""
    milliseconds, dash, number = text.partition("-")
    if not dash or not (milliseconds + number).isascii() or len(text) > 40:
        return None
    try:
        mark = int(milliseconds), int(number)
    except ValueError:
        return None
    return mark if max(mark) < 2**64 and min(mark) >= 0 else None


def text_of(mark: Mark) -> str:
    """The mark as an event's id."""
    return f"{mark[0]}-{mark[1]}"


def frame(mark: Mark | None, name: str, data: str) -> bytes:
    """An event as the HTML standard frames it (9.2.6). `data` has no line breaks."""
    head = f"id: {text_of(mark)}\n" if mark else ""
    return f"{head}event: {name}\ndata: {data}\n\n".encode()
