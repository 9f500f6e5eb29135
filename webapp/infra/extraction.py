"""The text of documents, taken out by reading.py in a process of its own with limits, as rendering.py draws them."""

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from webapp.errors import Unavailable
from webapp.infra.confined import run_confined
from webapp.infra.reading import MOST, OPEN_DOCUMENT, OPEN_XML, PDF

WALL_SECONDS = 30.0
MOST_SIZE = 64 * 1024**2  # bytes of a document; of plain text only the beginning is read
FIRST_LINE = 1000  # bytes of the answer before its text, at most
PROGRAM = Path(__file__).with_name("reading.py")
DOCUMENTS = (OPEN_XML, OPEN_DOCUMENT)
PLAIN = frozenset({"application/json", "application/javascript", "application/xml", "application/x-yaml",
                   "application/toml", "application/x-sh"})  # fmt: skip
FAULTS = {
    "password": "The document needs a password, so its text cannot be searched.",
    "broken": "The document is damaged or not what its name says, so its text cannot be searched.",
    "swollen": "The document unpacks to more than is reasonable, so its text is not searched.",
    "entities": "The document declares its own entities, which can do harm, so its text is not searched.",
    "memory": "Reading the text of this document would need too much memory.",
    "slow": "Reading the text of this document would take too long.",
    "crash": "The document stopped the program that reads its text. It may be damaged or made to do harm.",
}


class Unreadable(Exception):
    """This content gives no text and never will; the message is for people, `fault` for programs."""

    def __init__(self, fault: str) -> None:
        super().__init__(FAULTS[fault])
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Extract:
    """The beginning of a text, and whether that is all of it."""

    text: str
    whole: bool


def is_readable(mime: str, size: int) -> bool:
    """Whether content of this type holds text, and is not too large to look for it."""
    return is_plain(mime) or ((mime == PDF or mime.startswith(DOCUMENTS)) and size <= MOST_SIZE)


def is_plain(mime: str) -> bool:
    """Whether the beginning of the content is the beginning of its text."""
    return mime.startswith("text/") or mime in PLAIN


def extract(chunks: Iterable[bytes], mime: str) -> Extract:
    """The text of the content that comes in these chunks, in a process of its own.

    Raises Unreadable for content without text within the limits, Unavailable when the machine is too busy.
    """
    with tempfile.TemporaryFile() as file:  # without a name: the program cannot seek in a pipe
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        file.seek(0)
        try:
            output, end = run_confined(PROGRAM, (mime,), file, MOST * 4 + FIRST_LINE, WALL_SECONDS)
        except TimeoutError:
            raise Unavailable("Reading the text did not get enough of the machine's time.", retry_after=30) from None
    return _understand(output, end)


def _understand(output: bytes, end: str) -> Extract:
    line, found, data = output.partition(b"\n")
    if not found:
        raise Unreadable(end)
    try:
        answer = json.loads(line)
        if "fault" in answer:
            raise Unreadable(answer["fault"])
        return Extract(data.decode().replace("\0", " ")[:MOST], bool(answer["whole"]))
    except (ValueError, KeyError, TypeError) as error:  # a program taken over by the file says anything
        raise Unreadable("crash") from error
