"""Providers of OpenID Connect for tests: an independent one in a process of its own, and one that lies if told to."""

import base64
import contextlib
import hashlib
import hmac
import json
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote_plus, urlencode, urlsplit

import requests
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from tests.servers import connects, free_port, wait_until

CLIENT, SECRET = "holdfast", "a secret of the provider & of ours"


@contextlib.contextmanager
def independent_provider() -> Iterator[str]:
    """The package oidc-provider-mock, as anybody would start it; its address."""
    port = free_port()
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port), "--require-nonce", "true"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: process.poll() is not None or connects(port), about="the provider")
        assert process.poll() is None
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def introduce(provider: str, subject: str, **claims: Any) -> None:
    """Let the independent provider know somebody."""
    requests.put(f"{provider}/users/{subject}", json=claims, timeout=10).raise_for_status()


def agree_at(address: str, subject: str | None) -> str:
    """Sign in at the independent provider as its page would; None says no. Returns where it sends the browser."""
    wish = {"sub": subject} if subject else {"action": "deny"}
    answer = requests.post(address, data=wish, allow_redirects=False, timeout=10)
    assert answer.status_code == 302, answer.text
    return answer.headers["Location"]


@dataclass
class Person:
    """Whom the lying provider signs in next."""

    subject: str = "u-1"
    claims: dict[str, Any] = field(default_factory=lambda: {
        "email": "nora@harbour.example", "email_verified": True, "name": "Nora Quay",
    })  # fmt: skip


class Provider(ThreadingHTTPServer):
    """Checks what is sent to it as a careful one does; what it answers can be bent: see the fields."""

    daemon_threads = allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
        self.published: list[Any] = [self.key]
        self.person = Person()
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []
        self.metadata: dict[str, Any] = {}  # beside or instead of what is right
        self.token: Callable[[dict[str, Any]], str] = self.signed
        self.answer: dict[str, Any] = {}  # beside the ID token
        self.statuses: dict[str, int] = {}
        self.method = "basic"  # by which the client shows who it is
        self.info: dict[str, Any] | None = None
        self.hanging: set[str] = set()
        self.ending = threading.Event()
        self.problems: list[str] = []

    def document(self) -> dict[str, Any]:
        found = {
            "issuer": self.url, "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys", "userinfo_endpoint": f"{self.url}/userinfo",
            "response_types_supported": ["code"], "code_challenge_methods_supported": ["S256"],
        }  # fmt: skip
        return {name: value for name, value in {**found, **self.metadata}.items() if value is not None}

    def rotate(self) -> None:
        """Another key from now on."""
        self.key = RSAKey.generate_key(2048, {"kid": secrets.token_hex(4), "use": "sig"})
        self.published = [self.key]

    def signed(self, claims: dict[str, Any], key: Any = None, **header: Any) -> str:
        key = key or self.key
        return jwt.encode({"alg": "RS256", "kid": key.kid, **header}, claims, key, algorithms=ALL)

    def authorize(self, address: str) -> str:
        """A browser that comes there and agrees: where it is sent. Keeps what must be proven for its code."""
        asked = dict(parse_qsl(urlsplit(address).query))
        for name, value in {"response_type": "code", "client_id": CLIENT, "code_challenge_method": "S256"}.items():
            if asked.get(name) != value:
                self.problems.append(f"{name}={asked.get(name)}")
        if any(len(asked.get(name, "")) < 43 for name in ("state", "nonce", "code_challenge")):
            self.problems.append("state, nonce or challenge is missing or short")
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state'], 'session_state': 'x'})}"

    def redeem(self, fields: dict[str, str], authorization: str | None) -> tuple[int, dict[str, Any]]:
        asked = self.codes.pop(fields.get("code", ""), None)
        if asked is None:
            return 400, {"error": "invalid_grant"}
        challenge = hashlib.sha256(fields.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(challenge).decode().rstrip("=") != asked["code_challenge"]:
            self.problems.append("PKCE")
        if fields.get("redirect_uri") != asked["redirect_uri"] or fields.get("grant_type") != "authorization_code":
            self.problems.append("redirect_uri or grant_type")
        proof = self.client_proof(fields, authorization or "")
        if proof != {"basic": ("", CLIENT, SECRET), "post": (CLIENT, SECRET), "none": (CLIENT,)}[self.method]:
            self.problems.append(f"client authentication {proof}")
        moment = int(time.time())
        claims = {"iss": self.url, "sub": self.person.subject, "aud": CLIENT, "iat": moment, "exp": moment + 300,
                  "nonce": asked["nonce"], **self.person.claims}  # fmt: skip
        return 200, {"access_token": "opaque", "token_type": "Bearer", "id_token": self.token(claims), **self.answer}

    def client_proof(self, fields: dict[str, str], authorization: str) -> tuple[str, ...]:
        """What the client says of itself, with "" in front where it is said in the header."""
        if authorization:
            return ("", *map(unquote_plus, base64.b64decode(authorization[6:]).decode().split(":")))
        return tuple(fields[name] for name in ("client_id", "client_secret") if name in fields)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The other side hangs up on purpose."""


ALL = ["RS256", "HS256", "ES256", "PS256", "none"]


class Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.server.asked.append(path)
        if path in self.server.hanging:
            self.server.ending.wait(60)
            return
        if path == "/.well-known/openid-configuration":
            self._say(path, self.server.document())
        elif path == "/keys":
            self._say(
                path, {"keys": [k if isinstance(k, dict) else k.as_dict(private=False) for k in self.server.published]}
            )
        elif path == "/userinfo" and self.headers["Authorization"] == "Bearer opaque":
            self._say(path, self.server.info or {"sub": self.server.person.subject})
        elif path == "/authorize":
            self.send_response(302)
            self.send_header("Location", self.server.authorize(self.path))
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._say(path, {}, 404)

    def do_POST(self) -> None:
        self.server.asked.append(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path in self.server.hanging:
            self.server.ending.wait(60)
            return
        status, answer = self.server.redeem({k: v[0] for k, v in parse_qs(body).items()}, self.headers["Authorization"])
        self._say(self.path, answer, status)

    def _say(self, path: str, content: Any, status: int = 200) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(self.server.statuses.get(path, status))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Silent."""


@contextlib.contextmanager
def lying_provider() -> Iterator[Provider]:
    """Runs one on a thread. At the end it must have found nothing wrong with what was sent to it."""
    server = Provider()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ending.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
    assert server.problems == []


def unsigned(claims: dict[str, Any]) -> str:
    """A token with alg none."""
    return f"{_part({'alg': 'none'})}.{_part(claims)}."


def signed_by_public_key(server: Provider, claims: dict[str, Any]) -> str:
    """The public key misused as a shared secret, the old confusion of RS256 with HS256."""
    text = f"{_part({'alg': 'HS256', 'kid': 'one'})}.{_part(claims)}"
    digest = hmac.digest(server.key.as_pem(private=False), text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def _part(content: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def half_hash(text: str) -> str:
    """at_hash of an access token under RS256."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()[:16]).decode().rstrip("=")


SHARED = {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0", "kid": "shared"}


def other_key() -> RSAKey:
    """A stranger's key under the provider's key id."""
    return RSAKey.generate_key(2048, {"kid": "one"})


def curve_key() -> ECKey:
    """A key of another kind."""
    return ECKey.generate_key("P-256", {"kid": "curve"})
