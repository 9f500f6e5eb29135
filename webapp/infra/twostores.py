"""Two stores as one while everything moves from the former to the first: what is new goes to the first."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from webapp.errors import Unavailable
from webapp.infra.drafts import CHUNK, LocalDraft, plain_key
from webapp.infra.localstore import LocalStore
from webapp.infra.s3store import S3Store

One = LocalStore | S3Store


class TwoStores:
    """Looks in the first, then in the former, then in the first again: between two looks it may have been moved."""

    def __init__(self, first: One, former: One) -> None:
        self.first, self.former = first, former

    @property
    def drafts(self) -> Path:
        """Where the first has what is being written."""
        return self.first.drafts

    def draft(self) -> LocalDraft:
        """A new empty draft of the first."""
        return self.first.draft()

    def reopen(self, place: str, data_key: bytes) -> LocalDraft:
        """A draft that waits in the first. Raises Unavailable."""
        return self.first.reopen(place, data_key)

    def key(self, digest: str) -> str:
        """Where plain content of this sha-256 belongs."""
        return plain_key(digest)

    def keep(self, draft: LocalDraft, *, replace: bool = False) -> str:
        """Put the draft into the first."""
        return self.first.keep(draft, replace=replace)

    def read(self, key: str, start: int = 0, length: int | None = None, piece: int = CHUNK) -> Iterator[bytes]:
        """Its bytes, wherever they are. Raises Unavailable."""
        for where in (self.first, self.former):
            try:
                return where.read(key, start, length, piece)
            except Unavailable as error:
                if not isinstance(error.__cause__, FileNotFoundError):
                    raise
        return self.first.read(key, start, length, piece)

    def path(self, key: str) -> Path | None:
        """The file, where it is one."""
        where = self._where(key)
        return where.path(key) if where else None

    def link(self, key: str, headers: dict[str, str]) -> str | None:
        """Where else the bytes can be fetched."""
        where = self._where(key)
        return where.link(key, headers) if where else None

    def _where(self, key: str) -> One | None:
        return next((where for where in (self.first, self.former) if where.size(key) is not None), None)

    def size(self, key: str) -> int | None:
        """Bytes stored under the key, None when there are none."""
        sizes = (where.size(key) for where in (self.first, self.former, self.first))
        return next((size for size in sizes if size is not None), None)

    def touch(self, key: str) -> None:
        """Make it young again."""
        where = self._where(key)
        if where:
            where.touch(key)

    def delete(self, key: str) -> None:
        """Remove the bytes from both."""
        self.former.delete(key)
        self.first.delete(key)

    def check(self) -> None:
        """Raises Unavailable when one of them is away."""
        self.first.check()
        self.former.check()

    def free(self) -> int:
        """Bytes that the first takes."""
        return self.first.free()

    def room(self) -> int:
        """Bytes of the first."""
        return self.first.room()

    def keys_older_than(self, seconds: float) -> Iterator[str]:
        """Keys of both."""
        return chain(self.first.keys_older_than(seconds), self.former.keys_older_than(seconds))

    def older_than(self, key: str, seconds: float) -> bool:
        """Whether the key is there and was left alone for so long."""
        where = self._where(key)
        return where is not None and where.older_than(key, seconds)
