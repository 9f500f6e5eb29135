"""Servers under measurement: started on free ports, watched through /proc, stopped by their process id."""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.servers import children_of, connects, free_port, wait_until

ROOT = Path(__file__).resolve().parent.parent
TICK = os.sysconf("SC_CLK_TCK")
STOP_LIMIT = 40.0  # seconds


@dataclass(frozen=True, slots=True)
class Server:
    """A process tree and the address it answers at."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    @property
    def pids(self) -> list[int]:
        """The process and everything below it."""
        found, left = [], [self.process.pid]
        while left:
            pid = left.pop()
            found.append(pid)
            left += children_of(pid)
        return found

    def cpu(self) -> float:
        """CPU seconds that the tree has used, user and system."""
        return sum(_cpu_of(pid) for pid in self.pids)

    def memory(self, field: str = "Rss") -> int:
        """Bytes of the tree: Rss counts shared pages in every process, Pss divides them."""
        return sum(_rollup(pid, field) for pid in self.pids)

    def forget_peaks(self) -> dict[int, int]:
        """Start measuring the highest resident size anew (proc(5), clear_refs); returns the present sizes."""
        for pid in self.pids:
            with contextlib.suppress(OSError):
                Path(f"/proc/{pid}/clear_refs").write_text("5")
        return {pid: _status(pid, "VmRSS") for pid in self.pids}

    def growth(self, before: dict[int, int]) -> int:
        """Bytes by which the process that grew most has grown at its peak."""
        return max((_status(pid, "VmHWM") - size for pid, size in before.items()), default=0)


def _cpu_of(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICK


def _status(pid: int, name: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0


def _rollup(pid: int, name: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0


@contextlib.contextmanager
def running(
    command: list[str], home: Path, environ: dict[str, str], port: int = 0, name: str = "server"
) -> Iterator[Server]:
    """The command as long as the block lasts; with a port, once it accepts connections there."""
    log = home / f"{name}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    server = Server(process, f"http://127.0.0.1:{port}", log)
    try:
        if port:
            wait_until(lambda: process.poll() is not None or connects(port), about=name)
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended:\n{log.read_text(errors='replace')[-3000:]}")
        yield server
    finally:
        stop(server)


def stop(server: Server) -> None:
    """SIGTERM, and SIGKILL for what does not go."""
    pids = server.pids
    if server.process.poll() is None:
        server.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.process.wait(STOP_LIMIT)
    for pid in pids:
        if _is_left(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    server.process.wait(STOP_LIMIT)


def _is_left(pid: int) -> bool:
    """Whether a process of the tree still runs, and is not another one that got its number."""
    with contextlib.suppress(OSError):
        return str(ROOT) == os.readlink(f"/proc/{pid}/cwd")
    return False


def environment(home: Path, **extra: str) -> dict[str, str]:
    """Of a vault in production with its own keys under `home`; nothing of it comes from the surroundings."""
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV") if name in os.environ}
    keys = home / "keys"
    if not keys.exists():
        keys.write_text("\n".join(secrets.token_urlsafe(32) for _ in range(3)))
    secret, jwt, data = keys.read_text().split("\n")
    return {
        **keep,
        "APP_ENV": "production",
        "PUBLIC_URL": "http://127.0.0.1",
        "VAR_DIR": str(home / "var"),
        "SECRET_KEYS": secret,
        "JWT_KEYS": jwt,
        "DATA_KEYS": data,
        "LOG_LEVEL": "info",
        "RATE_LIMIT": "100000000 per minute",
        "STORAGE_URL": f"file://{home / 'var' / 'blobs'}",
        "PYTHONUNBUFFERED": "1",
        **extra,
    }


@contextlib.contextmanager
def web(
    home: Path, environ: dict[str, str], application: str = "wsgi:app", processes: int = 2, name: str = "web"
) -> Iterator[Server]:
    """The web command of the compose file (webapp or a probe) on a free port."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "granian",
        "--interface",
        "wsgi",
        "--workers",
        str(processes),
        "--blocking-threads",
        "4",
        "--no-ws",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--log-level",
        "warning",
        application,
    ]
    with running(command, home, environ, port, name) as server:
        yield server


def flask(environ: dict[str, str], *words: str, feed: str = "") -> str:
    """A `flask` command of the application."""
    command = [sys.executable, "-m", "flask", "--app", "wsgi", *words]
    done = subprocess.run(command, cwd=ROOT, env=environ, input=feed, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"flask {' '.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout


def settle(seconds: float = 1.0) -> None:
    """Let the machine come to rest between two measurements."""
    time.sleep(seconds)
