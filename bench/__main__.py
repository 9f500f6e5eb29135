"""`python -m bench [row…] [--quick]`: a table on standard error, JSON on standard output."""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from bench import access, archives, caches, jobs, reads, starts, streams, transfers
from bench.processes import ROOT
from bench.rows import Row, table

BENCHMARKS: dict[str, Callable[[bool], Iterator[Row]]] = {
    "me": reads.me,
    "list": reads.list_files,
    "page": reads.page,
    "upload": transfers.upload,
    "tus": transfers.tus,
    "download": transfers.download,
    "archive": archives.archive,
    "cache": caches.cache,
    "access": access.access,
    "jobs": jobs.jobs,
    "start": starts.start,
    "streams": streams.streams,
}


def main() -> int:
    """Run the rows named, or all; 1 when one could not be measured. A missed aim is no error: machines differ."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="row", help=f"of {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="less data, shorter runs: to see that it works")
    wish = parser.parse_args()
    if unknown := set(wish.rows) - set(BENCHMARKS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    rows: list[Row] = []
    broken: dict[str, str] = {}
    for name in wish.rows or BENCHMARKS:
        began = time.perf_counter()
        try:
            rows += BENCHMARKS[name](wish.quick)
        except Exception as error:  # noqa: BLE001 - the other rows are worth having
            broken[name] = f"{type(error).__name__}: {error}"
        print(f"{name}: {time.perf_counter() - began:.0f} s {broken.get(name, '')}", file=sys.stderr)
    print(*table(rows), sep="\n", file=sys.stderr)
    print(
        json.dumps(
            {"machine": machine(), "quick": wish.quick, "rows": [row.document() for row in rows], "broken": broken},
            indent=1,
        )
    )
    return 1 if broken else 0


def machine() -> dict[str, object]:
    """What the numbers were measured on."""
    git = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip() if shutil.which("git") else ""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit, "python": platform.python_version(),
        "cores": os.cpu_count(), "load": os.getloadavg()[0], "client": "wrk" if shutil.which("wrk") else "own",
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
