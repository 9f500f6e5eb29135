"""What kind of content bytes are said to be: content first, the name only among what the content allows."""

import gzip
import io
import time
import zipfile

import pytest

from samples import bundles, documents, pictures, prose
from tests import hostile
from webapp.infra.sniffing import DIRECTORY_LIMIT, guess_type, sniff

OPEN_XML = "application/vnd.openxmlformats-officedocument."
PLAIN, UNKNOWN = "text/plain", "application/octet-stream"


def sniffed(name: str, data: bytes) -> tuple[str, dict[str, object]]:
    found = sniff(name, len(data), lambda start, length: data[start : start + length])
    return found.mime, found.facts


@pytest.mark.parametrize(
    ("name", "data", "mime"),
    [
        ("a.jpg", pictures.jpeg(1, (60, 40)), "image/jpeg"),
        ("a.pdf", documents.drawing_pdf("Plan", 1), "application/pdf"),
        ("a.docx", documents.minutes_docx("Minutes", 1, 2), OPEN_XML + "wordprocessingml.document"),
        ("a.xlsx", documents.tide_xlsx(1, range(2020, 2021), 4), OPEN_XML + "spreadsheetml.sheet"),
        ("a.pptx", documents.slides_pptx("Talk", 1, 2), OPEN_XML + "presentationml.presentation"),
        ("a.odt", documents.letter_odt("Letter", 1), "application/vnd.oasis.opendocument.text"),
        ("a.ods", documents.levels_ods(1, 4), "application/vnd.oasis.opendocument.spreadsheet"),
        ("a.wav", bundles.horn_wav(1, 0.1), "audio/wav"),
        ("a.zip", bundles.zip_of({"a": b"b"}), "application/zip"),
        ("a.tar.gz", bundles.tar_gz_of({"a": b"b"}), "application/gzip"),
        ("a.sqlite", bundles.tide_database([]), "application/vnd.sqlite3"),
        ("a.csv", prose.sensor_csv(1, 5), "text/csv"),
        ("a.geojson", prose.points_geojson(1, 2), "application/geo+json"),
        ("a.gpx", prose.track_gpx(1, 2), "application/gpx+xml"),
        ("a.md", prose.notes_md("Notes", 1), "text/markdown"),
        ("a.ics", prose.calendar_ics(1), "text/calendar"),
        ("a.svg", prose.plan_svg(1), "image/svg+xml"),
        ("a.py", prose.CALIBRATE, "text/x-python"),
        ("a.log", prose.log_text(1, 3), PLAIN),
        ("a.json", b'{"a": 1}', "application/json"),
        ("Makefile", b"all:\n\ttrue\n", PLAIN),
        ("nothing.txt", b"", PLAIN),
        ("a.mp4", b"\0\0\0 ftypisom" + bytes(40), "video/mp4"),
        ("a.m4a", b"\0\0\0 ftypM4A " + bytes(40), "audio/mp4"),
        ("a.heic", b"\0\0\0 ftypheic" + bytes(40), "image/heic"),
        ("a.webm", b"\x1aE\xdf\xa3" + bytes(20) + b"webm" + bytes(20), "video/webm"),
        ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "application/msword"),
        ("a.ico", b"\0\0\1\0\1\0\x10\x10" + bytes(60), "image/x-icon"),
        ("a.bin", bytes(range(256)) * 4, UNKNOWN),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_common_kinds_are_known_at_the_upload_and_by_the_job(name: str, data: bytes, mime: str) -> None:
    assert guess_type(name, data[:8192]) == mime
    assert sniffed(name, data)[0] == mime


@pytest.mark.parametrize(
    ("name", "data", "mime"),
    [
        ("photo.jpg", b"<!DOCTYPE html><script>alert(1)</script>", "text/html"),
        ("photo.jpg", b"\xef\xbb\xbf \n<!-- hi --><html><body>", "text/html"),
        ("notes.txt", "<html><script>".encode("utf-16"), "text/html"),
        ("notes.txt", b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        ("chart.png", b"<svg onload=alert(1)>", "image/svg+xml"),
        ("notes.md", b"  <SCRIPT src=x></SCRIPT>", "text/html"),
        ("invoice.pdf", b"MZ\x90\0" + bytes(260), "application/vnd.microsoft.portable-executable"),
        ("song.mp3", b"\x7fELF\x02\x01\x01" + bytes(200), "application/x-executable"),
        ("page.html", pictures.jpeg(1, (8, 8)), "image/jpeg"),
        ("photo.png", pictures.jpeg(1, (8, 8)), "image/jpeg"),
        ("photo.png", b"just words", PLAIN),
        ("report.docx", documents.drawing_pdf("Plan", 1), "application/pdf"),
    ],
)  # fmt: skip
def test_a_name_does_not_dress_up_other_content(name: str, data: bytes, mime: str) -> None:
    assert guess_type(name, data) == mime
    assert sniffed(name, data)[0] == mime


def test_the_entries_of_an_archive_decide_what_the_job_says() -> None:
    plain = bundles.zip_of({"a.txt": b"a", "b.txt": b"b"})
    assert guess_type("report.docx", plain) == OPEN_XML + "wordprocessingml.document"  # a guess
    assert sniffed("report.docx", plain) == ("application/zip", {"entries": 2})
    assert sniffed("archive.zip", documents.minutes_docx("M", 1, 1))[0] == OPEN_XML + "wordprocessingml.document"
    assert sniffed("tool.jar", bundles.zip_of({"META-INF/MANIFEST.MF": b""}))[0] == "application/java-archive"
    macros = bundles.zip_of({"word/document.xml": b"", "word/vbaProject.bin": b""})
    assert sniffed("report.docx", macros)[0] == "application/vnd.ms-word.document.macroenabled.12"


def test_a_broken_archive_is_still_an_archive() -> None:
    data = bundles.zip_of({"a.txt": b"a" * 500})
    assert sniffed("a.zip", data[:-30]) == ("application/zip", {})


def test_an_archive_with_a_huge_directory_is_not_listed() -> None:
    data = hostile.zip_of_entries(60_000)
    read = []

    def reading(start: int, length: int) -> bytes:
        read.append(length)
        return data[start : start + length]

    found = sniff("many.zip", len(data), reading)
    assert (found.mime, found.facts) == ("application/zip", {})
    assert sum(read) <= DIRECTORY_LIMIT + 100_000
    assert sniffed("some.zip", hostile.zip_of_entries(500))[1] == {"entries": 500}


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("utf-16", "utf-16-le"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32-le"),
        ("latin-1", "unknown-8bit"),
    ],
)
def test_text_is_known_in_its_encodings(encoding: str, said: str) -> None:
    text = "Høyvann ved Ferry slip: 1.84 m, målt to ganger\n" * 300
    assert sniffed("levels.txt", text.encode(encoding)) == (PLAIN, {"encoding": said})


def test_a_character_cut_at_the_end_of_the_sample_does_not_make_text_binary() -> None:
    for shift in range(4):
        data = (b"a" * shift + "報告🚢".encode() * 2000)[:8192]
        assert guess_type("report.md", data) == "text/markdown"


def test_bytes_without_a_meaning_stay_unknown_whatever_the_name() -> None:
    noise = bytes((number * 7919 >> 3) & 0xFF for number in range(1, 5000))
    for name in ("a.txt", "a.html", "a.docx", "a.png", "a"):
        assert guess_type(name, noise) == UNKNOWN


def test_an_epub_says_so_itself() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("mimetype", "application/epub+zip")
        archive.writestr("OEBPS/a.xhtml", "<html/>")
    assert sniffed("book.zip", buffer.getvalue()) == ("application/epub+zip", {"entries": 2})


def test_an_archive_cannot_declare_itself_a_page() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("mimetype", "text/html")
        archive.writestr("a", "b" * 100)
    assert sniffed("a.odt", buffer.getvalue())[0] == "application/zip"


def test_guessing_never_takes_long_nor_fails() -> None:
    markup = [b"<!--" * 2000, b"<!---->" * 1100 + b"x", b"<?a?>" * 1600, b"<!doctype html[" * 500]
    binary = [b"PK\x03\x04" + bytes(4000), b"\xff\xfe" + b"<\0" * 4000, gzip.compress(b"a" * 9000), bytes(8192)]
    for data in (*markup, *binary, b" " * 8192):
        started = time.perf_counter()
        for _ in range(5):
            assert "/" in guess_type("a.svg", data)
        assert time.perf_counter() - started < 0.5  # a hundred times what it takes; a backtracking pattern takes hours
