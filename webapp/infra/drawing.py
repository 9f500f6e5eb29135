"""The program that turns one hostile file into small pictures. rendering.py runs it by itself: it imports no webapp.

It reads the file from standard input, answers on standard output, and needs no other file, network or environment:
one line of JSON {"facts": …, "pictures": [{size, mime, length}…]} and the pictures' bytes, or {"fault": "…"}.
"""

import contextlib
import io
import json
import os
import resource
import sys
import warnings
from typing import Any, BinaryIO

CPU_SECONDS = 3
MEMORY, MEMORY_OF_PDF = 512 * 1024**2, 320 * 1024**2  # bytes of address space; Python and pdfium take 120 MiB
# Pixels decoded at most: the others are decoded whole, at four bytes a pixel and twice that when they are transparent.
MOST_PIXELS, MOST_PIXELS_OF_JPEG = 50_000_000, 120_000_000
FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/gif": "GIF", "image/webp": "WEBP", "image/tiff": "TIFF",
           "image/bmp": "BMP"}  # fmt: skip
PDF = "application/pdf"
PASSWORD = 4  # FPDF_ERR_PASSWORD
ORIENTATION = 0x0112  # the Exif tag
# What Pillow's readers raise on broken files.
READ_ERRORS = (OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, AttributeError, OverflowError)
Drawn = tuple[list[tuple[int, str, bytes]], dict[str, Any]]


class Fault(Exception):
    """The file cannot be drawn; the argument is a word that rendering.py has a sentence for."""


def limit_process(memory: int) -> None:
    """Take from this process what a drawing never needs: memory, time, files to write, processes, core dumps."""
    for what, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_NOFILE, 32),
                       (resource.RLIMIT_NPROC, 0), (resource.RLIMIT_CORE, 0)):  # fmt: skip
        resource.setrlimit(what, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    os.nice(5)


def draw(source: BinaryIO, mime: str, sizes: list[int], number: int = 1) -> Drawn:
    """Pictures of at most `sizes` pixels a side, and facts: width and height, or pages. `number` is the page of a PDF,
    from 1. Raises Fault."""
    picture, facts = _page(source, max(sizes), number) if mime == PDF else _decode(source, FORMATS[mime], max(sizes))
    pictures = []
    for size in sorted(sizes, reverse=True):  # each from the next larger one
        picture.thumbnail((size, size))
        pictures.append((size, *_encode(picture, jpeg=mime == "image/jpeg")))
    return pictures, facts


def _decode(source: BinaryIO, name: str, size: int) -> tuple[Any, dict[str, Any]]:
    from PIL import Image, ImageOps

    Image.MAX_IMAGE_PIXELS = MOST_PIXELS_OF_JPEG if name == "JPEG" else MOST_PIXELS
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    try:
        picture: Image.Image = Image.open(source, formats=[name])
        width, height = picture.size
        if picture.mode in {"P", "PA", "1", "LA", "La", "RGBa"}:
            picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
        picture.thumbnail((size, size))  # a JPEG is decoded at a fraction of its size here
        picture.load()  # a small one only now
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise Fault("pixels") from None
    except READ_ERRORS:
        raise Fault("broken") from None
    with contextlib.suppress(*READ_ERRORS):  # a picture with broken Exif data is shown as it lies
        if picture.getexif().get(ORIENTATION) in {5, 6, 7, 8}:  # on their side (CIPA DC-008, 4.6.4)
            width, height = height, width
        picture = ImageOps.exif_transpose(picture)
    return _eight_bits(picture), {"width": width, "height": height}


def _eight_bits(picture: Any) -> Any:
    """RGB, RGBA or L; depth maps and other wide samples are stretched from their darkest to their lightest."""
    if picture.mode.startswith(("I", "F")):
        wide = picture.convert("F")
        low, high = wide.getextrema()
        scale = 255 / (high - low) if high > low else 0
        return wide.point(lambda value: value * scale - low * scale).convert("L")
    return picture if picture.mode in {"RGB", "RGBA", "L"} else picture.convert("RGB")


def _page(source: BinaryIO, size: int, number: int) -> tuple[Any, dict[str, Any]]:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(source)
        if len(document) == 0:
            raise Fault("empty")
        if number > len(document):
            raise Fault("no_page")
        page = document[number - 1]
        picture = page.render(scale=size / max(*page.get_size(), 1)).to_pil()
    except pypdfium2.PdfiumError as error:
        raise Fault("password" if error.err_code == PASSWORD else "broken") from None
    except (ValueError, OverflowError, ZeroDivisionError):
        raise Fault("broken") from None
    return picture.convert("RGB"), {"pages": len(document)}


def _encode(picture: Any, *, jpeg: bool) -> tuple[str, bytes]:
    """JPEG for photographs that were JPEG (four times as fast to write), WebP for what has edges or transparency."""
    buffer = io.BytesIO()
    picture.info = {}  # nothing of the original's metadata goes along
    if jpeg:
        picture.save(buffer, "JPEG", quality=82, optimize=True, progressive=True)
        return "image/jpeg", buffer.getvalue()
    picture.save(buffer, "WEBP", quality=82, method=3)
    return "image/webp", buffer.getvalue()


def main() -> None:
    """Read standard input as the type named by the first argument, at the page named by the second; the others are
    sizes in pixels."""
    mime, number, *sizes = sys.argv[1:]
    limit_process(MEMORY_OF_PDF if mime == PDF else MEMORY)
    try:
        with open(0, "rb", closefd=False) as source:
            pictures, facts = draw(source, mime, [int(size) for size in sizes], int(number))
        parts = [{"size": size, "mime": mime, "length": len(data)} for size, mime, data in pictures]
        answer: dict[str, Any] = {"facts": facts, "pictures": parts}
    except Fault as fault:
        pictures, answer = [], {"fault": fault.args[0]}
    except MemoryError:
        pictures, answer = [], {"fault": "memory"}
    out = sys.stdout.buffer
    out.write(json.dumps(answer).encode() + b"\n" + b"".join(data for _, _, data in pictures))
    out.flush()
    os._exit(0)  # no finalizers: pdfium may be in any state


if __name__ == "__main__":
    main()
