"""Previews of honest and of hostile files: what is drawn, and that harm stays in the drawing process."""

import io
import os
import resource
import subprocess
import sys
import time
from functools import reduce
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from samples import documents, pictures
from tests import hostile
from webapp.errors import Unavailable
from webapp.infra import drawing, rendering
from webapp.infra.rendering import Rendering, Unrenderable, render

ROOT = Path(__file__).parent.parent
HANG = 50.0  # seconds: ten times what is promised, for slow machines
Open = Image.Image


def drawn(tmp_path: Path, data: bytes, mime: str) -> Rendering:
    path = tmp_path / "file"
    path.write_bytes(data)
    with path.open("rb") as file:
        return render(file, mime)


def opened(rendering: Rendering) -> dict[int, Open]:
    return {picture.size: Image.open(io.BytesIO(picture.data)) for picture in rendering.pictures}


@pytest.fixture(scope="module")
def base() -> Open:
    return pictures.photograph(3, (1200, 800))


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "PNG"), ("RGBA", "PNG"), ("LA", "PNG"), ("P", "PNG"),
        ("1", "PNG"), ("I;16", "PNG"), ("P", "GIF"), ("RGB", "WEBP"), ("RGBA", "WEBP"), ("RGB", "TIFF"), ("F", "TIFF"),
        ("CMYK", "TIFF"), ("RGB", "BMP"),
    ],
)  # fmt: skip
def test_every_kind_of_picture_is_drawn_in_three_sizes(tmp_path: Path, mode: str, kind: str, base: Open) -> None:
    steps = {"I;16": ("L", "I", "I;16"), "F": ("L", "F")}.get(mode, (mode,))
    picture = reduce(lambda image, step: image.convert(step), steps, base)
    result = drawn(tmp_path, pictures.encoded(picture, kind), f"image/{kind.lower()}")
    assert result.facts == {"width": 1200, "height": 800}
    sizes = {size: image.size for size, image in opened(result).items()}
    assert sizes == {1024: (1024, 683), 256: (256, 171), 64: (64, 43)}


def test_a_small_picture_is_not_blown_up(tmp_path: Path) -> None:
    result = drawn(tmp_path, pictures.encoded(Image.new("RGB", (40, 30), "teal"), "PNG"), "image/png")
    assert {image.size for image in opened(result).values()} == {(40, 30)}


def test_a_sliver_keeps_at_least_one_pixel(tmp_path: Path) -> None:
    result = drawn(tmp_path, pictures.encoded(Image.new("RGB", (9000, 3)), "PNG"), "image/png")
    assert all(min(image.size) >= 1 for image in opened(result).values())


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_cameras_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    upright = Image.new("RGB", (400, 200), "white")
    ImageDraw.Draw(upright).rectangle([0, 0, 200, 200], fill="black")  # black on the left
    turned = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    exif = Image.Exif()
    exif[drawing.ORIENTATION] = orientation
    stored = upright.transpose(turned[orientation]) if orientation in turned else upright
    result = drawn(tmp_path, pictures.encoded(stored, "JPEG", exif=exif), "image/jpeg")
    shown = opened(result)[256].convert("L")
    assert result.facts == {"width": 400, "height": 200}
    assert shown.size == (256, 128)
    assert shown.getpixel((20, 64)) < 40
    assert shown.getpixel((236, 64)) > 215


def test_nothing_of_the_originals_metadata_goes_along(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x8825] = "Lumen Optics", {1: "N", 2: (43.0, 30.0, 0.0)}
    data = pictures.encoded(pictures.photograph(1, (600, 400)), "JPEG", exif=exif, comment=b"taken at home")
    for picture in drawn(tmp_path, data, "image/jpeg").pictures:
        assert b"Exif" not in picture.data
        assert b"home" not in picture.data
        assert b"Lumen" not in picture.data


def test_transparency_survives(tmp_path: Path) -> None:
    shown = opened(drawn(tmp_path, pictures.encoded(pictures.logo(), "PNG"), "image/png"))[256]
    assert shown.convert("RGBA").getpixel((0, 0))[3] == 0


def test_the_first_page_of_a_pdf_is_drawn_and_its_pages_are_counted(tmp_path: Path) -> None:
    result = drawn(tmp_path, documents.report_pdf("Levels", 4, pages=5), "application/pdf")
    page = opened(result)[1024]
    assert result.facts == {"pages": 5}
    assert page.height == 1024
    assert len(page.convert("L").getcolors(256) or []) > 20, "the page is blank"


@pytest.mark.parametrize(
    ("name", "mime", "fault"),
    [
        ("bomb.png", "image/png", {"pixels"}),
        ("cut.jpg", "image/jpeg", {"broken"}),
        ("noise.jpg", "image/jpeg", {"broken"}),
        ("locked.pdf", "application/pdf", {"password"}),
        ("junk.pdf", "application/pdf", {"broken"}),
        ("endless.pdf", "application/pdf", {"memory", "slow", "crash"}),
        ("swelling.pdf", "application/pdf", {"memory", "slow", "crash"}),
        ("other.png", "image/png", {"broken"}),
    ],
)
def test_a_hostile_file_fails_soon_with_words_for_people(tmp_path: Path, name: str, mime: str, fault: set[str]) -> None:
    data = {
        "bomb.png": hostile.png_bomb,
        "cut.jpg": lambda: pictures.jpeg(1, (800, 600))[:30_000],
        "noise.jpg": lambda: b"\xff\xd8\xff\xe0" + bytes(range(256)) * 400,
        "locked.pdf": lambda: documents.report_pdf("Lease", 1, 1, password="harbour"),
        "junk.pdf": lambda: b"%PDF-1.4\n" + b"junk" * 500,
        "endless.pdf": hostile.endless_pdf,
        "swelling.pdf": hostile.swelling_pdf,
        "other.png": lambda: pictures.jpeg(1, (80, 60)),
    }[name]()
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(Unrenderable) as failure:
        drawn(tmp_path, data, mime)
    assert failure.value.fault in fault
    assert str(failure.value).endswith(".")
    assert time.monotonic() - started < HANG
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024  # kB, of this process


def limited(tmp_path: Path, deed: str) -> subprocess.CompletedProcess[bytes]:
    code = f"from webapp.infra import drawing\ndrawing.limit_process(drawing.MEMORY)\n{deed}"
    environ = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    return subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, timeout=HANG)


@pytest.mark.parametrize(
    ("deed", "trace"),
    [
        ("open('stolen', 'w').write('x' * 100_000)", b"OSError"),
        ("b'x' * 600_000_000", b"MemoryError"),
        ("[open('/dev/null') for _ in range(40)]", b"OSError"),
        ("while True: pass", b""),
    ],
)
def test_the_drawing_process_cannot_write_hoard_or_loop(tmp_path: Path, deed: str, trace: bytes) -> None:
    done = limited(tmp_path, deed)
    assert done.returncode != 0
    assert trace in done.stderr
    assert not any(path.stat().st_size for path in tmp_path.iterdir())


def test_a_drawing_that_waits_for_ever_is_stopped_and_tried_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = tmp_path / "waiting.py"
    waiting.write_text("import time; time.sleep(600)")
    monkeypatch.setattr(rendering, "PROGRAM", waiting)
    monkeypatch.setattr(rendering, "WALL_SECONDS", 0.3)
    started = time.monotonic()
    with pytest.raises(Unavailable):
        drawn(tmp_path, b"", "image/png")
    assert time.monotonic() - started < HANG


@pytest.mark.parametrize(
    "program",
    [
        "print('{')",
        "print('[]')",
        'print(\'{"fault": "made up"}\')',
        'print(\'{"facts": {}, "pictures": [{"size": 64, "mime": "image/webp", "length": 99}]}\')',
        "import sys\nwhile True: sys.stdout.write('x' * 65536)",
        "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
    ],
)
def test_what_a_captured_program_says_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    captured = tmp_path / "captured.py"
    captured.write_text(program)
    monkeypatch.setattr(rendering, "PROGRAM", captured)
    with pytest.raises(Unrenderable) as failure:
        drawn(tmp_path, b"", "image/png")
    assert failure.value.fault == "crash"


def test_the_drawing_process_gets_none_of_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = tmp_path / "spy.py"
    spy.write_text("import json, os\nprint(json.dumps({'facts': dict(os.environ), 'pictures': []}))")
    monkeypatch.setattr(rendering, "PROGRAM", spy)
    monkeypatch.setenv("DATA_KEYS", "very secret")
    assert "DATA_KEYS" not in drawn(tmp_path, b"", "image/png").facts
