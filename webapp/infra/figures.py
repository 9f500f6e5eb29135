"""What is measured: the registry of every figure, and its sums over the processes that share PROMETHEUS_MULTIPROC_DIR.

The variable is set before the start (tasks.serve, the compose file); without it a process tells of itself alone.
"""

import os
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

registry = CollectorRegistry()
Labels = tuple[str, ...]  # their values, in the order of their names


def summed() -> bool:
    """Whether figures are of all processes together."""
    return bool(os.environ.get("PROMETHEUS_MULTIPROC_DIR"))


def together() -> CollectorRegistry:
    """The registry to read from; processes that died hold no connections and no entries any more."""
    if not summed():
        return registry
    _bury(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
    shared = CollectorRegistry()
    MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
    return shared


def read_figures() -> dict[str, dict[Labels, float]]:
    """The present value of every sample: by name, then by the values of its labels."""
    found: dict[str, dict[Labels, float]] = defaultdict(dict)
    for family in together().collect():
        for sample in family.samples:
            found[sample.name][tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


def _bury(folder: Path) -> None:
    for path in folder.glob("gauge_live*_*.db"):
        pid = path.stem.rpartition("_")[2]
        with suppress(ValueError, PermissionError):  # not ours to ask: it lives
            try:
                os.kill(int(pid), 0)
            except ProcessLookupError:
                with suppress(FileNotFoundError):  # somebody else was quicker
                    mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
