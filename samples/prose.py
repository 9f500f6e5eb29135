"""Words and figures of a harbour survey, the same for the same seed."""

import csv
import io
import json
import math
from datetime import UTC, datetime, timedelta
from random import Random

WHAT = ("The north pier", "The survey", "Gauge 4", "The harbour board", "Crane 2", "The field team", "The echo sounder",
        "The quay wall", "Berth 7", "The dredger", "The lease of the east shed", "The tide table")  # fmt: skip
DOES = ("was inspected", "needs new fenders", "was measured twice", "is closed until Monday", "agrees with the model",
        "was calibrated", "shows a settlement of four millimetres", "goes to tender", "was handed over",
        "has to be dredged before winter", "keeps its schedule", "was photographed from the water")  # fmt: skip
WHEN = ("at spring tide", "before the storm season", "after the second sounding", "in calm weather", "with both boats",
        "under the new contract", "at 06:40", "as the board had asked", "within tolerance", "once more")  # fmt: skip
GAUGES = ("Nordmole", "Čiovo", "Old lock", "St. Øyvind", "Ferry slip", "Basin 3")


def sentence(seed: int) -> str:
    """One statement, without a full stop."""
    random = Random(seed)
    return f"{random.choice(WHAT)} {random.choice(DOES)} {random.choice(WHEN)}"


def paragraph(seed: int, sentences: int = 6) -> str:
    """Some statements."""
    return " ".join(f"{sentence(seed * 101 + number)}." for number in range(sentences))


def tide_rows(seed: int, rows: int) -> list[list[str]]:
    """Gauge, high water, low water, in metres."""
    random = Random(seed)
    return [
        [random.choice(GAUGES), f"{random.uniform(1, 2.4):.2f}", f"{random.uniform(-1.8, 0.2):.2f}"]
        for _ in range(rows)
    ]


def sensor_csv(seed: int, rows: int) -> bytes:
    """Levels every ten seconds."""
    random, out = Random(seed), io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["time", "gauge", "level_m", "temperature_c", "battery_v"])
    start = datetime(2026, seed % 12 + 1, 1, tzinfo=UTC)
    for row in range(rows):
        level = math.sin(row / 2700) * 1.6 + random.gauss(0, 0.03)
        moment = (start + timedelta(seconds=row * 10)).isoformat()
        writer.writerow(
            [moment, GAUGES[row % 6], f"{level:.3f}", f"{random.gauss(9, 1):.1f}", f"{12.8 - row / 1e6:.2f}"]
        )
    return out.getvalue().encode()


def points_geojson(seed: int, points: int = 300) -> bytes:
    """Soundings as points (RFC 7946)."""
    random = Random(seed)
    features = [
        {"type": "Feature", "properties": {"depth_m": round(random.uniform(2, 18), 2)},
         "geometry": {"type": "Point", "coordinates": [16 + random.random() / 20, 43.5 + random.random() / 20]}}
        for _ in range(points)
    ]  # fmt: skip
    return json.dumps({"type": "FeatureCollection", "features": features}, indent=1).encode()


def track_gpx(seed: int, points: int = 400) -> bytes:
    """Where the boat went."""
    random, rows = Random(seed), []
    at = [43.5, 16.2]
    for _ in range(points):
        at = [at[0] + random.uniform(-1, 1) / 9000, at[1] + random.uniform(0, 1) / 9000]
        rows.append(f'<trkpt lat="{at[0]:.6f}" lon="{at[1]:.6f}"/>')
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<gpx version="1.1" creator="Surveyor" xmlns="http://www.topografix.com/GPX/1/1">'
    return f"{head}\n<trk><trkseg>\n{chr(10).join(rows)}\n</trkseg></trk></gpx>\n".encode()


def notes_md(title: str, seed: int) -> bytes:
    """Notes as Markdown."""
    points = "\n".join(f"- [{'x' if number % 3 else ' '}] {sentence(seed + number)}" for number in range(9))
    table = "\n".join(f"| {' | '.join(row)} |" for row in tide_rows(seed, 6))
    head = "| Gauge | High | Low |\n|---|---|---|"
    return f"# {title}\n\n{paragraph(seed)}\n\n## To do\n\n{points}\n\n## Levels\n\n{head}\n{table}\n".encode()


def log_text(seed: int, lines: int) -> bytes:
    """A logger's log."""
    start = datetime(2026, 3, seed % 28 + 1, tzinfo=UTC)
    rows = (
        f"{(start + timedelta(seconds=37 * n)).isoformat()} INFO gauge={n % 6} {sentence(seed + n)}"
        for n in range(lines)
    )
    return "\n".join(rows).encode() + b"\n"


def calendar_ics(seed: int) -> bytes:
    """Tides as appointments (RFC 5545)."""
    events = "".join(
        f"BEGIN:VEVENT\r\nUID:{seed}-{day}@harbour.example\r\nDTSTAMP:20260101T000000Z\r\n"
        f"DTSTART:202606{day:02d}T0{day % 9}0000Z\r\nSUMMARY:High water\r\nEND:VEVENT\r\n"
        for day in range(1, 29)
    )
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Harbour survey//EN\r\n{events}END:VCALENDAR\r\n".encode()


def plan_svg(seed: int) -> bytes:
    """Berths from above."""
    random = Random(seed)
    boxes = [(random.randint(10, 700), random.randint(10, 400), random.randint(30, 90)) for _ in range(24)]
    berths = "".join(f'<rect x="{x}" y="{y}" width="{wide}" height="20" fill="#0d7a70"/>' for x, y, wide in boxes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 450"><title>Berths</title>{berths}</svg>\n'.encode()
    )


CALIBRATE = b'''"""Fit a gauge's offset from paired readings."""

import csv
import statistics
import sys


def offset(path: str) -> float:
    """Mean difference of reading and reference, in metres."""
    with open(path, newline="") as file:
        return statistics.fmean(float(row["reading"]) - float(row["reference"]) for row in csv.DictReader(file))


if __name__ == "__main__":
    print(f"{offset(sys.argv[1]):+.3f} m")
'''
