"""Promise 28: no request forgery through the server. Addresses webhooks must not reach, however they are spelled."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import make_settings
from tests.receiver import receiver
from webapp.config import ConfigurationError, current_settings, use_settings
from webapp.infra import courier, destinations
from webapp.infra.destinations import ForbiddenAddress, Unresolved, addresses_of, parse_destination, refuse_forbidden
from webapp.policies import Actor
from webapp.services import deliveries, folders, webhooks
from webapp.services.deliveries import DeliveryFilter
from webapp.services.folders import NewFolder
from webapp.services.webhooks import NewWebhook

FORBIDDEN = (
    # loopback, in every spelling that some resolver takes
    "127.0.0.1", "127.1", "127.255.255.254", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001",
    "localhost", "localhost.", "LOCALHOST", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]", "[::127.0.0.1]", "127.0.0.1.", "①②⑦.⓪.⓪.①", "１２７.0.0.1", "127。0。0。1",
    # nowhere and everywhere
    "0.0.0.0", "0", "[::]", "255.255.255.255", "240.0.0.1",
    # link-local, among them where clouds keep their keys
    "169.254.169.254", "2852039166", "0xa9fea9fe", "[fe80::1]", "[fe80::1%25lo]", "[::ffff:169.254.169.254]",
    "[fd00:ec2::254]", "100.100.100.200",
    # private and shared (CGNAT) networks
    "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "192.0.0.1", "198.18.0.1", "[fc00::1]",
    "[fd12:3456::1]", "[fec0::1]", "[::ffff:10.0.0.1]",
    # through tunnels and translators to an IPv4 address
    "[2002:7f00:1::]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2001:0:7f00:1::]",
    # many at once, documentation
    "224.0.0.1", "239.255.255.250", "[ff02::1]", "192.0.2.1", "198.51.100.7", "203.0.113.9", "[2001:db8::1]",
)  # fmt: skip
MISWRITTEN = (
    "http://user:password@example.org/", "http://example.org@127.0.0.1/", "http://example.org#@127.0.0.1/",
    "http://example.org\\@127.0.0.1/", "http://127.0.0.1\\.example.org/", "http://exa mple.org/",
    "http://example.org/\r\nX: 1", "http://example.org:0/", "http://example.org:22/", "http://example.org:25/", "http://example.org:5432/",
    "http://example.org:6379/", "http://example.org:99999/", "http://example.org:x/", "file:///etc/passwd",
    "gopher://example.org/", "ftp://example.org/", "//example.org/", "http:///path", "http://", "http://[::1", "http://./",
    "http://999.1.1.1/", "http://1.2.3.4.5/", "http://example.org/ä", "http://a\u200bb.example/x y",
    "javascript:alert(1)", "http://" + "a" * 2000 + ".example/", "http://-.example/",
    "http://" + "a" * 64 + ".example/",
)  # fmt: skip
ALLOWED = ("93.184.215.14", "[2606:2800:21f:cb07:6820:80da:af6b:8b2c]", "8.8.8.8")


@pytest.fixture(autouse=True)
def closed(tmp_path: Path) -> Iterator[None]:
    """Nothing private is allowed."""
    use_settings(make_settings(tmp_path))
    yield
    use_settings(make_settings(tmp_path))


def allow(networks: str) -> None:
    known = current_settings()
    use_settings(known.model_copy(update={"webhook_allowed_networks": make_networks(networks)}))


def make_networks(networks: str) -> Any:
    import ipaddress

    return tuple(ipaddress.ip_network(network) for network in networks.split(","))


@pytest.mark.parametrize("host", FORBIDDEN)
def test_a_forbidden_address_is_refused_in_every_spelling(host: str) -> None:
    with pytest.raises((ForbiddenAddress, Unresolved)):  # some resolvers do not know "localhost."
        addresses_of(parse_destination(f"http://{host}/hook"))


@pytest.mark.parametrize("url", MISWRITTEN)
def test_what_two_programs_could_read_differently_is_no_address(url: str) -> None:
    with pytest.raises(ForbiddenAddress):
        parse_destination(url)


@pytest.mark.parametrize("host", ALLOWED)
def test_public_addresses_are_not_refused(host: str) -> None:
    assert addresses_of(parse_destination(f"https://{host}/hook")) == [host.strip("[]")]


def test_a_name_of_another_script_is_asked_for_in_its_ascii_form() -> None:
    assert parse_destination("https://bücher.example/Straße".replace("ß", "%C3%9F")).host == "xn--bcher-kva.example"


def test_a_network_that_the_operator_names_is_allowed_and_no_other() -> None:
    allow("10.1.2.0/24,fd00:1::/64")
    for address in ("10.1.2.3", "fd00:1::5"):
        refuse_forbidden(address)
    for address in ("10.1.3.3", "fd00:2::5", "::ffff:10.1.2.3", "127.0.0.1"):
        with pytest.raises(ForbiddenAddress):
            refuse_forbidden(address)


@pytest.mark.parametrize("value", ["10.0.0.0/33", "10.1.2.3/8", "intranet", "10.0.0.0/8;::1"])
def test_a_network_that_is_none_is_named_at_the_start(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        make_settings(tmp_path, WEBHOOK_ALLOWED_NETWORKS=value)
    assert all(fault.startswith("WEBHOOK_ALLOWED_NETWORKS") for fault in refusal.value.faults)


def resolver(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Names have these addresses, one list a question, the last from then on; returns the names asked for."""
    left, asked, real = list(answers), [], socket.getaddrinfo

    def resolve(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if not str(host).endswith(".example"):
            return real(host, port, *args, **kwargs)
        asked.append(str(host))
        found = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


def test_a_name_with_one_private_address_among_public_ones_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver(monkeypatch, ["93.184.215.14", "10.0.0.1"])
    with pytest.raises(ForbiddenAddress):
        addresses_of(parse_destination("http://both.example/"))


def test_the_name_is_asked_for_once_and_the_judged_address_is_the_one_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    allow("127.0.0.0/30")
    with receiver() as server:
        port = server.server_address[1]
        asked = resolver(monkeypatch, ["127.0.0.1"], ["127.0.0.9"])  # the second answer would be refused
        answer = courier.post(f"http://hook.example:{port}/x?y=1", b"{}", {"X-One": "1"})
        assert (answer.status, answer.address) == (200, "127.0.0.1")
        assert asked == ["hook.example"]
        assert server.kept[0].headers["host"] == f"hook.example:{port}"
        assert server.kept[0].path == "/x?y=1"


def test_the_surroundings_cannot_route_it_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    allow("127.0.0.0/8")
    with receiver() as proxy, receiver() as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert courier.post(server.url, b"{}", {}).status == 200
        assert (len(proxy.kept), len(server.kept)) == (0, 1)


def test_a_name_that_never_resolves_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    ending = threading.Event()
    monkeypatch.setattr(destinations, "RESOLVE", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: ending.wait(20) and [])
    answer = courier.post("http://slow.example/", b"{}", {})
    ending.set()
    assert answer.status is None
    assert "has no address" in str(answer.error)


def test_a_certificate_that_nobody_vouches_for_is_not_believed(tmp_path: Path) -> None:
    import ssl
    import threading

    from tests.test_mail import self_signed

    allow("127.0.0.0/8")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as door:

        def greet() -> None:
            line, _ = door.accept()
            try:
                context.wrap_socket(line, server_side=True).close()
            except OSError:
                line.close()

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        answer = courier.post(f"https://127.0.0.1:{door.getsockname()[1]}/", b"{}", {})
        thread.join(10)
    assert answer.status is None
    assert "certificate is not valid" in str(answer.error)


# Through the whole vault ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://2130706433/", "http://[::1]/", "http://a.example:22/"])
def test_making_or_changing_one_to_a_forbidden_address_is_a_clear_422(
    app: Flask, admin: Actor, client: FlaskClient, bearer: Callable[[Actor], dict[str, str]], url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    resolver(monkeypatch, ["93.184.215.14"])
    headers = bearer(admin)
    wish = {"name": "Harbour", "url": url, "events": ["*"]}
    refused = client.post("/api/v1/webhooks", json=wish, headers=headers)
    assert (refused.status_code, refused.json["errors"][0]["field"]) == (422, "url")
    assert refused.json["errors"][0]["code"] == "forbidden_address"
    made = client.post("/api/v1/webhooks", json={**wish, "url": "https://hook.example/"}, headers=headers).json
    changed = client.patch(f"/api/v1/webhooks/{made['id']}", json={"url": url}, headers=headers)
    assert (changed.status_code, changed.json["errors"][0]["code"]) == (422, "forbidden_address")


def test_a_name_that_turned_to_a_private_address_is_refused_when_it_is_sent(
    app: Flask, admin: Actor, member: Actor, run_jobs: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as server:
        port = server.server_address[1]
        resolver(monkeypatch, ["93.184.215.14"], ["127.0.0.1"])  # rebinding: public when it is made, ours afterwards
        wish = NewWebhook(name="Harbour", url=f"http://hook.example:{port}/", events=["*"])
        made = webhooks.create_webhook(admin, wish)
        folders.create_folder(member, NewFolder(name="Survey"))
        run_jobs()
        assert server.kept == []
    (one,) = [
        each
        for each in deliveries.list_deliveries(admin, made.id, DeliveryFilter()).items
        if each.event == "folder.created"
    ]
    card = deliveries.show_delivery(admin, made.id, one.id)
    assert one.state == "pending"
    assert "127.0.0.1 is not a public address" in str(card.attempt_log[0].error)
