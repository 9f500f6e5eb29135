"""A client of clamd: streams bytes to it by INSTREAM, as clamd(8) describes, and understands the one line it answers.

Whatever is no clear answer is no answer: Unavailable, so that nothing passes for clean that was not looked at.
"""

import re
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from webapp.errors import TooLarge, Unavailable

CONNECT_SECONDS = 5.0
PING_SECONDS = 5.0  # a scanner that hangs shows here, before a job gives it minutes
SEND_SECONDS = 30.0  # clamd itself waits as long for the next chunk (CommandReadTimeout)
REPLY_SECONDS = 150.0  # clamd looks at one file for two minutes (MaxScanTime)
CHUNK = 256 * 1024
LONGEST_REPLY = 4096
FOUND = re.compile(r"stream: (.{1,200}) FOUND")
TOO_LARGE = "INSTREAM size limit exceeded"
SILENT = "The virus scanner does not answer."


def scan(url: str, chunks: Iterable[bytes]) -> str | None:
    """The name of what was found in these bytes; None where they are clean.

    Raises TooLarge beyond clamd's StreamMaxLength, Unavailable for a scanner that is down, hangs or answers rubbish;
    and what reading `chunks` raises.
    """
    check(url)
    with _talk(url, SEND_SECONDS) as line:
        _send(line, b"zINSTREAM\0")
        whole = all(_send(line, struct.pack(">I", len(part)) + part) for chunk in chunks for part in _parts(chunk))
        if whole:
            _send(line, struct.pack(">I", 0))
        line.settimeout(REPLY_SECONDS)
        answer = _reply(line)
    if answer == "stream: OK" and whole:
        return None
    if found := FOUND.fullmatch(answer):
        return found[1]
    if answer.startswith(TOO_LARGE):
        raise TooLarge("This file is larger than the virus scanner takes.")
    raise Unavailable("The virus scanner gave no clear answer.", retry_after=60)


def check(url: str) -> None:
    """Raise Unavailable unless it is there and answers at once."""
    if _ask(url, b"zPING\0") != "PONG":
        raise Unavailable("The virus scanner gave no clear answer.", retry_after=60)


def version(url: str) -> str:
    """What it says of itself: program, signatures, their day. Raises Unavailable."""
    check(url)
    return _ask(url, b"zVERSION\0")


def _ask(url: str, command: bytes) -> str:
    with _talk(url, PING_SECONDS) as line:
        _send(line, command)
        return _reply(line)


@contextmanager
def _talk(url: str, seconds: float) -> Iterator[socket.socket]:
    """A connection. An OSError on it is Unavailable; one of whoever gives the bytes to scan is not ours to name."""
    try:
        line = _connect(url)
    except OSError as error:
        raise Unavailable(SILENT, retry_after=60) from error
    with line:
        line.settimeout(seconds)
        yield line


def _connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    if parts.scheme == "tcp":
        return socket.create_connection((parts.hostname or "", parts.port or 3310), CONNECT_SECONDS)
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    line.settimeout(CONNECT_SECONDS)
    try:
        line.connect(parts.path)
    except OSError:
        line.close()
        raise
    return line


def _parts(chunk: bytes) -> Iterator[bytes]:
    return (chunk[at : at + CHUNK] for at in range(0, len(chunk), CHUNK))


def _send(line: socket.socket, data: bytes) -> bool:
    """Whether it was taken: clamd shuts the line once it knows enough, and its answer says what."""
    try:
        line.sendall(data)
    except TimeoutError as error:
        raise Unavailable(SILENT, retry_after=60) from error
    except OSError:
        return False
    return True


def _reply(line: socket.socket) -> str:
    """One answer, which ends with a NUL as the command did."""
    data = b""
    try:
        while b"\0" not in data and len(data) < LONGEST_REPLY and (more := line.recv(1024)):
            data += more
    except TimeoutError as error:
        raise Unavailable(SILENT, retry_after=60) from error
    except OSError as error:
        if not data:
            raise Unavailable(SILENT, retry_after=60) from error
    text, ended, _ = data.partition(b"\0")
    if not ended:
        raise Unavailable("The virus scanner gave no clear answer." if data else SILENT, retry_after=60)
    return text.decode("utf-8", "replace").strip()
