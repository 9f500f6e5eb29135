"""Processes of the product, started and ended by tests."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

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


WORKER = ("-m", "dramatiq", "tests.faults.worker", "--processes", "1", "--threads", "4", "--skip-logging")
RELAY = ("-m", "tasks.relay")
EMBEDDED = ("-m", "tests.faults.embedded")
SERVE = ("-m", "tasks.serve")
