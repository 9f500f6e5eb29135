"""Text out of real documents of every type, and out of those made to do harm: bounded, and said in words."""

import io
import resource
import time
import zipfile

import pytest

from samples import documents
from tests.vault import Vault
from webapp.infra import extraction
from webapp.infra.extraction import Unreadable, extract, is_readable

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
ODT = "application/vnd.oasis.opendocument.text"
PDF = "application/pdf"
TITLE = "Minutes of the harbour board"
W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def text_of(data: bytes, mime: str) -> str:
    return extract([data], mime).text


def fault_of(data: bytes, mime: str) -> str:
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Unreadable) as caught:
        extract([data], mime)
    assert time.monotonic() - started < 50, "ten times the promise: machines are busy"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024
    assert str(caught.value).endswith(".")
    return caught.value.fault


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/").replace("_xml", ".xml"), data)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "mime"),
    [
        (documents.minutes_docx(TITLE, 1), DOCX),
        (documents.slides_pptx(TITLE, 1), PPTX),
        (documents.letter_odt(TITLE, 1), ODT),
        (documents.report_pdf(TITLE, 1, 2), PDF),
        (f"<html><head><style>hidden</style></head><body><h1>{TITLE}</h1></body>".encode(), "text/html"),
        (f"# {TITLE}\n".encode(), "text/markdown"),
        (f"title;{TITLE}".encode("utf-16"), "text/csv"),
        ("Übersicht der Gebühren, ".encode("windows-1252") + TITLE.encode(), "text/plain"),
    ],
    ids=["docx", "pptx", "odt", "pdf", "html", "md", "csv in utf-16", "txt in windows-1252"],
)
def test_the_words_of_a_document_are_found(data: bytes, mime: str) -> None:
    assert is_readable(mime, len(data))
    text = text_of(data, mime)
    assert TITLE in " ".join(text.split())
    assert "hidden" not in text


def test_the_cells_of_a_sheet_are_found() -> None:
    text = text_of(documents.tide_xlsx(1, range(2024, 2026), 5), XLSX)
    assert "High water" in text
    assert "Low water" in text


def test_words_that_are_split_into_runs_are_one_word() -> None:
    body = f"<w:document {W}><w:p><w:r><w:t>har</w:t></w:r><w:r><w:t>bour</w:t></w:r></w:p></w:document>"
    assert text_of(zipped(word__document_xml=body.encode()), DOCX) == "harbour"


def test_a_long_text_is_kept_to_its_bound_and_says_so() -> None:
    found = extract([b"word " * 100_000], "text/plain")
    assert len(found.text) <= extraction.MOST
    assert not found.whole


def test_an_encrypted_document_says_that_it_needs_a_password() -> None:
    assert fault_of(documents.report_pdf(TITLE, 1, 1, "secret"), PDF) == "password"
    assert fault_of(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(4096), DOCX) == "password"


@pytest.mark.parametrize("mime", [DOCX, XLSX, PPTX, ODT, PDF])
@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 not really", b"%PDF-1.7\n garbage", bytes(1000)], ids=repr)
def test_a_broken_document_is_called_broken(data: bytes, mime: str) -> None:
    assert fault_of(data, mime) in {"broken", "crash"}


def test_entities_are_refused_before_anything_is_expanded() -> None:
    lines = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE x [<!ENTITY a0 "ha">{lines}]><x>&a11;</x>'
    assert fault_of(zipped(word__document_xml=bomb.encode()), DOCX) == "entities"
    outside = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>'
    assert fault_of(zipped(content_xml=outside.encode()), ODT) == "entities"


def test_an_archive_that_swells_is_stopped() -> None:
    blanks = f"<w:document {W}><w:p>".encode() + b" " * (300 * 1024**2)
    assert fault_of(zipped(word__document_xml=blanks), DOCX) in {"swollen", "slow"}
    many = {f"m{number}": b"" for number in range(6000)}
    assert fault_of(zipped(**many), XLSX) == "swollen"


def test_what_nests_without_end_ends_in_words() -> None:
    deep = f"<w:document {W}>".encode() + b"<w:p>" * 2_000_000
    assert fault_of(zipped(word__document_xml=deep), DOCX) in {"broken", "memory", "slow", "swollen", "crash"}


def test_a_hostile_page_of_html_ends_in_time() -> None:
    for page in (b"<a " * 600_000, b"<!--" * 500_000, b"&" * 2_000_000, b"<p>" * 600_000 + b"end"):
        started = time.monotonic()
        try:
            extract([page], "text/html")
        except Unreadable as error:
            assert error.fault in {"slow", "memory"}
        assert time.monotonic() - started < 50


def test_a_document_that_cannot_be_read_ends_as_a_failed_job_that_says_why(vault: Vault, run_jobs: object) -> None:
    file = vault.upload("locked.pdf", documents.report_pdf(TITLE, 1, 1, "secret"))
    run_jobs()  # type: ignore[operator]
    (job,) = [job for job in vault.get(f"/files/{file['id']}/jobs")["items"] if job["name"] == "files.extract"]
    assert (job["state"], job["attempts"]) == ("failed", 1)
    assert job["error"] == extraction.FAULTS["password"]
