"""Processes that belong together: a child ends with its parent, one process at a time owns a directory."""

import ctypes
import fcntl
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)  # loaded here: between fork and exec nothing may be


def die_with_parent(how: signal.Signals = signal.SIGTERM) -> None:
    """Ask the kernel (prctl(2)) to send this signal when the parent ends, however it ends. Linux only."""
    if sys.platform == "linux":
        _libc.prctl(PR_SET_PDEATHSIG, int(how))


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
