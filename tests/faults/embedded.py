"""`python -m tests.faults.embedded`: the embedded runtime without a web server, until SIGTERM."""

import signal
import sys
import threading

import tests.faults.kinds  # noqa: F401
from tasks.application import make_app
from tasks.embedded import start

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # the runtime stops at exit
    start(make_app())
    print("ready", flush=True)
    threading.Event().wait()
