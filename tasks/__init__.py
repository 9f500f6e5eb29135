"""The jobs' side: broker, actors by noun, relay, and what starts them. `dramatiq tasks` is the worker.

Only the worker command needs the application at import; `python -m tasks.serve` and the relay load it when they know
that they can start.
"""

import sys

if "dramatiq.cli" in sys.modules:  # the command imports this package, then asks dramatiq for the broker
    from tasks.worker import start_worker

    start_worker()
