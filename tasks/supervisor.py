"""Web, relay, worker, streams as children of one process: lines prefixed, stopped in order, none outliving the rest."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from urllib.error import URLError
from urllib.request import urlopen

from tasks.processes import Asked, die_with_parent
from webapp.config import Settings

GRACE = 50.0  # seconds a child has to stop before it is killed
READY_LIMIT = 60.0


class Child:
    """One process with a process group of its own, so that Ctrl-C reaches it through us and in order."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        self.process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True, preexec_fn=die_with_parent,
        )  # fmt: skip
        self._pump = threading.Thread(target=self._copy, name=f"lines of {name}", daemon=True)
        self._pump.start()

    def _copy(self) -> None:
        assert self.process.stdout is not None  # noqa: S101
        prefix = f"{self.name:7} | ".encode()
        for line in self.process.stdout:
            sys.stdout.buffer.write(prefix + line)
            sys.stdout.buffer.flush()

    @property
    def fallen(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    def stop(self) -> None:
        """Ask it to end, wait, then kill what is left of its group."""
        if not self.fallen:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(GRACE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._pump.join(2)


def supervise(settings: Settings, announce: Callable[[], None]) -> int:
    """Run all that the settings ask for until a signal (status 0) or the fall of one (status 1)."""
    asked = Asked(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    children = [Child("web", [sys.executable, "-m", "tasks.web"])]
    try:
        if await_web(settings, children[0], asked):
            announce()
            children += [Child(name, [sys.executable, *words]) for name, words in beside_web(settings)]
        while not asked.wait(0.2) and not any(child.fallen for child in children):
            pass
        fallen = [child for child in children if child.fallen] if not asked else []
        for child in fallen:
            say(f"{child.name} ended by itself ({ending(child.process.returncode)}); stopping the others")
        if asked:
            say("Stopping: requests and jobs that run are finished first")
    finally:
        for child in children:  # web first: nothing new comes in; then what it left is sent and worked off
            child.stop()
    return 1 if fallen else 0


def beside_web(settings: Settings) -> Iterator[tuple[str, list[str]]]:
    """Name and command of each process that the web needs beside it."""
    if settings.rabbitmq_url is not None:
        yield "relay", ["-m", "tasks.relay"]
        yield "worker", ["-m", "dramatiq", "tasks", "--processes", "1", "--threads", str(settings.job_threads),
                         "--worker-shutdown-timeout", "30000", "--skip-logging"]  # fmt: skip
    if settings.redis_url is not None:
        yield "streams", ["-m", "tasks.streams"]


def await_web(settings: Settings, web: Child, asked: Asked) -> bool:
    """Wait until the web answers. False when it fell, when it does not answer, or when we are asked to stop."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104
    deadline = time.monotonic() + READY_LIMIT
    while time.monotonic() < deadline and not web.fallen and not asked.wait(0.05):
        with contextlib.suppress(URLError, OSError), urlopen(f"http://{host}:{settings.port}/health/live", timeout=2):
            return True
    return False


def ending(status: int) -> str:
    """An exit status in words."""
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


def say(text: str) -> None:
    """A line of our own among the children's."""
    print(f"serve   | {text}", flush=True)  # noqa: T201
