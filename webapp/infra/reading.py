"""The program that takes the text out of one hostile document. extraction.py runs it by itself: it imports no webapp.

It reads the file from standard input, answers on standard output, and needs no other file, network or environment:
one line of JSON {"characters": …, "whole": …} and the text in UTF-8, or {"fault": "…"}.

Office files are ZIP archives of XML. Only the members that hold text are opened, read in pieces and counted, and a
document type is refused before anything in it could be expanded: no archive swells and no entity multiplies.
"""

import codecs
import html.parser
import io
import json
import os
import re
import resource
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO
from xml.parsers import expat

CPU_SECONDS = 4
MEMORY = 320 * 1024**2  # bytes of address space; Python and pdfium take 120 MiB
MOST = 150_000  # characters kept
PIECE = 64 * 1024
MOST_UNPACKED = 64 * 1024**2  # bytes of XML read from one archive
MOST_MEMBERS = 5000
PDF, HTML = "application/pdf", "text/html"
OPEN_XML, OPEN_DOCUMENT = "application/vnd.openxmlformats-officedocument.", "application/vnd.oasis.opendocument."
PASSWORD = 4  # FPDF_ERR_PASSWORD
# Where an archive keeps its text.
MEMBERS = re.compile(
    r"word/(document|footnotes|endnotes|header\d*|footer\d*|comments)\.xml|xl/(sharedStrings|worksheets/sheet\d+)\.xml"
    r"|ppt/(slides/slide|notesSlides/notesSlide)\d+\.xml|content\.xml"
)
# Elements after which words do not go on, by their local names.
BREAKS = frozenset({"p", "h", "br", "tab", "tc", "tr", "row", "c", "si", "is", "table-cell", "line-break", "s", "a:p"})
SHOWN = frozenset({"t", "v"})  # of Office Open XML: runs of text, and values of cells
READ_ERRORS = (OSError, ValueError, EOFError, LookupError, zlib.error, zipfile.BadZipFile, NotImplementedError,
               RuntimeError, expat.ExpatError)  # fmt: skip


class Fault(Exception):
    """The text cannot be had; the argument is a word that extraction.py has a sentence for."""


class Enough(Exception):
    """As much text as is kept."""


class Sheet:
    """Collects text up to a length, blanks made one."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.length = 0

    def add(self, text: str) -> None:
        """Raises Enough when no more fits."""
        text = " ".join(text.split()) if text.strip() else ""
        if not text:
            return
        self.parts.append(text[: MOST - self.length])
        self.length += len(self.parts[-1]) + 1
        if self.length >= MOST:
            raise Enough


def limit_process() -> None:
    """Take from this process what reading never needs: memory, time, files to write, processes, core dumps."""
    for what, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_NOFILE, 32),
                       (resource.RLIMIT_NPROC, 0), (resource.RLIMIT_CORE, 0)):  # fmt: skip
        resource.setrlimit(what, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    os.nice(5)


def read_text(source: BinaryIO, mime: str) -> tuple[str, bool]:
    """The text of a file of this type and whether that is all of it. Raises Fault."""
    sheet = Sheet()
    reader: Callable[[BinaryIO, Sheet], None] = _read_plain
    if mime == PDF:
        reader = _read_pdf
    elif mime == HTML:
        reader = _read_html
    elif mime.startswith((OPEN_XML, OPEN_DOCUMENT)):
        reader = _read_archive
    try:
        reader(source, sheet)
    except Enough:
        return "\n".join(sheet.parts), False
    return "\n".join(sheet.parts), True


def _pieces(source: BinaryIO) -> Iterator[str]:
    """The text of bytes whose encoding nobody told: UTF-16 by its mark, else UTF-8, else Latin-1."""
    head = source.read(PIECE)
    name = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        codecs.getincrementaldecoder(name)().decode(head)
    except UnicodeDecodeError:
        name = "windows-1252"
    decoder = codecs.getincrementaldecoder(name)("replace")
    while head:
        yield decoder.decode(head).replace("\0", " ")
        head = source.read(PIECE)


def _read_plain(source: BinaryIO, sheet: Sheet) -> None:
    rest = ""
    for piece in _pieces(source):
        lines = (rest + piece).split("\n")
        rest = lines.pop()
        for line in lines:
            sheet.add(line)
        if len(rest) > MOST:
            sheet.add(rest)
            rest = ""
    sheet.add(rest)


class _Page(html.parser.HTMLParser):
    """Words of a web page without its scripts and styles."""

    def __init__(self, sheet: Sheet) -> None:
        super().__init__(convert_charrefs=True)
        self.sheet, self.hidden = sheet, 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hidden += tag in {"script", "style", "template"}

    def handle_endtag(self, tag: str) -> None:
        self.hidden = max(0, self.hidden - (tag in {"script", "style", "template"}))

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.sheet.add(data)


def _read_html(source: BinaryIO, sheet: Sheet) -> None:
    # The library goes over what is unfinished again and again: what does not end soon is read to a limit.
    page = _Page(sheet)
    page.feed("".join(_pieces(io.BytesIO(source.read(2 * 1024**2)))))
    page.close()


def _read_pdf(source: BinaryIO, sheet: Sheet) -> None:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(source)
        for number in range(len(document)):
            page = document[number]
            words = page.get_textpage()
            sheet.add(words.get_text_range(0, min(words.count_chars(), MOST)))
            words.close()
            page.close()
    except pypdfium2.PdfiumError as error:
        raise Fault("password" if error.err_code == PASSWORD else "broken") from None
    except (ValueError, OverflowError):
        raise Fault("broken") from None


def _read_archive(source: BinaryIO, sheet: Sheet) -> None:
    if source.read(8) == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":  # Office keeps an encrypted one in its former format
        raise Fault("password")
    source.seek(0)
    try:
        with zipfile.ZipFile(source) as archive:
            names = archive.namelist()
            if len(names) > MOST_MEMBERS:
                raise Fault("swollen")
            left = MOST_UNPACKED
            if "META-INF/manifest.xml" in names and _is_encrypted(archive):
                raise Fault("password")
            for name in sorted((name for name in names if MEMBERS.fullmatch(name)), key=_number):
                with archive.open(name) as member:
                    left = _read_xml(member, sheet, left, every=name == "content.xml")
    except Fault:
        raise
    except READ_ERRORS as error:
        raise Fault("password" if "encrypted" in str(error) else "broken") from None


def _is_encrypted(archive: zipfile.ZipFile) -> bool:
    with archive.open("META-INF/manifest.xml") as manifest:
        return b"encryption-data" in manifest.read(1024**2)


def _number(name: str) -> tuple[str, int]:
    digits = re.search(r"(\d+)\.xml$", name)
    return (name[: digits.start()] if digits else name, int(digits[1][:9]) if digits else 0)


def _read_xml(source: Any, sheet: Sheet, left: int, *, every: bool) -> int:  # noqa: C901
    """The text of a member; `every` element's, or of those that show some. Returns how many bytes may still be read."""
    words: list[str] = []
    parser, shown = expat.ParserCreate(namespace_separator=" "), [0]

    def start(name: str, _attributes: Any) -> None:
        shown[0] += name.rpartition(" ")[2] in SHOWN

    def end(name: str) -> None:
        local = name.rpartition(" ")[2]
        shown[0] -= local in SHOWN
        if local in BREAKS:
            sheet.add("".join(words))
            words.clear()

    def data(text: str) -> None:
        if every or shown[0]:
            words.append(text)

    def refuse(*_: Any) -> None:
        raise Fault("entities")

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, data
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    parser.buffer_text = True
    while piece := source.read(min(PIECE, left + 1)):
        left -= len(piece)
        if left < 0:
            raise Fault("swollen")
        parser.Parse(piece, False)
    parser.Parse(b"", True)
    sheet.add("".join(words))
    return left


def main() -> None:
    """Read standard input as the type named by the first argument."""
    limit_process()
    text = b""
    try:
        with open(0, "rb", closefd=False) as source:
            found, whole = read_text(source, sys.argv[1])
        text = found.encode("utf-8", "replace")
        answer: dict[str, Any] = {"characters": len(found), "whole": whole}
    except Fault as fault:
        answer = {"fault": fault.args[0]}
    except MemoryError:
        answer = {"fault": "memory"}
    out = sys.stdout.buffer
    out.write(json.dumps(answer).encode() + b"\n" + text)
    out.flush()
    os._exit(0)  # no finalizers: pdfium may be in any state


if __name__ == "__main__":
    main()
