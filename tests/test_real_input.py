"""Two hundred real files of this machine and of the libraries that offices use, through the API and back."""

import hashlib
import io
from collections.abc import Callable
from email.message import Message
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image

from samples import bundles, documents, found, pictures, prose
from tests.vault import Vault, differences, good, problem, traces
from webapp.infra.rendering import DRAWABLE

OPEN_XML = "application/vnd.openxmlformats-officedocument."
ODF = "application/vnd.oasis.opendocument."
PHOTO = partial(pictures.photograph, size=(640, 480))

# name: (writer, media type)
WRITTEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "Report.pdf": (lambda: documents.report_pdf("Report", 1, 3), "application/pdf"),
    "Plan.pdf": (lambda: documents.drawing_pdf("Plan", 1), "application/pdf"),
    "Minutes.docx": (lambda: documents.minutes_docx("Minutes", 1), OPEN_XML + "wordprocessingml.document"),
    "Tides.xlsx": (lambda: documents.tide_xlsx(1, range(2020, 2024)), OPEN_XML + "spreadsheetml.sheet"),
    "Talk.pptx": (lambda: documents.slides_pptx("Talk", 1), OPEN_XML + "presentationml.presentation"),
    "Letter.odt": (lambda: documents.letter_odt("Letter", 1), ODF + "text"),
    "Levels.ods": (lambda: documents.levels_ods(1), ODF + "spreadsheet"),
    "Dusk.jpg": (lambda: pictures.jpeg(1, (1200, 800)), "image/jpeg"),
    "Turned.jpeg": (lambda: pictures.jpeg(2, (900, 600), orientation=6), "image/jpeg"),
    "Chart.png": (lambda: pictures.encoded(pictures.chart(1), "PNG"), "image/png"),
    "Logo.png": (lambda: pictures.encoded(pictures.logo(), "PNG"), "image/png"),
    "Panorama.webp": (lambda: pictures.encoded(PHOTO(3), "WEBP"), "image/webp"),
    "Depth.tif": (lambda: pictures.encoded(pictures.depth_map(1, (600, 400)), "TIFF"), "image/tiff"),
    "Scan.bmp": (lambda: pictures.encoded(PHOTO(4), "BMP"), "image/bmp"),
    "Rising.gif": (lambda: pictures.tide_animation(1), "image/gif"),
    "Berths.svg": (lambda: prose.plan_svg(1), "image/svg+xml"),
    "Horn.wav": (lambda: bundles.horn_wav(1, 2.0), "audio/wav"),
    "Export.zip": (lambda: bundles.zip_of({"č/levels.csv": prose.sensor_csv(1, 500)}), "application/zip"),
    "Export.tar.gz": (lambda: bundles.tar_gz_of({"levels.csv": prose.sensor_csv(1, 500)}), "application/gzip"),
    "Readings.sqlite": (lambda: bundles.tide_database(prose.tide_rows(1, 300)), "application/vnd.sqlite3"),
    "Levels.csv": (lambda: prose.sensor_csv(1, 5000), "text/csv"),
    "Soundings.geojson": (lambda: prose.points_geojson(1), "application/geo+json"),
    "Track.gpx": (lambda: prose.track_gpx(1), "application/gpx+xml"),
    "Notes.md": (lambda: prose.notes_md("Notes", 1), "text/markdown"),
    "Logger.log": (lambda: prose.log_text(1, 400), "text/plain"),
    "Tides.ics": (lambda: prose.calendar_ics(1), "text/calendar"),
    "calibrate.py": (lambda: prose.CALIBRATE, "text/x-python"),
    "Empty.txt": (lambda: b"", "text/plain"),
}

NAUGHTY = (
    "报告 – Q3.pdf", "مرحبا بالعالم.txt", "\u202eevil\u202c.txt", "🚢⚓ ahoy.md", "Ångström.txt",
    "A\u030angstro\u0308m 2.txt", "CON", "nul.txt", "..hidden", "-rf *.txt", "%2e%2e%2fetc%2fpasswd",
    "a'; DROP TABLE files; --.txt", '"quoted".txt', "<img src=x onerror=alert(1)>.html", "a&b=c?d#e.txt",
    "semi;colon, comma.txt", "x" * 251 + ".txt", "é" * 125 + ".txt", "{{7*7}}.txt", "$(reboot).sh", "~root",
    "file:.txt", "trailing dot.", "null", "0", "emoji 👩🏽‍🚀.txt", "zero\u200bwidth.txt", "ﬁ ligature.txt",
    "İstanbul.txt", "=cmd|' A0.csv",
)  # fmt: skip
REFUSED = (
    "", " ", ".", "..", "...", "a/b.txt", "../../etc/passwd", "a\\b.txt", "nul\0.txt", "line\nbreak.txt",
    "bell\a.txt", "tab\t.txt", "x" * 256, "é" * 128,
)  # fmt: skip


def real_files() -> list[tuple[str, bytes]]:
    """At least 200 files of nobody's; names made unique, since one folder takes them all."""
    files = found.varied(found.DOCUMENTATION, 80) + found.varied(found.PACKAGES, 130)
    if len(files) < 200:  # a slim image has no documentation
        files += found.varied(found.PACKAGES.parent, 200, per_kind=60)
    return [(f"{number:03d} {file.name}"[:100], file.read()) for number, file in enumerate(files)]


def test_two_hundred_real_files_come_back_byte_for_byte(vault: Vault, run_jobs: Callable[[], int]) -> None:
    sent: dict[str, str] = {}
    folder = vault.folder("Real input")["id"]
    for name, data in real_files():
        vault.upload(name, data, folder_id=folder)
        sent[name] = hashlib.sha256(data).hexdigest()
    for name, (write, _) in WRITTEN.items():
        data = write()
        vault.upload(name, data, folder_id=folder)
        sent[name] = hashlib.sha256(data).hexdigest()
    assert run_jobs() >= 3 * len(sent)

    files = {file["name"]: file for file in vault.every("/files", limit=100, folder_id=folder)}
    assert files.keys() == sent.keys()
    assert len(files) >= 200
    assert len({file["mime"] for file in files.values()}) >= 15
    assert len({Path(name).suffix.lower() for name in files}) >= 15
    assert {name: files[name]["mime"] for name in WRITTEN} == {name: mime for name, (_, mime) in WRITTEN.items()}
    for name, digest in sent.items():
        body = good(vault.content(files[name]["id"]))
        assert (files[name]["sha256"], hashlib.sha256(body.data).hexdigest()) == (digest, digest), name
    assert differences() == []

    jobs = vault.every("/jobs", limit=100)
    assert {(job["state"], job["about"], job["error"]) for job in jobs if job["state"] != "done"} == set()
    pictured = [file for file in files.values() if file["mime"] in DRAWABLE]
    assert len(pictured) >= 10
    for file in pictured:
        answer = good(vault.call("GET", f"/files/{file['id']}/thumbnail?size=256"))
        assert max(Image.open(io.BytesIO(answer.data)).size) <= 256
    for file in set(files) - {file["name"] for file in pictured}:
        problem(vault.call("GET", f"/files/{files[file]['id']}/thumbnail"), 404)


def test_naughty_names_come_back_as_they_were(vault: Vault) -> None:
    for name in NAUGHTY:
        vault.upload(name, name.encode())
    files = {file["name"]: file for file in vault.every("/files", limit=100)}
    assert set(files) == set(NAUGHTY)
    for name in NAUGHTY:
        answer = good(vault.content(files[name]["id"]))
        assert answer.data == name.encode()
        assert saved_name(answer.headers["Content-Disposition"]) == name


def test_naughty_names_in_a_form_come_back_too(vault: Vault) -> None:
    names = [name for name in NAUGHTY if '"' not in name and "\u030a" not in name]
    good(vault.send_form(*((name, b"x") for name in names)), 201)
    assert {file["name"] for file in vault.every("/files", limit=100)} == set(names)


@pytest.mark.parametrize("name", REFUSED, ids=lambda name: ascii(name)[:30])
def test_names_that_are_paths_or_nothing_are_refused_and_leave_no_trace(vault: Vault, name: str) -> None:
    before = traces()
    problem(vault.try_upload(name, b"content"), 422)
    assert traces() == before


def saved_name(disposition: str) -> str:
    """The name under which a browser saves it (RFC 6266)."""
    message = Message()
    message["Content-Disposition"] = disposition
    extended = disposition.partition("filename*=UTF-8''")[2]
    return (
        unquote(extended, errors="strict")
        if extended
        else str(message.get_param("filename", header="Content-Disposition"))
    )
