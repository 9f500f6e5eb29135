"""Processes that belong together: a child ends with its parent, one process at a time owns a directory."""

import ctypes
import fcntl
import os
import select
import signal
import sys
from pathlib import Path

HEADER_LIMIT = 15_000  # milliseconds in which a client of any server has to send its headers
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)  # loaded here: between fork and exec nothing may be


def die_with_parent(how: signal.Signals = signal.SIGTERM) -> None:
    """Ask the kernel (prctl(2)) to send this signal when the parent ends, however it ends. Linux only."""
    if sys.platform == "linux":
        _libc.prctl(PR_SET_PDEATHSIG, int(how))


class Asked:
    """Whether a signal has asked the process to stop. An Event would not do: its wait() holds a lock for some moments,
    and a handler that interrupts them would wait for that lock for ever.
    """

    def __init__(self, *signals: signal.Signals) -> None:
        self._asked = False
        self._reader, self._writer = os.pipe()
        for number in signals:
            signal.signal(number, self._ask)

    def __bool__(self) -> bool:
        return self._asked

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until it is asked; whether it was."""
        select.select([self._reader], [], [], seconds)
        return self._asked

    def _ask(self, *_: object) -> None:
        self._asked = True
        os.write(self._writer, b"x")


def let_children_end() -> None:
    """From now on a forked child ends at SIGTERM until it has a handler of its own.

    A child of granian's would go on with its master's, which only sets a flag of the master: a stop while the child
    starts was lost, it served on, and was killed with its requests when the master's patience was over.
    """
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))


class SoleOwner:
    """Whether this process alone runs the jobs of a directory. The lock goes with the process, even by SIGKILL."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._file = os.open(directory / "runtime.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.alone = True
        except BlockingIOError:
            self.alone = False

    def release(self) -> None:
        """Let the next process be the owner."""
        os.close(self._file)
