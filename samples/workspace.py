"""The demo workspace: a harbour survey's people and what each of them keeps in the vault."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from PIL.Image import Image

from samples import Person, Sample, bundles, documents, found, pictures, prose

PEOPLE = (
    Person("ana", "Ana Kovač", "admin"),
    Person("jonas", "Jonas Weber", "manager"),
    Person("mira", "Mira Sato"),
    Person("field", "Field team"),
)
FOUND_FILES = 240
IMPORTED_FILES, IMPORTED_BYTES = 500, 500 * 1024**2
MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october")
PLACES = ("North pier", "Ferry slip", "Old lock", "Berth 7", "Quay wall", "Crane 2", "Basin 3", "East shed")
Writer = Callable[[], bytes]


def workspace(source: Path | None = None) -> list[Sample]:
    """All files of the demo; `source` is a folder that gives the found ones. Raises found.PrivateFolder.

    Nothing is written yet: each version is made when its writer is called.
    """
    real = list(_imported(found.refuse_private(source))) if source else list(_library())
    return [*_projects(), *_photographs(), *_sensors(), *_reports(), *_field_notes(), *real]


def _one(owner: str, folder: str, name: str, *versions: Writer, trashed: bool = False) -> Sample:
    return Sample(owner, tuple(folder.split("/")) if folder else (), name, versions, trashed)


def _projects() -> Iterator[Sample]:
    at = partial(_one, "ana", "Projects/2026")
    report = [partial(documents.report_pdf, "Quarterly report 2026-Q3", 60 + draft, 3 + draft) for draft in range(4)]
    yield at("Harbour at dusk.jpg", *(partial(pictures.jpeg, seed, (2600, 1733), sky=0) for seed in (4, 8)))
    yield at("North pier, survey 3.png", *(partial(_survey, seed) for seed in (1, 5)))
    yield at("Quarterly report 2026-Q3.pdf", *report)
    yield at("Tide tables 1994–2026.xlsx", partial(documents.tide_xlsx, 7, range(1994, 2027)))
    yield at(
        "Minutes of the harbour board.docx", *(partial(documents.minutes_docx, "Harbour board", n) for n in (2, 3))
    )
    yield at("Sensor export october.zip", _sensor_export)
    yield at("calibrate.py", lambda: prose.CALIBRATE)
    yield at("Survey method.pptx", partial(documents.slides_pptx, "Survey method", 11))
    yield at("Gauge comparison.png", partial(_chart, 12))
    yield at("Berth plan.svg", partial(prose.plan_svg, 3))
    yield at("Soundings october.geojson", partial(prose.points_geojson, 9, 3000))
    yield at("Board logo.png", lambda: pictures.encoded(pictures.logo(), "PNG"))
    yield at("报告 – draft for Ningbo.md", partial(prose.notes_md, "报告", 5))
    yield at("Offer, old.docx", partial(documents.minutes_docx, "Offer", 8), trashed=True)
    yield at("Harbour at dusk (1).jpg", partial(pictures.jpeg, 12, (1200, 800)), trashed=True)
    for number, place in enumerate(PLACES):
        yield _one(
            "ana", "Projects/2025", f"{place}, plan.pdf", partial(documents.drawing_pdf, f"{place}, plan", number)
        )
    for number, party in enumerate(("Ferry company", "Dredging Ltd", "Port authority", "Crane service")):
        name = f"Agreement with the {party}"
        yield _one("ana", "Contracts", f"{name}.pdf", partial(documents.report_pdf, name, 200 + number, 2))
        yield _one("ana", "Contracts/Drafts", f"{name}.odt", partial(documents.letter_odt, name, number))
    yield _one("ana", "Contracts", "Lease (locked).pdf", partial(documents.report_pdf, "Lease", 300, 2, "harbour"))
    yield _one("ana", "", "Read me first.md", partial(prose.notes_md, "How this vault is kept", 1))


def _photographs() -> Iterator[Sample]:
    for number in range(24):
        place = PLACES[number % 4]
        turned = {5: 6, 11: 8, 17: 3}.get(number, 1)
        write = partial(pictures.jpeg, 20 + number, orientation=turned)
        yield _one("mira", f"Photographs/{place}", f"{place} {number + 1:02d}.jpg", write, trashed=number == 23)
    for number in range(4):
        wide = partial(_encoded, pictures.photograph, 70 + number, (1600, 500), kind="WEBP", quality=88)
        yield _one("mira", "Photographs/Panoramas", f"Panorama {number + 1}.webp", wide)
    yield _one(
        "mira",
        "Photographs/Scans",
        "Chart of 1911.tif",
        partial(_encoded, pictures.photograph, 80, (1400, 1000), kind="TIFF"),
    )
    yield _one(
        "mira", "Photographs/Scans", "Stamp.bmp", partial(_encoded, pictures.photograph, 81, (300, 200), kind="BMP")
    )
    yield _one("mira", "Photographs", "Rising water.gif", partial(pictures.tide_animation, 3))


def _sensors() -> Iterator[Sample]:
    for number, month in enumerate(MONTHS):
        yield _one("jonas", "Sensors/2026", f"levels {month}.csv", partial(prose.sensor_csv, number, 18_000))
        yield _one("jonas", "Sensors/Logs", f"logger {month}.log", partial(prose.log_text, number, 2500))
    for number, place in enumerate(PLACES[:4]):
        yield _one(
            "jonas", "Sensors/Soundings", f"{place}.tif", partial(_encoded, pictures.depth_map, number, kind="TIFF")
        )
    for number, place in enumerate(PLACES):
        yield _one("jonas", "Charts", f"{place}.png", partial(_chart, 30 + number))
    yield _one("jonas", "Sensors", "readings.sqlite", lambda: bundles.tide_database(prose.tide_rows(4, 4000)))
    yield _one("jonas", "Sensors", "Levels 2026.ods", partial(documents.levels_ods, 5))
    yield _one(
        "jonas",
        "Sensors",
        "Raw november.tar.gz",
        lambda: bundles.tar_gz_of({"november.csv": prose.sensor_csv(11, 9000)}),
    )
    yield _one(
        "jonas", "Sensors", "gauges.yaml", lambda: "\n".join(f"- name: {name}" for name in prose.GAUGES).encode()
    )
    yield _one(
        "jonas", "Sensors", "Operator notes.txt", lambda: "\n".join(map(prose.sentence, range(40))).encode("utf-16")
    )


def _reports() -> Iterator[Sample]:
    for year in range(2019, 2026):
        name = f"Annual report {year}"
        yield _one("mira", "Reports", f"{name}.pdf", partial(documents.report_pdf, name, year, 6))
    for quarter in range(1, 4):
        title = f"Talk Q{quarter}"
        yield _one("mira", "Reports/Talks", f"{title}.pptx", partial(documents.slides_pptx, title, quarter))
    for number in range(6):
        title = f"Site meeting {number + 1}"
        yield _one("mira", "Reports/Minutes", f"{title}.docx", partial(documents.minutes_docx, title, 40 + number, 8))


def _field_notes() -> Iterator[Sample]:
    for number in range(8):
        yield _one(
            "field", "Notes", f"Day {number + 1:02d}.md", partial(prose.notes_md, f"Day {number + 1}", 90 + number)
        )
        yield _one("field", "Tracks", f"Boat track {number + 1:02d}.gpx", partial(prose.track_gpx, number))
    for number in range(5):
        yield _one("field", "Audio", f"Fog signal {number + 1}.wav", partial(bundles.horn_wav, number, 20.0))
    yield _one("field", "", "Tides.ics", partial(prose.calendar_ics, 2))
    yield _one("field", "Notes", "Wet page, unreadable.md", partial(prose.notes_md, "?", 99), trashed=True)


def _library() -> Iterator[Sample]:
    """Installed documentation and packages: a library and the software a field team carries along."""
    manuals = found.varied(found.DOCUMENTATION, FOUND_FILES // 2 - 10)
    packages = found.varied(found.PACKAGES, FOUND_FILES - len(manuals), most_bytes=2_000_000)
    yield from (Sample("mira", ("Library", "Manuals", *file.parts), file.name, (file.read,)) for file in manuals)
    yield from (Sample("field", ("Software", *file.parts), file.name, (file.read,)) for file in packages)


def _imported(base: Path) -> Iterator[Sample]:
    room = IMPORTED_BYTES
    for count, file in enumerate(found.files_in(base)):
        room -= file.size
        if count >= IMPORTED_FILES or room < 0:
            return
        yield Sample("field", (base.name, *file.parts), file.name, (file.read,))


def _encoded(draw: Callable[..., Image], *args: object, kind: str, **options: object) -> bytes:
    return pictures.encoded(draw(*args), kind, **options)


def _survey(seed: int) -> bytes:
    return pictures.encoded(pictures.photograph(seed, (2016, 1512), sky=1), "PNG")


def _chart(seed: int) -> bytes:
    return pictures.encoded(pictures.chart(seed), "PNG")


def _sensor_export() -> bytes:
    return bundles.zip_of({f"october/levels {day:02d}.csv": prose.sensor_csv(day, 4000) for day in range(1, 13)})
