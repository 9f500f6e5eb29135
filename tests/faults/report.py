"""The closing table of a chaos run: what was done, what broke for how long, how slow it got. Nothing here is judged."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from tests.faults.ledger import Call, Ledger
from tests.faults.monkey import Outage

RANGES = ((200, 300), (300, 500), (500, 600), (0, 1))  # of the status, as the head of the table names them


def table(ledger: Ledger, outages: Sequence[Outage], drained: float, found: Mapping[str, Sequence[str]]) -> str:
    """As lines."""
    lines = ["", f"{'done':34} {'2xx':>6} {'refused':>8} {'5xx':>5} {'unknown':>8} {'max s':>7}"]
    by_deed: dict[str, list[Call]] = defaultdict(list)
    for call in ledger.calls:
        by_deed[call.what].append(call)
    for what, calls in sorted(by_deed.items()):
        kinds = [
            sum(low <= call.status < high for call in calls)
            for low, high in ((200, 300), (300, 500), (500, 600), (0, 1))
        ]
        slowest = max(call.ended - call.begun for call in calls)
        lines.append(f"{what:34} {kinds[0]:6} {kinds[1]:8} {kinds[2]:5} {kinds[3]:8} {slowest:7.2f}")
    lines += ["", f"{'broken':34} {'times':>6} {'seconds':>8} {'longest':>8}"]
    by_part: dict[str, list[float]] = defaultdict(list)
    for outage in outages:
        by_part[f"{outage.part}: {outage.how}"].append(outage.ended - outage.began)
    for part, lasted in sorted(by_part.items()):
        lines.append(f"{part:34} {len(lasted):6} {sum(lasted):8.1f} {max(lasted):8.1f}")
    lines += ["", f"The backlog was worked off {drained:.1f} s after the last fault.", ""]
    for name, faults in found.items():
        lines.append(f"{name:50} {len(faults):5}")
        lines += [f"    {fault}" for fault in faults[:10]]
    return "\n".join(lines)
