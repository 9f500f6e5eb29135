"""One question to a server that an operator named, or to one that such a server named: bounded in time and bytes.

No redirect is followed, no proxy of the surroundings is used, certificates are verified against the name.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse

from webapp.errors import HoldfastError, Unavailable
from webapp.infra.courier import FAULTS, Line, fault_of, opened
from webapp.infra.destinations import addresses_of, parse_destination, resolve

TOTAL = 5.0  # seconds for everything after the name is resolved: somebody's browser waits
MOST = 512 * 1024  # bytes of an answer


class Unreached(Unavailable):
    """No whole answer came; `detail` says why."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer: any status, the whole body."""

    status: int
    body: bytes


def fetch(url: str, named: str, headers: Mapping[str, str] | None = None, body: bytes | None = None) -> Fetched:
    """GET, or POST where there is a body. Raises Unreached.

    `named` is the host that the operator named, wherever it is. Any other must have public addresses, or ones in
    WEBHOOK_ALLOWED_NETWORKS: a server that is believed about who people are shall not send us round the house.
    """
    try:
        destination = parse_destination(url)
        known = destination.host == named.strip("[]").lower()
        addresses = resolve(destination.host, destination.port) if known else addresses_of(destination)
    except HoldfastError as error:
        raise Unreached(error.detail) from error
    deadline, trouble = time.monotonic() + TOTAL, "No address answers."
    for address in addresses:
        with opened(Line(destination, address, deadline), deadline) as line:
            try:
                line.connect()
                return _asked(line, headers or {}, body)
            except FAULTS as error:
                trouble = fault_of(error, line, TOTAL)
        if line.wire is not None or time.monotonic() >= deadline:
            break
    raise Unreached(trouble)


def _asked(line: Line, headers: Mapping[str, str], body: bytes | None) -> Fetched:
    response = line.ask("GET" if body is None else "POST", headers, body)
    content = _whole(response)
    if line.cut:
        raise TimeoutError
    return Fetched(response.status, content)


def _whole(response: HTTPResponse) -> bytes:
    content = b""
    while part := response.read1(64 * 1024):
        content += part
        if len(content) > MOST:
            raise HTTPException
    return content
