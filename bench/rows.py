"""What a measurement says: a value, the limit measured beside it, their ratio, and what we reach for."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result. `reach` is the least ratio, `at_least` and `at_most` bound the value that is aimed at."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    reach: float | None = None
    at_most: float | None = None
    at_least: float | None = None
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Value against the limit of the same run."""
        return None if not self.limit else self.value / self.limit

    @property
    def reached(self) -> bool | None:
        """None when nothing is aimed at."""
        checks = []
        if self.reach is not None and self.ratio is not None:
            checks.append(self.ratio >= self.reach)
        if self.at_most is not None:
            checks.append(self.value <= self.at_most)
        if self.at_least is not None:
            checks.append(self.value >= self.at_least)
        return all(checks) if checks else None

    @property
    def aim(self) -> str:
        """In words."""
        if self.reach is not None:
            return f"≥ {self.reach:g} ×"
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        return "" if self.at_most is None else f"≤ {self.at_most:g}"

    def document(self) -> dict[str, Any]:
        """For JSON."""
        rounded = {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(self).items()}
        ratio = self.ratio
        return {**rounded, "ratio": None if ratio is None else round(ratio, 3), "reached": self.reached}


def table(rows: list[Row]) -> Iterator[str]:
    """Lines for people."""
    yield f"{'':44} {'value':>12} {'limit':>12} {'ratio':>6}  {'aim':<12}"
    for row in rows:
        limit = "" if row.limit is None else f"{row.limit:,.1f}"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        mark = {True: "reached", False: "MISSED", None: ""}[row.reached]
        more = "  ".join(
            f"{key} {value:,.1f}" if isinstance(value, float) else f"{key} {value}" for key, value in row.more.items()
        )
        yield f"{row.name:44} {row.value:>12,.1f} {limit:>12} {ratio:>6}  {row.aim:<8} {mark:<8} {row.unit}  {more}"
