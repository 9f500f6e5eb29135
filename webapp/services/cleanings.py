"""Pictures without what they tell besides (place, camera, time): drawn anew, upright, in a process of their own."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from webapp.errors import Conflict, TooLarge, Unavailable
from webapp.infra.drawing import FORMATS
from webapp.infra.rendering import Unrenderable, render
from webapp.services.downloads import Content
from webapp.services.stored import handed_over

WIDEST = 16_000  # pixels of a side
AT_ONCE, PATIENCE = 2, 10.0  # of one process, seconds to wait for one's turn
SUFFIX = {"image/jpeg": ".jpg", "image/webp": ".webp"}
_turns = threading.BoundedSemaphore(AT_ONCE)


class Cleaned(Content, frozen=True, kw_only=True):
    """A picture that lies in memory, some megabytes at most; its `key` is empty, for the store does not have it."""

    data: bytes

    def read(self, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes in one piece."""
        yield self.data[start : len(self.data) if length is None else start + length]


def clean(content: Content) -> Content:
    """The same picture with nothing but its pixels; what is no picture as it is.

    Raises Conflict for a picture that cannot be drawn anew: rather none than one that tells too much.
    """
    if not content.mime.startswith("image/"):
        return content
    if content.mime not in FORMATS:
        raise _unclean()
    if not _turns.acquire(timeout=PATIENCE):
        raise Unavailable("Many pictures are being prepared. Try again in a moment.", retry_after=5)
    try:
        with handed_over(content.key, content.size) as file:
            picture = render(file, content.mime, (WIDEST,)).pictures[0]
    except (TooLarge, Unrenderable) as error:
        raise _unclean() from error
    finally:
        _turns.release()
    name = content.name if picture.mime == content.mime else Path(content.name).stem + SUFFIX[picture.mime]
    told = msgspec.structs.asdict(content) | {"name": name, "mime": picture.mime, "key": "", "size": len(picture.data),
                                              "sha256": hashlib.sha256(picture.data).hexdigest()}  # fmt: skip
    return Cleaned(**told, data=picture.data)


def _unclean() -> Conflict:
    return Conflict("This picture cannot be freed of what it tells besides, so this link does not give it away.",
                    code="not_cleanable")  # fmt: skip
