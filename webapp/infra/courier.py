"""One POST to an address that a stranger chose: connected to the judged address, bounded in time and bytes.

No redirect is followed, no proxy of the surroundings is used, certificates are verified against the name.
"""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from webapp.errors import HoldfastError
from webapp.infra.destinations import Destination, addresses_of, parse_destination

TOTAL = 15.0  # seconds for everything after the name is resolved, however slowly the other side drips
READ = 64 * 1024  # bytes of an answer that are taken at most
SHOWN = 2048  # bytes of it that are kept
HEADERS, HEADER_NAME, HEADER_VALUE = 50, 100, 500  # how many are kept, and characters of each


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it. `status` is None when no answer came: `error` then says why. `duration` is milliseconds."""

    status: int | None
    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""
    duration: int = 0
    address: str | None = None
    error: str | None = None


class Line(http.client.HTTPConnection):
    """A connection to one fixed address. The watchdog cuts it at the deadline, whatever it is doing."""

    def __init__(self, destination: Destination, address: str, deadline: float) -> None:
        super().__init__(destination.host, destination.port, timeout=max(0.1, deadline - time.monotonic()))
        self.destination, self.address, self.cut = destination, address, False
        self.wire: socket.socket | None = None  # `sock` is dropped when the head of the answer is read

    def connect(self) -> None:
        self._hold(socket.create_connection((self.address, self.destination.port), self.timeout))
        if self.destination.scheme == "https":
            name, context = self.destination.host.rstrip("."), ssl.create_default_context()
            secured = context.wrap_socket(self.sock, server_hostname=name, do_handshake_on_connect=False)
            self._hold(secured)
            secured.do_handshake()

    def _hold(self, wire: socket.socket) -> None:
        """From now on the watchdog cuts this one. It barks once: when it was earlier, nobody would ever cut it."""
        self.wire = self.sock = wire
        if self.cut:
            raise TimeoutError

    def ask(self, method: str, headers: Mapping[str, str], body: bytes | None = None) -> http.client.HTTPResponse:
        """Send one request on the open connection; the answer's head is read, its body is not."""
        self.putrequest(method, self.destination.target, skip_host=True, skip_accept_encoding=True)
        self.putheader("Host", self.destination.authority)
        for name, value in headers.items():
            self.putheader(name, value)
        self.putheader("Accept-Encoding", "identity")
        self.putheader("Connection", "close")
        if body is not None:
            self.putheader("Content-Length", str(len(body)))
        self.endheaders(body)
        return self.getresponse()

    def cut_off(self) -> None:
        """End it from another thread: reads return at once. The plain socket's shutdown, because TLS would talk."""
        self.cut = True
        with contextlib.suppress(OSError):  # it is not connected, or no longer
            if self.wire is not None:
                socket.socket.shutdown(self.wire, socket.SHUT_RDWR)


def post(url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Send it once. Never raises for what the other side does; an address that is forbidden now is an error, too."""
    begun = time.monotonic()
    try:
        destination = parse_destination(url)
        addresses = addresses_of(destination)
    except HoldfastError as error:
        return Answer(None, error=error.detail, duration=_since(begun))
    deadline, last = time.monotonic() + TOTAL, Answer(None, error="No address answers.")
    for address in addresses:
        last = _post_to(destination, address, body, headers, begun, deadline)
        if last.error != _UNREACHED or time.monotonic() >= deadline:
            break
    return last


FAULTS = (OSError, http.client.HTTPException, ValueError)  # what the other side can make a line raise
_UNREACHED = "Nothing listens there, or it does not let us in."


def _post_to(
    destination: Destination, address: str, body: bytes, headers: Mapping[str, str], begun: float, deadline: float
) -> Answer:
    with opened(Line(destination, address, deadline), deadline) as line:
        try:
            line.connect()
            return _exchange(line, body, headers, begun)
        except FAULTS as error:
            return Answer(None, error=fault_of(error, line, TOTAL), duration=_since(begun), address=address)


@contextlib.contextmanager
def opened(line: Line, deadline: float) -> Iterator[Line]:
    """Watch the line while the block uses it, and close it at the end."""
    watchdog = threading.Timer(max(0.0, deadline - time.monotonic()), line.cut_off)
    watchdog.daemon = True
    watchdog.start()
    try:
        yield line
    finally:
        watchdog.cancel()
        line.close()


def _exchange(line: Line, body: bytes, headers: Mapping[str, str], begun: float) -> Answer:
    response = line.ask("POST", headers, body)
    found = islice(response.headers.items(), HEADERS)
    known = {name[:HEADER_NAME]: value[:HEADER_VALUE] for name, value in found}
    text = _start_of(response)
    if line.cut:
        return Answer(None, known, text, _since(begun), line.address, f"No whole answer within {TOTAL:g} seconds.")
    return Answer(response.status, known, text, _since(begun), line.address)


def _start_of(response: http.client.HTTPResponse) -> str:
    """The first 2 KB; more is read, up to 64 KB, only so that an honest receiver does not see a broken connection."""
    start, taken = b"", 0
    while taken < READ and (part := response.read1(min(8192, READ - taken))):
        start, taken = (start + part)[:SHOWN], taken + len(part)
    return start.decode("utf-8", "replace").replace("\0", "�")


def fault_of(error: Exception, line: Line, limit: float) -> str:
    """What went wrong with an exchange that had `limit` seconds, in words."""
    if line.cut or isinstance(error, TimeoutError):
        return f"No whole answer within {limit:g} seconds."
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"The certificate is not valid: {error.verify_message}."
    if isinstance(error, ssl.SSLError):
        return f"No secure connection: {error.reason or 'TLS failed'}."
    if line.wire is None:
        return _UNREACHED
    if isinstance(error, http.client.HTTPException) and not isinstance(error, ConnectionError):
        return "The answer is not HTTP."
    return f"The connection broke: {getattr(error, 'strerror', None) or type(error).__name__}."


def _since(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)
