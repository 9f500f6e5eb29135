"""Small pictures of files, made by drawing.py in a process of its own with limits: a hostile file hurts only that one.

A new process for each file costs some 80 ms and forgets whatever the last file did to it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from webapp.errors import Unavailable
from webapp.infra.confined import run_confined
from webapp.infra.drawing import FORMATS, PDF

SIZES = (64, 256, 1024)  # pixels of the longer side
DRAWABLE = frozenset({*FORMATS, PDF})
WALL_SECONDS = 30.0
MOST_BYTES = 16 * 1024**2
PROGRAM = Path(__file__).with_name("drawing.py")

FAULTS = {
    "password": "The PDF needs a password.",
    "pixels": "The picture has too many pixels for a preview.",
    "broken": "The file is damaged or not what its name says, so there is no preview.",
    "no_page": "The PDF has fewer pages.",
    "empty": "The PDF has no pages.",
    "memory": "A preview of this file would need too much memory.",
    "slow": "A preview of this file would take too long.",
    "crash": "The file stopped the program that draws previews. It may be damaged or made to do harm.",
}


class Unrenderable(Exception):
    """This content has no preview and never will; the message is for people, `fault` for programs."""

    def __init__(self, fault: str) -> None:
        super().__init__(FAULTS[fault])
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Picture:
    """One encoded picture, at most `size` pixels wide and high."""

    size: int
    mime: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Rendering:
    """What was drawn, and what the file told on the way: width and height in pixels, or pages."""

    pictures: tuple[Picture, ...]
    facts: dict[str, Any]


def render(source: BinaryIO, mime: str, sizes: tuple[int, ...] = SIZES, page: int = 1) -> Rendering:
    """Draw the file, of a type in DRAWABLE, in each of the sizes; of a PDF this page.

    Raises Unrenderable for content that cannot be drawn within the limits, Unavailable when the machine is too busy.
    """
    try:
        output, end = run_confined(PROGRAM, (mime, str(page), *map(str, sizes)), source, MOST_BYTES + 1, WALL_SECONDS)
    except TimeoutError:
        raise Unavailable("The preview did not get enough of the machine's time.", retry_after=30) from None
    return _understand(output, end)


def _understand(output: bytes, end: str) -> Rendering:
    line, found, data = output.partition(b"\n")
    if not found or len(output) > MOST_BYTES:
        raise Unrenderable(end)
    try:
        answer = json.loads(line)
        if "fault" in answer:
            raise Unrenderable(answer["fault"])
        pictures, start = [], 0
        for entry in answer["pictures"]:
            stop = start + int(entry["length"])
            pictures.append(Picture(int(entry["size"]), str(entry["mime"]), data[start:stop]))
            start = stop
    except (ValueError, KeyError, TypeError) as error:  # a program taken over by the file says anything
        raise Unrenderable("crash") from error
    if start != len(data):
        raise Unrenderable("crash")
    return Rendering(tuple(pictures), dict(answer["facts"]))
