"""`dramatiq tests.faults.worker`: the worker of the product with the kinds of the tests."""

import tests.faults.kinds  # noqa: F401
from tasks.worker import start_worker

start_worker()
