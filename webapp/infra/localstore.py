"""The store on a local disk: a draft is written aside, synced, then renamed into its place."""

import io
import os
import time
from collections.abc import Iterator
from pathlib import Path

from webapp.config import current_settings
from webapp.errors import Unavailable
from webapp.infra.drafts import CHUNK, DRAFTS, LocalDraft, disk_errors, new_place, plain_key


class LocalStore:
    """A directory: drafts/ for what is being written, ab/cd/<sha256> and sealed/ab/cd/<chance> for what is whole."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.drafts = root / DRAFTS

    def draft(self) -> LocalDraft:
        """A new empty draft, sealed where ENCRYPT_FILES says so. Raises DiskFull or Unavailable."""
        return LocalDraft(self.root, new_place(sealed=current_settings().encrypt_files))

    def reopen(self, place: str, data_key: bytes) -> LocalDraft:
        """A draft that was suspended, to be written on. Raises Unavailable when it is gone."""
        return LocalDraft(self.root, place, data_key)

    def key(self, digest: str) -> str:
        """Where plain content of this sha-256 belongs."""
        return plain_key(digest)

    def keep(self, draft: LocalDraft, *, replace: bool = False) -> str:
        """Put the draft in its place and return the key. Content that is there already is not written again.

        After the return the bytes and their directory entry survive a power cut. Call it while the blob's row is
        locked: a sweep must not remove what is being reused.
        """
        draft.sync()
        key = draft.key
        final = self.root / key
        with disk_errors():
            if not replace and self.size(key) == draft.stored_size:
                self.touch(key)
                draft.discard()
                return key
            fresh = [folder for folder in (final.parent, final.parent.parent) if not folder.exists()]
            final.parent.mkdir(parents=True, exist_ok=True)
            draft.path.rename(final)
            draft.settled()
            for folder in {final.parent, *(made.parent for made in fresh)}:
                _sync_folder(folder)
        return key

    def receive(self, key: str, pieces: Iterator[bytes]) -> None:
        """Put these bytes under the key as they come, whole or not at all."""
        final, fresh = self.root / key, self.root / f"{new_place(sealed=False)}.moving"
        with disk_errors():
            for folder in (fresh.parent, final.parent):
                folder.mkdir(parents=True, exist_ok=True)
            try:
                with fresh.open("xb") as file:
                    for piece in pieces:
                        file.write(piece)
                    file.flush()
                    os.fsync(file.fileno())
                fresh.rename(final)
            finally:
                fresh.unlink(missing_ok=True)
            for folder in (final.parent, final.parent.parent, final.parent.parent.parent):
                _sync_folder(folder)

    def touch(self, key: str) -> None:
        """Make it young again: the sweep of orphans leaves it alone."""
        with disk_errors():
            os.utime(self.root / key)

    def path(self, key: str) -> Path:
        """Where the bytes lie, as they lie."""
        return self.root / key

    def read(self, key: str, start: int = 0, length: int | None = None, piece: int = CHUNK) -> Iterator[bytes]:
        """`length` bytes from `start` (all by default) in pieces of so many. Raises Unavailable for a lost file."""
        with disk_errors():
            file = (self.root / key).open("rb", buffering=0)
        return _chunks(file, start, length, piece)

    def size(self, key: str) -> int | None:
        """Bytes stored under the key, None when there are none."""
        try:
            return (self.root / key).stat().st_size
        except FileNotFoundError:
            return None

    def delete(self, key: str) -> None:
        """Remove the bytes; does nothing when they are gone."""
        (self.root / key).unlink(missing_ok=True)

    def check(self) -> None:
        """Raises Unavailable when the directory is not there."""
        if not self.root.is_dir():
            raise Unavailable("The file store is not there: is its disk mounted?", retry_after=60)

    def link(self, key: str, headers: dict[str, str]) -> str | None:
        """Where else the bytes can be fetched: nowhere."""
        return None

    def free(self) -> int:
        """Bytes the disk still takes from us."""
        self.root.mkdir(parents=True, exist_ok=True)
        room = os.statvfs(self.root)
        return room.f_bavail * room.f_frsize

    def room(self) -> int:
        """Bytes of the whole disk."""
        disk = os.statvfs(self.root)
        return disk.f_blocks * disk.f_frsize

    def keys_older_than(self, seconds: float) -> Iterator[str]:
        """Keys of everything, drafts too, that was neither written, renamed nor reused in the last `seconds`."""
        for folder, _, names in os.walk(self.root):
            for key in (str(Path(folder, name).relative_to(self.root)) for name in names):
                if self.older_than(key, seconds):
                    yield key

    def older_than(self, key: str, seconds: float) -> bool:
        """Whether the key is there and was left alone for so long."""
        try:
            return (self.root / key).stat().st_ctime < time.time() - seconds
        except FileNotFoundError:
            return False


def _chunks(file: io.FileIO, start: int, length: int | None, piece: int) -> Iterator[bytes]:
    with file, disk_errors():
        file.seek(start)
        left = length
        while left is None or left > 0:
            data = file.read(piece if left is None else min(piece, left))
            if not data:
                return
            if left is not None:
                left -= len(data)
            yield data


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
