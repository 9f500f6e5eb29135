"""Rows `upload` and `download`: one large file, against the disk with sha256 and against nginx."""

import base64
import contextlib
import hashlib
import http.client
import os
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from bench.load import fetch
from bench.processes import running, web
from bench.rows import Row
from bench.vault import NO_BROKER, Vault, vault
from tests.servers import free_port

MIB = 1024**2
PIECE = MIB
BOUNDARY = "holdfast-bench"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
CONFIG = """
pid {home}/nginx.pid;
error_log {home}/nginx-error.log warn;
worker_processes 2;
{user}
events {{ worker_connections 256; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi;
  scgi_temp_path {home}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location /static/ {{ alias {static}/; }}
    location /_blobs/ {{ internal; alias {blobs}/; }}
    location / {{
      proxy_pass {upstream};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }}
  }}
}}
"""


def source(home: Path, size: int) -> Path:
    """A file of this size whose pieces all differ; made once, read by every run."""
    path = home / "source"
    noise = secrets.token_bytes(PIECE)
    with path.open("wb") as file:
        for number in range(size // PIECE):
            file.write(number.to_bytes(8, "big") + noise[8:])
    return path


def best(runs: int, action: Callable[[], float]) -> float:
    """The highest of several results."""
    return max(action() for _ in range(runs))


def upload(quick: bool) -> Iterator[Row]:
    """A raw body and a form, each stored with fsync; memory of the process that took it."""
    size, runs = (128 * MIB, 1) if quick else (1024 * MIB, 2)
    with vault("sqlite", RABBITMQ_URL=NO_BROKER) as target:
        path = source(target.home, size)
        limit = best(runs, lambda: _store_by_hand(path, target.home / "by-hand"))
        hashing = best(1, lambda: _hash_alone(path))
        with web(target.home, target.environ) as server:
            headers = target.headers(server.url)
            for shape, reach in (("raw", 0.6), ("multipart", None)):
                _send(server.url, headers, path, shape, part=MIB)  # imports and buffers stand
                before = server.forget_peaks()
                rate = 0.0
                for _ in range(runs):
                    rate = max(rate, _send(server.url, headers, path, shape))
                    shutil.rmtree(target.home / "var" / "blobs")  # nobody reads it, and disks are small
                grown = server.growth(before) / MIB
                name = f"upload {size // MIB} MiB, {shape}"
                yield Row(name, rate, "MiB/s", limit, reach, more={"sha256 alone MiB/s": hashing})
                yield Row(f"{name}: memory growth", grown, "MiB", at_most=64)


def tus(quick: bool) -> Iterator[Row]:
    """The same file in one part of tus; the server reads it once more for its digest."""
    size, runs = (128 * MIB, 2) if quick else (1024 * MIB, 2)
    with vault("sqlite", RABBITMQ_URL=NO_BROKER) as target:
        path = source(target.home, size)
        limit = best(runs, lambda: _store_by_hand(path, target.home / "by-hand"))
        with web(target.home, target.environ) as server:
            headers = target.headers(server.url)
            _send_part(server.url, headers, path, MIB)
            before = server.forget_peaks()
            rate = best(runs, lambda: _send_part(server.url, headers, path, size))
            grown = server.growth(before) / MIB
            yield Row(f"tus upload {size // MIB} MiB", rate, "MiB/s", limit, 0.6)
            yield Row(f"tus upload {size // MIB} MiB: memory growth", grown, "MiB", at_most=64)


def _send_part(url: str, headers: dict[str, str], path: Path, size: int) -> float:
    """Begin an upload and send all of it behind 16 bytes that make it new; MiB/s."""
    parts, name = urlsplit(url), base64.b64encode(f"{secrets.token_hex(6)}.bin".encode()).decode()
    line = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=300)
    said = {**headers, "Tus-Resumable": "1.0.0"}
    began = time.perf_counter()
    with contextlib.closing(line), path.open("rb") as file:
        told = {"Upload-Length": str(size + 16), "Upload-Metadata": f"filename {name}", "Content-Length": "0"}
        line.request("POST", "/api/v1/uploads", headers={**said, **told})
        answer = line.getresponse()
        answer.read()
        line.putrequest("PATCH", urlsplit(answer.headers["Location"]).path)
        part = {
            "Upload-Offset": "0",
            "Content-Length": str(size + 16),
            "Content-Type": "application/offset+octet-stream",
        }
        for field, value in {**said, **part}.items():
            line.putheader(field, value)
        line.endheaders(secrets.token_bytes(16))
        line.sock.sendfile(file, 0, size)
        answer = line.getresponse()
        heard = answer.read()
        spent = time.perf_counter() - began
    if answer.status != 204:
        raise RuntimeError(f"the part was answered {answer.status}: {heard[:300]!r}")
    return size / MIB / spent


def _store_by_hand(path: Path, to: Path) -> float:
    """What disk and sha256 allow one thread: read, hash, write, fsync."""
    began, digest = time.perf_counter(), hashlib.sha256()
    with path.open("rb", buffering=0) as file, to.open("wb", buffering=0) as out:
        while piece := file.read(PIECE):
            digest.update(piece)
            out.write(piece)
        os.fsync(out.fileno())
    rate = path.stat().st_size / MIB / (time.perf_counter() - began)
    to.unlink()
    return rate


def _hash_alone(path: Path) -> float:
    began = time.perf_counter()
    with path.open("rb") as file:
        hashlib.file_digest(file, "sha256")
    return path.stat().st_size / MIB / (time.perf_counter() - began)


def _send(url: str, headers: dict[str, str], path: Path, shape: str, part: int | None = None) -> float:
    """Upload the file, or its first `part` bytes, behind 16 bytes that make it new; MiB/s."""
    size, name, salt = part or path.stat().st_size, f"{secrets.token_hex(6)}.bin", secrets.token_bytes(16)
    head, tail, kind, query = salt, b"", "application/octet-stream", f"?name={name}"
    if shape == "multipart":
        disposition = f'Content-Disposition: form-data; name="file"; filename="{name}"'
        head = f"--{BOUNDARY}\r\n{disposition}\r\nContent-Type: application/octet-stream\r\n\r\n".encode() + salt
        tail, kind, query = f"\r\n--{BOUNDARY}--\r\n".encode(), f"multipart/form-data; boundary={BOUNDARY}", ""
    parts = urlsplit(url)
    line = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=300)
    began = time.perf_counter()
    with contextlib.closing(line), path.open("rb") as file:
        line.putrequest("POST", f"/api/v1/files{query}")
        total = {"Content-Length": str(len(head) + size + len(tail)), "Content-Type": kind}
        for field, value in {**headers, **total}.items():
            line.putheader(field, value)
        line.endheaders(head)
        line.sock.sendfile(file, 0, size)
        line.sock.sendall(tail)
        answer = line.getresponse()
        told = answer.read()
        spent = time.perf_counter() - began
    if answer.status != 201:
        raise RuntimeError(f"upload answered {answer.status}: {told[:300]!r}")
    return size / MIB / spent


def download(quick: bool) -> Iterator[Row]:
    """The stored file from the web process, by X-Accel-Redirect, and as a static file of the same nginx."""
    size, runs = (128 * MIB, 2) if quick else (1024 * MIB, 3)
    with vault("sqlite", RABBITMQ_URL=NO_BROKER) as target, ExitStack() as stack:
        path = source(target.home, size)
        server = stack.enter_context(web(target.home, target.environ))
        headers = target.headers(server.url)
        _send(server.url, headers, path, "raw")
        _, _, listed = fetch(f"{server.url}/api/v1/files", headers)
        content = f"/api/v1/files/{listed['items'][0]['id']}/content"
        before = server.forget_peaks()
        direct = best(runs, lambda: _receive(server.url + content, headers, size))
        grown = server.growth(before) / MIB
        limit = None
        if NGINX is not None:
            behind = stack.enter_context(
                web(target.home, {**target.environ, "X_ACCEL_REDIRECT": "/_blobs/"}, name="accel")
            )
            front = stack.enter_context(_nginx(target.home, behind.url))
            accelerated = best(runs, lambda: _receive(front + content, headers, size))
            limit = best(runs, lambda: _receive(f"{front}/static/source", {}, size))
            yield Row(f"download {size // MIB} MiB, X-Accel", accelerated, "MiB/s", limit, 0.8)
        yield Row(f"download {size // MIB} MiB, web process", direct, "MiB/s", limit, 0.8)
        yield from _sealed(target, path, stack, direct, runs)
        yield Row(f"download {size // MIB} MiB: memory growth", grown, "MiB", at_most=64)


def _sealed(target: Vault, path: Path, stack: ExitStack, plain: float, runs: int) -> Iterator[Row]:
    """The same bytes encrypted: up, and down again, against the plain way of the same process."""
    server = stack.enter_context(web(target.home, {**target.environ, "ENCRYPT_FILES": "1"}, name="sealed"))
    headers, size = target.headers(server.url), path.stat().st_size
    yield Row(f"upload {size // MIB} MiB, encrypted", _send(server.url, headers, path, "raw"), "MiB/s")
    _, _, listed = fetch(f"{server.url}/api/v1/files?sort=-updated_at", headers)
    content = f"{server.url}/api/v1/files/{listed['items'][0]['id']}/content"
    rate = best(runs, lambda: _receive(content, headers, size))
    yield Row(f"download {size // MIB} MiB, encrypted", rate, "MiB/s", plain, at_least=400)


@contextlib.contextmanager
def _nginx(home: Path, upstream: str) -> Iterator[str]:
    """The web server in front of the application, and of the source as a static file beside it."""
    port = free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    config = home / "nginx.conf"
    config.write_text(
        CONFIG.format(home=home, user=user, port=port, static=home, blobs=home / "var" / "blobs", upstream=upstream)
    )
    command = [str(NGINX), "-e", str(home / "nginx-error.log"), "-c", str(config), "-g", "daemon off;"]
    with running(command, home, {**os.environ}, port, "nginx") as server:
        yield server.url


def _receive(url: str, headers: dict[str, str], size: int) -> float:
    """GET the whole; MiB/s of the body. Raises RuntimeError when it is not all there."""
    parts = urlsplit(url)
    buffer, got = memoryview(bytearray(4 * MIB)), 0
    began = time.perf_counter()
    with socket.create_connection((str(parts.hostname), parts.port), timeout=300) as line:
        lines = "".join(f"{field}: {value}\r\n" for field, value in headers.items())
        line.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{lines}Connection: close\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += line.recv(65536)
        got = len(head.partition(b"\r\n\r\n")[2])
        while got < size and (count := line.recv_into(buffer)):
            got += count
    spent = time.perf_counter() - began
    if not head.startswith(b"HTTP/1.1 200") or got < size:
        raise RuntimeError(f"{url}: {got} bytes of {size}, {head[:200]!r}")
    return size / MIB / spent
