"""Where the vault may send requests of its own: public addresses, and private ones the configuration names.

Against requests forged through the server (promise 28): a name is resolved once, every address it has is judged, and
who connects uses the judged address, not the name.
"""

import ipaddress
import re
import socket
import threading
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

from webapp.config import current_settings
from webapp.errors import HoldfastError, Unavailable

PORTS = {"http": 80, "https": 443}
# Beside 80 and 443 a receiver may listen above 1023, but not where databases, caches and brokers do.
CLOSED = frozenset({
    1433, 1521, 2049, 2375, 2376, 2379, 2380, 3306, 3389, 4369, 5432, 5671, 5672, 5900, 5984, 5985,
    5986, 6379, 6443, 8500, 9042, 9092, 9200, 9300, 10250, 11211, 15672, 25672, 26379, 27017,
})  # fmt: skip
LONGEST = 2000
RESOLVE = 5.0  # seconds
_UNSEEN = re.compile(r"[\x00-\x20\x7f-\xa0\\]")
# A last label like this makes the host an IPv4 address for somebody (WHATWG URL, 3.5).
_NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)\.?", re.IGNORECASE)
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?")
_GLOBAL6 = ipaddress.ip_network("2000::/3")
_TUNNELS = tuple(map(ipaddress.ip_network, ("2002::/16", "2001::/32")))  # carry an IPv4 address of anybody's choice


class ForbiddenAddress(HoldfastError):
    """The vault does not connect there, whatever listens."""

    status, code, title = 422, "forbidden_address", "Forbidden address"


class Unresolved(Unavailable):
    """The name has no address now."""


@dataclass(frozen=True, slots=True)
class Destination:
    """An address as it was written, in the parts that a request needs."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """The Host header (RFC 9110, 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


def parse_destination(url: str) -> Destination:
    """The parts of an http or https address. Raises ForbiddenAddress for what no receiver needs or two may read
    differently: credentials, fragments, control characters, backslashes, numbers for addresses."""
    if len(url) > LONGEST or _UNSEEN.search(url):
        raise ForbiddenAddress("This address has characters that do not belong in one, or is too long.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ForbiddenAddress("This is not a web address.") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise ForbiddenAddress("Give a whole address, such as https://example.org/hook.")
    if "@" in parts.netloc or parts.fragment or "#" in url:
        raise ForbiddenAddress("Leave user names, passwords and # out of the address.")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not target.isascii():
        raise ForbiddenAddress("Write characters beyond ASCII in the path as %-escapes.")
    return Destination(parts.scheme, _host(parts.hostname), _port(port, parts.scheme), target)


def _port(port: int | None, scheme: str) -> int:
    port = PORTS[scheme] if port is None else port
    if (port < 1024 and port not in PORTS.values()) or port in CLOSED:
        raise ForbiddenAddress(f"The vault sends nothing to port {port}.")
    return port


def _host(host: str) -> str:
    if "%" in host:
        raise ForbiddenAddress("Addresses of one link are not for requests of the vault.")
    if ":" in host:
        return str(_literal(ipaddress.IPv6Address, host))
    if _looks_numeric(host):
        return str(_literal(ipaddress.IPv4Address, host))
    try:
        name = host.encode("idna").decode().lower()
    except UnicodeError:
        raise ForbiddenAddress("This is not a name of a host.") from None
    if not _NAME.fullmatch(name) or _looks_numeric(name):  # full-width digits become plain ones
        raise ForbiddenAddress("This is not a name of a host.")
    return name


def _literal(kind: type[IPv4Address] | type[IPv6Address], host: str) -> IPv4Address | IPv6Address:
    try:
        return kind(host)
    except ValueError:
        text = "Write an IPv4 address as four decimal numbers." if kind is IPv4Address else "This is not an address."
        raise ForbiddenAddress(text) from None


def _looks_numeric(host: str) -> bool:
    return bool(_NUMERIC.fullmatch(host.rstrip(".").rpartition(".")[2]))


def addresses_of(destination: Destination) -> list[str]:
    """All addresses of its host, resolved now, each of them judged. Raises ForbiddenAddress when one of them is, or
    Unresolved."""
    found = resolve(destination.host, destination.port)
    for address in found:
        refuse_forbidden(address)
    return found


def refuse_forbidden(address: str) -> None:
    """Raise ForbiddenAddress unless it is a public unicast address or in WEBHOOK_ALLOWED_NETWORKS."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if any(ip in network for network in current_settings().webhook_allowed_networks):
        return
    if not (_public4(ip) if isinstance(ip, IPv4Address) else _public6(ip)):
        raise ForbiddenAddress(
            f"{ip} is not a public address. An operator can allow its network by WEBHOOK_ALLOWED_NETWORKS."
        )


def _public4(ip: IPv4Address) -> bool:
    return ip.is_global and not (ip.is_multicast or ip.is_reserved)


def _public6(ip: IPv6Address) -> bool:
    return ip in _GLOBAL6 and ip.is_global and not any(ip in network for network in _TUNNELS)


def resolve(host: str, port: int) -> list[str]:
    """All addresses of a host, unjudged. Raises Unresolved.

    getaddrinfo has no time limit of its own, so it runs on a thread that is left behind when it takes too long.
    """
    answer: list[str] = []
    trouble: list[str] = []

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answer.extend(dict.fromkeys(str(entry[4][0]) for entry in found))
        except (OSError, UnicodeError) as error:
            trouble.append(getattr(error, "strerror", None) or type(error).__name__)

    thread = threading.Thread(target=ask, name="resolve", daemon=True)
    thread.start()
    thread.join(RESOLVE)
    if not answer:
        raise Unresolved(f"The name {host} has no address: {(trouble or ['no answer in time'])[0]}.")
    return list(answer)
