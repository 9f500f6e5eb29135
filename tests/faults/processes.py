"""Processes of the product, started and ended by tests."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from tests.servers import descendants_of, wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
QUICK = {"JOB_HEARTBEAT": "0.5", "JOB_ORPHAN_AFTER": "3", "dramatiq_restart_delay": "300", "LOG_LEVEL": "info"}
KEPT = ("PATH", "HOME", "LANG", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG", "COVERAGE_RUN")


class Program:
    """One process of ours with exactly the environment of its test; its output goes to a file."""

    def __init__(self, command: Sequence[str], log: Path, **environment: str) -> None:
        self.log = log
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, *command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env={**kept, **QUICK, "APP_ENV": "test", "RATE_LIMIT": "1000000 per minute", **environment},
            )  # fmt: skip

    @property
    def text(self) -> str:
        """What it has said so far."""
        return self.log.read_text(errors="replace")

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def wait_for(self, words: str, limit: float = 60) -> Self:
        """Until it says this. Raises AssertionError with all it said."""
        deadline = time.monotonic() + limit
        while words not in self.text:
            assert not self.ended, self.text
            assert time.monotonic() < deadline, self.text
            time.sleep(0.05)
        return self

    def stop(self, how: signal.Signals = signal.SIGTERM, limit: float = 60) -> int:
        """Signal it, wait, return its status."""
        if not self.ended:
            self.process.send_signal(how)
        return self.process.wait(limit)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.ended:
            self.process.kill()
        self.process.wait(60)


class Service:
    """A program that is broken and started again, with the words of a PrivateServer: start, stop, kill, pause, resume.

    Everything below it is meant as well: what dies, dies at once and as a whole.
    """

    def __init__(
        self, command: Sequence[str], log: Path, answers: Callable[["Service"], bool], **environment: str
    ) -> None:
        self.command, self.log, self.answers, self.environment = command, log, answers, environment
        self.program: Program | None = None
        self._said_before = 0

    def start(self) -> Self:
        """Start it (again) and wait until it answers."""
        self.launch()
        wait_until(self.stands, 90, about=f"{self.command} to answer")
        return self

    def launch(self) -> None:
        """Start it (again) and do not wait."""
        self._said_before = self.log.stat().st_size if self.log.exists() else 0
        self.program = Program(self.command, self.log, **self.environment)

    def stands(self) -> bool:
        """Whether it answers. Raises RuntimeError with its last words when it has ended."""
        if self.ended:
            raise RuntimeError(self.said[-3000:])
        return self.answers(self)

    @property
    def said(self) -> str:
        """What it has said since its last start."""
        return self.log.read_bytes()[self._said_before :].decode(errors="replace")

    @property
    def ended(self) -> bool:
        return self.program is None or self.program.ended

    def stop(self) -> None:
        """An orderly end. Raises subprocess.TimeoutExpired when it does not come."""
        assert self.program is not None
        self.resume()
        self.program.stop()

    def kill(self) -> None:
        """SIGKILL for all of it."""
        self._signal(signal.SIGKILL)
        if self.program is not None:
            self.program.process.wait(30)

    def pause(self) -> None:
        """SIGSTOP for all of it."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT for all of it."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self.program is None or self.program.ended:
            return
        top = self.program.process.pid
        for pid in [*descendants_of(top), top] if number == signal.SIGKILL else [top, *descendants_of(top)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


WORKER = ("-m", "dramatiq", "tests.faults.worker", "--processes", "1", "--threads", "4", "--skip-logging")
RELAY = ("-m", "tasks.relay")
EMBEDDED = ("-m", "tests.faults.embedded")
SERVE = ("-m", "tasks.serve")
