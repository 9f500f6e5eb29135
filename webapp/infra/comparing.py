"""What changed between two lists of lines: Myers' shortest edit script, with a bound on the work.

difflib takes minutes for lists that somebody made for it; here the middle is told as wholly replaced beyond the bound.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MOST_WORK = 500_000  # steps: a fifth of a second and 30 MB at most, some 700 edited lines


@dataclass(frozen=True, slots=True)
class Block:
    """Lines start:end of the old list became first:last of the new one."""

    start: int
    end: int
    first: int
    last: int


def compare(old: Sequence[str], new: Sequence[str]) -> tuple[list[Block], bool]:
    """The blocks that differ, in order, and whether they are the smallest there are."""
    head = _same(zip(old, new, strict=False))
    rest = min(len(old), len(new)) - head
    tail = min(rest, _same(zip(reversed(old), reversed(new), strict=False)))
    a, b = old[head : len(old) - tail], new[head : len(new) - tail]
    if not a and not b:
        return [], True
    kept = _kept_pairs(a, b) if a and b else []
    if kept is None:
        return [Block(head, head + len(a), head, head + len(b))], False
    return list(_blocks(kept, head, len(a), len(b))), True


def _same(pairs: Iterator[tuple[str, str]]) -> int:
    count = 0
    for one, other in pairs:
        if one != other:
            break
        count += 1
    return count


def _blocks(kept: Sequence[tuple[int, int]], head: int, long: int, wide: int) -> Iterator[Block]:
    x = y = 0
    for next_x, next_y in [*kept, (long, wide)]:
        if next_x > x or next_y > y:
            yield Block(head + x, head + next_x, head + y, head + next_y)
        x, y = next_x + 1, next_y + 1


def _kept_pairs(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]] | None:
    """Indices of the lines that stay; None when finding them would take too long."""
    number: dict[str, int] = {}
    left = [number.setdefault(line, len(number)) for line in a]
    right = [number.setdefault(line, len(number)) for line in b]
    reached, steps, work = {1: 0}, list[dict[int, int]](), 0
    for edits in range(len(left) + len(right) + 1):
        steps.append(dict(reached))
        work += 2 * len(reached)  # the copy, and the walk below
        for diagonal in range(-edits, edits + 1, 2):
            down = diagonal == -edits or (diagonal != edits and reached[diagonal - 1] < reached[diagonal + 1])
            x = reached[diagonal + 1] if down else reached[diagonal - 1] + 1
            y = x - diagonal
            while x < len(left) and y < len(right) and left[x] == right[y]:
                x, y, work = x + 1, y + 1, work + 1
            reached[diagonal] = x
            if x >= len(left) and y >= len(right):
                return _walk_back(steps, len(left), len(right))
        if work > MOST_WORK:
            return None
    return None


def _walk_back(steps: Sequence[dict[int, int]], x: int, y: int) -> list[tuple[int, int]]:
    kept: list[tuple[int, int]] = []
    for edits in range(len(steps) - 1, -1, -1):
        reached, diagonal = steps[edits], x - y
        down = diagonal == -edits or (diagonal != edits and reached[diagonal - 1] < reached[diagonal + 1])
        before = diagonal + 1 if down else diagonal - 1
        past_x = reached[before] if edits else 0
        past_y = past_x - before if edits else 0
        while x > past_x and y > past_y and (x - 1) - (y - 1) == diagonal:
            if edits and x <= (past_x if down else past_x + 1):
                break
            x, y = x - 1, y - 1
            kept.append((x, y))
        x, y = past_x, past_y
    return kept[::-1]
