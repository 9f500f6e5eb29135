"""Bytes put aside until their checksum is known: in a nameless file beside the store, under a key that only we hold."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from webapp.infra.storage import disk_errors

PIECE = 1024 * 1024


class Aside:
    """Written once, then read once. Nothing is left of it afterwards, whatever happens, and nobody else can read it."""

    def __init__(self, folder: Path) -> None:
        self._cipher = Cipher(AES(os.urandom(32)), CTR(os.urandom(16)))
        self._sealer = self._cipher.encryptor()
        with disk_errors():
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (it is ours to close)
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append. Raises DiskFull."""
        with disk_errors():
            self._file.write(self._sealer.update(data))
        self.size += len(data)

    def read(self) -> Iterator[bytes]:
        """All of it, in pieces. Raises DiskFull where the disk says so only now."""
        opener = self._cipher.decryptor()
        with disk_errors():
            self._file.seek(0)
        while True:
            with disk_errors():
                data = self._file.read(PIECE)
            if not data:
                return
            yield opener.update(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()
