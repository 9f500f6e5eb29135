"""Running a program of ours on one hostile file: in a process of its own, without environment, for so many seconds.

What it may take of the machine it limits itself, before it looks at the file (drawing.py, reading.py).
"""

import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import BinaryIO

# How the limits show: CPU time by its signal, and pdfium aborts where it gets no memory.
ENDS: dict[int, str] = {signal.SIGXCPU: "slow", signal.SIGABRT: "memory", signal.SIGTRAP: "memory"}


def run_confined(
    program: Path, arguments: tuple[str, ...], source: BinaryIO, most: int, seconds: float
) -> tuple[bytes, str]:
    """What the program says of the file on its standard input, `most` bytes of it, and a word for how it ended.

    Raises TimeoutError after `seconds`: it spent little CPU time, or its own limit had ended it, so the machine is at
    fault and not the file.
    """
    with subprocess.Popen(  # noqa: S603 (our own program; the file is on standard input)
        [sys.executable, "-I", str(program), *arguments], stdin=source, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, cwd="/", env={"LC_ALL": "C.UTF-8"},
    ) as process:  # fmt: skip
        late = threading.Event()
        timer = threading.Timer(seconds, _stop, (process, late))
        timer.start()
        try:
            assert process.stdout is not None  # noqa: S101
            output = process.stdout.read(most)
        finally:
            timer.cancel()
            process.kill()
    if late.is_set():
        raise TimeoutError
    return output, ENDS.get(-process.returncode, "crash")


def _stop(process: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    process.kill()
