"""What changed between two versions of a text, line by line, in hunks as `diff -u` cuts them."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from pydantic import Field

from webapp.errors import Conflict
from webapp.infra.comparing import Block, compare
from webapp.policies import Actor
from webapp.services.downloads import Content
from webapp.services.files import show_file
from webapp.services.inputs import Input
from webapp.services.versions import open_version, show_version

MOST_BYTES = 1024**2
AROUND = 3  # lines shown before and after a change
TEXTS = {"application/json", "application/javascript", "application/xml", "application/x-sh", "application/toml",
         "application/yaml", "application/x-yaml", "application/sql", "image/svg+xml"}  # fmt: skip


class DifferenceQuery(Input):
    """The other version; without one the present content."""

    other: Annotated[int | None, Field(alias="with", ge=1, description="number of the other version")] = None


class LineView(msgspec.Struct, frozen=True, kw_only=True):
    """A line: its number on either side, where it stands there."""

    kind: Literal["same", "removed", "added"]
    old: int | None
    new: int | None
    text: str


class HunkView(msgspec.Struct, frozen=True, kw_only=True):
    """Changes that stand together, with the lines around them. Starts count from 1."""

    old_start: int
    old_lines: int
    new_start: int
    new_lines: int
    lines: list[LineView]


class DifferenceView(msgspec.Struct, frozen=True, kw_only=True):
    """From the version `old` to the version `new`. `smallest` false: too different to be looked at line by line."""

    old: int
    new: int
    added: int
    removed: int
    smallest: bool
    hunks: list[HunkView]


def compare_versions(actor: Actor, file_id: UUID, number: int, query: DifferenceQuery) -> DifferenceView:
    """The way from the older to the newer of the two. Raises Missing; Conflict where one is no text (not_text), larger
    than 1 MiB (too_large_to_compare) or damaged."""
    first = show_version(actor, file_id, number)
    other = _present(actor, file_id) if query.other is None else query.other
    old, new = sorted((first.number, other))
    left, right = (_lines(open_version(actor, file_id, each)) for each in (old, new))
    blocks, smallest = compare(left, right)
    hunks = [_hunk(group, left, right) for group in _groups(blocks)]
    return DifferenceView(
        old=old, new=new, smallest=smallest, hunks=hunks,
        added=sum(block.last - block.first for block in blocks),
        removed=sum(block.end - block.start for block in blocks),
    )  # fmt: skip


def comparable(mime: str, size: int) -> bool:
    """Whether a content of this type and size is compared."""
    return size <= MOST_BYTES and (mime.startswith("text/") or mime in TEXTS or mime.endswith(("+xml", "+json")))


def _present(actor: Actor, file_id: UUID) -> int:
    return show_file(actor, file_id).number


def _lines(content: Content) -> list[str]:
    if content.size > MOST_BYTES:
        raise Conflict("Only texts of at most 1 MiB are compared.", code="too_large_to_compare")
    if not comparable(content.mime, content.size):
        raise Conflict("Only texts are compared.", code="not_text")
    data = b"".join(content.read())
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = data.decode("utf-16" if wide else "utf-8-sig", "replace").replace("\0", "�")
    return text.replace("\r\n", "\n").removesuffix("\n").split("\n") if text else []


def _groups(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    group: list[Block] = []
    for block in blocks:
        if group and block.start - group[-1].end > 2 * AROUND:
            yield group
            group = []
        group.append(block)
    if group:
        yield group


def _hunk(group: Sequence[Block], left: Sequence[str], right: Sequence[str]) -> HunkView:
    before = min(AROUND, group[0].start)
    after = min(AROUND, len(left) - group[-1].end)
    x, y = group[0].start - before, group[0].first - before
    lines, start = list[LineView](), (x, y)
    for block in [*group, Block(group[-1].end + after, group[-1].end + after, 0, 0)]:
        for text in left[x : block.start]:
            lines.append(LineView(kind="same", old=x + 1, new=y + 1, text=text))
            x, y = x + 1, y + 1
        for text in left[x : block.end]:
            lines.append(LineView(kind="removed", old=x + 1, new=None, text=text))
            x += 1
        for text in right[y : block.last]:
            lines.append(LineView(kind="added", old=None, new=y + 1, text=text))
            y += 1
    return HunkView(old_start=start[0] + 1, old_lines=x - start[0], new_start=start[1] + 1, new_lines=y - start[1],
                    lines=lines)  # fmt: skip
