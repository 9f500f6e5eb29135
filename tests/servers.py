"""Private PostgreSQL, RabbitMQ and Redis on free ports of 127.0.0.1, for tests that kill what they talk to.

Each is a context manager with .url, .start(), .stop(), .kill(), .pause() and .resume(); data outlives a restart.
"""

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, Self

import pytest

START_LIMIT = 60.0  # seconds; a hang limit, not a measure


def free_port() -> int:
    """A port nobody listens on now, and that the kernel gives to no outgoing connection (ip_local_port_range begins at
    32768): a server that is killed and started again finds it free.
    """
    while True:
        port = random.SystemRandom().randrange(16000, 32768)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_until(question: Callable[[], object], limit: float = START_LIMIT, *, about: str = "") -> None:
    """Ask until the answer is true. Raises TimeoutError after `limit` seconds."""
    deadline = time.monotonic() + limit
    while not question():
        if time.monotonic() > deadline:
            raise TimeoutError(about or getattr(question, "__name__", "condition"))
        time.sleep(0.05)


def absent(reason: str) -> NoReturn:
    """Skip the test by name for what is not here; fail instead under REQUIRE_SERVICES=1."""
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def _newest(pattern: str) -> str | None:
    return max((str(path) for path in Path("/").glob(pattern.lstrip("/"))), default=None)


class PrivateServer:
    """One server process (group) with its own directory; subclasses say how it starts and how it answers.

    Making one where its programs are not installed skips the test: see absent.
    """

    user: str | None = None  # who runs it, where the tests are root and the server refuses root

    def __init__(self) -> None:
        if not self.available():
            absent(f"{type(self).__name__} is not installed")
        self.port = free_port()
        self.home = Path(tempfile.mkdtemp(prefix="holdfast-test-", dir="/tmp"))
        self.process: subprocess.Popen[bytes] | None = None
        if self._switches_user:
            os.chown(self.home, pwd.getpwnam(str(self.user)).pw_uid, -1)

    @classmethod
    def available(cls) -> bool:
        """Whether this machine has the programs."""
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {}

    def prepare(self) -> None:
        """Make the data directory, once."""

    def answers(self) -> bool:
        raise NotImplementedError

    @property
    def _switches_user(self) -> bool:
        return self.user is not None and os.geteuid() == 0

    def run_as_owner(self, *command: str) -> list[str]:
        """The command as the server's user; it dies with the tests, even when they are killed."""
        switch = ["--reuid", str(self.user), "--regid", str(self.user), "--clear-groups"] if self._switches_user else []
        return ["setpriv", *switch, "--pdeathsig", "KILL", *command]

    def start(self) -> Self:
        """Start (again, with the same data and port) and wait until it answers."""
        self.launch()
        try:
            wait_until(self.stands, about=f"{type(self).__name__} to answer")
        except BaseException:
            self.kill()
            raise
        return self

    def launch(self) -> None:
        """Start and do not wait."""
        assert self.process is None or self.process.poll() is not None, "still runs"
        if not (self.home / "prepared").exists():
            self.prepare()
            (self.home / "prepared").touch()
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.run_as_owner(*self.command()), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, cwd=self.home, env={**os.environ, "HOME": str(self.home), **self.environment()},
            )  # fmt: skip

    def stands(self) -> bool:
        """Whether it answers. Raises RuntimeError with its last words when it has ended."""
        assert self.process is not None
        if self.process.poll() is not None:
            story = (self.home / "log").read_text(errors="replace")[-3000:]
            raise RuntimeError(f"{type(self).__name__} ended:\n{story}")
        return self.answers()

    @property
    def ended(self) -> bool:
        """Whether it does not run."""
        return self.process is None or self.process.poll() is not None

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """An orderly end; waits for it."""
        if self.process and self.process.poll() is None:
            self.resume()
            self.process.send_signal(how)
            try:
                self.process.wait(START_LIMIT)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """SIGKILL for the whole group: what a power cut or the OOM killer does."""
        self._signal(signal.SIGKILL)
        if self.process:
            self.process.wait(START_LIMIT)

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        try:
            self.kill()
        finally:
            shutil.rmtree(self.home, ignore_errors=True)


def connects(port: int) -> bool:
    """Whether something accepts connections there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class PrivatePostgres(PrivateServer):
    """A PostgreSQL cluster; `stop(signal.SIGQUIT)` is `pg_ctl stop -m immediate`. fsync is on: crashes are tested."""

    user = "postgres"

    @classmethod
    def binary(cls, name: str) -> str | None:
        return _newest(f"/usr/lib/postgresql/*/bin/{name}") or shutil.which(name)

    @classmethod
    def available(cls) -> bool:
        return bool(cls.binary("initdb") and cls.binary("postgres"))

    @property
    def url(self) -> str:
        return self.database("postgres")

    def database(self, name: str) -> str:
        """The URL of one database of the cluster."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def prepare(self) -> None:
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale", "C.UTF-8", "--no-sync"]
        command = self.run_as_owner(str(self.binary("initdb")), "-D", str(self.home / "data"), *options)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.home, timeout=START_LIMIT)

    def command(self) -> list[str]:
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.home,
                    "shared_buffers": "32MB", "max_connections": 200}  # fmt: skip
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self.binary("postgres")), "-D", str(self.home / "data"), *flags]

    def answers(self) -> bool:
        import psycopg2

        try:
            psycopg2.connect(self.url, connect_timeout=2).close()
        except psycopg2.OperationalError:
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """A fast shutdown by default: SIGTERM would wait for every client to leave."""
        super().stop(how)

    def _signal(self, number: signal.Signals) -> None:
        """Backends lead groups of their own, so they are found through /proc."""
        if self.process is None:
            return
        for pid in [self.process.pid, *children_of(self.process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def children_of(pid: int) -> list[int]:
    """Direct children of a process, from /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = entry.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found.append(int(entry.parent.name))
    return found


def descendants_of(pid: int) -> list[int]:
    """All processes below one, parents first."""
    children = children_of(pid)
    return children + [below for child in children for below in descendants_of(child)]


class PrivateRedis(PrivateServer):
    """A Redis without persistence: after a restart it is empty."""

    @classmethod
    def available(cls) -> bool:
        return shutil.which("redis-server") is not None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        return ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.home)]

    def answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as line:
            line.sendall(b"PING\r\n")
            return line.recv(16).startswith(b"+PONG")
        return False


class PrivateRabbit(PrivateServer):
    """A RabbitMQ node with an epmd of its own. A cold start takes some seconds: share one among a module's tests."""

    user = "rabbitmq"
    scripts = Path("/usr/lib/rabbitmq/bin")

    def __init__(self) -> None:
        super().__init__()
        self.epmd_port, self.dist_port = free_port(), free_port()
        self.epmd: subprocess.Popen[bytes] | None = None

    @classmethod
    def available(cls) -> bool:
        return (cls.scripts / "rabbitmq-server").exists() and shutil.which("epmd") is not None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"

    def environment(self) -> dict[str, str]:
        home = self.home
        return {
            "RABBITMQ_NODENAME": f"holdfast-{self.port}@localhost", "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port), "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"), "RABBITMQ_LOG_BASE": str(home / "logs"), "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(home / "pid"), "RABBITMQ_CONFIG_FILE": str(home / "none"),
            "RABBITMQ_CONF_ENV_FILE": str(home / "none"), "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
            "RABBITMQ_ALLOW_INPUT": "1",  # lets the script become the node, so that signals reach it
            "RABBITMQ_SERVER_START_ARGS": "-noinput", "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
            "ERL_EPMD_PORT": str(self.epmd_port), "ERL_EPMD_ADDRESS": "127.0.0.1", "LC_ALL": "C.UTF-8",
        }  # fmt: skip

    def command(self) -> list[str]:
        return [str(self.scripts / "rabbitmq-server")]

    def launch(self) -> None:
        if self.epmd is None:
            epmd = ["epmd", "-port", str(self.epmd_port), "-address", "127.0.0.1"]
            self.epmd = subprocess.Popen(self.run_as_owner(*epmd), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        super().launch()

    def answers(self) -> bool:
        import pika
        import pika.exceptions

        if not connects(self.port):
            return False
        try:
            pika.BlockingConnection(pika.URLParameters(f"{self.url}?socket_timeout=2")).close()
        except (pika.exceptions.AMQPError, OSError):
            return False
        return True

    def control(self, *words: str) -> str:
        """`rabbitmqctl …` on this node, such as ("set_vm_memory_high_watermark", "0.000001") for a memory alarm."""
        node = self.environment()["RABBITMQ_NODENAME"]
        command = self.run_as_owner(str(self.scripts / "rabbitmqctl"), "--node", node)
        env = {**os.environ, "HOME": str(self.home), **self.environment()}
        done = subprocess.run([*command, *words], check=True, capture_output=True, text=True, env=env, cwd=self.home)
        return done.stdout

    def __exit__(self, *_: object) -> None:
        try:
            super().__exit__()
        finally:
            if self.epmd:
                self.epmd.kill()
                self.epmd.wait(10)
