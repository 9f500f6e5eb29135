"""Markdown as harmless HTML, by marking.py in a process of its own with limits: a hostile text costs seconds."""

import subprocess
import sys
import threading
from pathlib import Path

PROGRAM = Path(__file__).with_name("marking.py")
WALL_SECONDS = 6.0
_turns = threading.BoundedSemaphore(2)  # at once in this process: the cores are for everybody
MOST = 4 * 1024**2  # bytes of HTML


def to_html(text: str) -> str | None:
    """HTML that may stand in a page as it is; None where the text is too intricate, to be shown as it is written."""
    if not _turns.acquire(timeout=WALL_SECONDS / 3):
        return None
    try:
        done = subprocess.run(  # noqa: S603 (our own program; the text is on standard input)
            [sys.executable, "-I", str(PROGRAM)], input=text.encode(), stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, cwd="/", env={"LC_ALL": "C.UTF-8"}, timeout=WALL_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None
    finally:
        _turns.release()
    return done.stdout.decode() if done.returncode == 0 and len(done.stdout) <= MOST else None
