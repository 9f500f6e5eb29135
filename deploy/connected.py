"""Health of a worker or a relay: whether this container holds a connection to a port, such as the broker's 5672.

Both end with their process when they fail, and Docker starts them anew; what is left to see is whether they are
connected. Reads the kernel's table (proc(5)), so it costs no connection of its own.
"""

import sys
from pathlib import Path

ESTABLISHED = "01"


def connected(port: int) -> bool:
    """Whether any process of this network namespace has an established connection to that remote port."""
    wanted = f":{port:04X}"
    tables = [path for path in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")) if path.exists()]
    rows = (line.split() for table in tables for line in table.read_text().splitlines()[1:])
    return any(row[2].endswith(wanted) and row[3] == ESTABLISHED for row in rows)


if __name__ == "__main__":
    sys.exit(0 if connected(int(sys.argv[1])) else 1)
