"""A clamd of tests: speaks the protocol of the real one over TCP or a unix socket, and misbehaves when told to.

It knows one virus, the test file of EICAR, which real scanners find only where a content begins with it.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
NAME = "Win.Test.EICAR_HDB-1"
Mood = Literal["well", "hangs", "rubbish", "hangs up", "endless", "hangs after ping", "error"]


class Clamd:
    """`mood` is how it behaves from now on, `limit` its StreamMaxLength, `seen` what it was given to scan."""

    def __init__(self, path: Path | None = None) -> None:
        self.mood: Mood = "well"
        self.limit = 25 * 1024**2
        self.seen: list[bytes] = []
        self.chunks: list[int] = []
        self.signatures = [EICAR]
        self._ending = threading.Event()
        self._line = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self._line.bind(str(path) if path else ("127.0.0.1", 0))
        self._line.listen(16)
        self.url = f"unix:{path}" if path else f"tcp://127.0.0.1:{self._line.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def stop(self) -> None:
        """Refuse from now on."""
        self._ending.set()
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)
        self._line.close()

    def _serve(self) -> None:
        while not self._ending.is_set():
            try:
                line, _ = self._line.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(line,), daemon=True).start()

    def _talk(self, line: socket.socket) -> None:
        with line, contextlib.suppress(OSError):
            line.settimeout(30)
            command = b""
            while not command.endswith(b"\0") and (more := line.recv(1)):
                command += more
            quiet = self.mood == "hangs after ping" and command != b"zPING\0"
            if self.mood == "hangs" or quiet:
                self._ending.wait(30)
            elif self.mood == "rubbish":
                line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n\0")
            elif self.mood == "endless":
                for _ in range(100):
                    line.sendall(b"x" * 1024)
            elif self.mood != "hangs up":
                self._answer(line, command)

    def _answer(self, line: socket.socket, command: bytes) -> None:
        if command == b"zPING\0":
            line.sendall(b"PONG\0")
        elif command == b"zVERSION\0":
            line.sendall(b"ClamAV 1.4.2/27500/Thu Nov 26 09:00:00 2026\0")
        elif command == b"zINSTREAM\0":
            line.sendall(self._scan(line))
        else:
            line.sendall(b"UNKNOWN COMMAND\0")

    def _scan(self, line: socket.socket) -> bytes:
        data = bytearray()
        while size := struct.unpack(">I", _exactly(line, 4))[0]:
            self.chunks.append(size)
            if len(data) + size > self.limit:
                return b"INSTREAM size limit exceeded. ERROR\0"
            data += _exactly(line, size)
        self.seen.append(bytes(data))
        if self.mood == "error":
            return b"stream: Can't allocate memory ERROR\0"
        bad = any(data.startswith(signature) for signature in self.signatures)
        return f"stream: {NAME} FOUND\0".encode() if bad else b"stream: OK\0"


def _exactly(line: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = line.recv(size - len(data))
        if not more:
            raise OSError("the client went")
        data += more
    return data


@contextlib.contextmanager
def running(path: Path | None = None) -> Iterator[Clamd]:
    """One, stopped in the end."""
    clamd = Clamd(path)
    try:
        yield clamd
    finally:
        clamd.stop()
