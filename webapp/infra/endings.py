"""Hearing that the process is asked to stop, beside the server's own handlers, and that it ends."""

import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.util import Finalize


def at_stop(action: Callable[[], None]) -> None:
    """Call this on a thread when a signal reaches the process for which somebody has a handler, such as SIGTERM.

    Only from the main thread, where there is one to set (signal.set_wakeup_fd); elsewhere nothing happens.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def wait() -> None:
        while os.read(reader, 1)[:1] not in {bytes([signal.SIGTERM]), bytes([signal.SIGINT])}:
            pass
        action()

    threading.Thread(target=wait, name="stop", daemon=True).start()


def at_end(action: Callable[[], None], priority: int = 0) -> None:
    """Call this, once, when the process ends by itself; what has the higher priority comes first."""
    # Children of multiprocessing, such as granian's, run no atexit; everybody runs what multiprocessing knows.
    Finalize(None, action, exitpriority=priority)
