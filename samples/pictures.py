"""Pictures that look like a harbour survey's: photographs, charts, depth maps, drawings."""

import io
import math
from random import Random
from typing import Any

from PIL import Image, ImageChops, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
SKIES: tuple[tuple[Colour, Colour, Colour], ...] = (
    ((244, 176, 120), (205, 120, 110), (31, 58, 99)),  # dusk
    ((189, 213, 229), (126, 163, 187), (92, 128, 148)),  # overcast
    ((150, 196, 240), (86, 140, 170), (28, 84, 104)),  # clear
    ((214, 208, 222), (150, 150, 170), (70, 84, 98)),  # fog
)


def photograph(seed: int, size: tuple[int, int] = (2000, 1500), sky: int | None = None) -> Image.Image:
    """Sky, water, piers and posts under film grain."""
    random = Random(seed)
    width, height = size
    top, middle, bottom = SKIES[seed % len(SKIES) if sky is None else sky]
    horizon = int(height * random.uniform(0.4, 0.6))
    picture = Image.new("RGB", size, middle)
    picture.paste(_gradient((width, horizon), top, middle), (0, 0))
    picture.paste(_gradient((width, height - horizon), middle, bottom), (0, horizon))
    pen = ImageDraw.Draw(picture)
    for depth in range(4):
        level, slope = horizon + depth * height // 8, random.uniform(-0.1, 0.1)
        shade = _mixed(middle, _mixed(bottom, (12, 18, 26), depth / 5), 0.35 + depth / 5)
        pen.polygon([(0, level), (width, level + slope * width), (width, height), (0, height)], fill=shade)
        for _ in range(random.randint(3, 9)):
            at, thick, tall = random.randrange(width), random.randint(6, 22), random.randint(height // 40, height // 9)
            foot = level + slope * at
            pen.rectangle([at, foot - tall, at + thick, foot + 12], fill=shade)
    return _grained(picture.filter(ImageFilter.GaussianBlur(1.2)), random.uniform(14, 24))


def jpeg(seed: int, size: tuple[int, int] = (2000, 1500), *, orientation: int = 1, sky: int | None = None) -> bytes:
    """A photograph with Exif data as a camera writes it; `orientation` as in CIPA DC-008 (6 lies on its right side)."""
    picture = photograph(seed, size, sky)
    turned = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    if orientation in turned:
        picture = picture.transpose(turned[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F], exif[0x0110] = "Lumen Optics", "Surveyor 4"
    exif[0x0132] = f"2026:{seed % 9 + 1:02d}:{seed % 27 + 1:02d} 09:{seed % 60:02d}:00"
    return encoded(picture, "JPEG", quality=88, exif=exif)


def chart(seed: int, size: tuple[int, int] = (1440, 900), lines: int = 3) -> Image.Image:
    """Water levels of three gauges as lines over a grid."""
    random, (width, height) = Random(seed), size
    picture = Image.new("RGB", size, (255, 255, 255))
    pen = ImageDraw.Draw(picture)
    for step in range(11):
        pen.line(
            [(80, 60 + step * (height - 140) // 10), (width - 40, 60 + step * (height - 140) // 10)],
            fill=(229, 232, 235),
        )
        pen.text((30, 52 + step * (height - 140) // 10), f"{2.5 - step * 0.5:.1f} m", fill=(81, 96, 111))
    for line in range(lines):
        phase, swing = random.uniform(0, 6), random.uniform(0.2, 0.42)
        points = [
            (x, height / 2 + math.sin(x / 90 + phase) * height * swing * math.cos(x / 700))
            for x in range(80, width - 40, 3)
        ]
        pen.line(points, fill=((13, 122, 112), (180, 83, 9), (51, 65, 120))[line % 3], width=3)
    pen.text((80, 24), f"Gauge comparison {seed}", fill=(23, 32, 42))
    return picture


def depth_map(seed: int, size: tuple[int, int] = (1200, 900)) -> Image.Image:
    """Soundings as 16-bit samples, as echo sounders export them."""
    rough = Image.effect_noise((size[0] // 30, size[1] // 30), 90 + seed % 30).resize(size, Image.Resampling.BICUBIC)
    return rough.convert("I").point(lambda value: value * 180 + 2000).convert("I;16")


def tide_animation(seed: int, frames: int = 12) -> bytes:
    """A GIF of rising water."""
    pictures = [Image.new("P", (320, 200), 0) for _ in range(frames)]
    for number, picture in enumerate(pictures):
        picture.putpalette([*(220, 232, 240), *(13, 122, 112), *(23, 32, 42)])
        ImageDraw.Draw(picture).rectangle([0, 180 - number * 10 - seed % 7, 320, 200], fill=1)
    return encoded(pictures[0], "GIF", save_all=True, append_images=pictures[1:], duration=120, loop=0)


def logo() -> Image.Image:
    """A mark with transparent ground."""
    picture = Image.new("RGBA", (512, 512), (0, 0, 0, 0))
    pen = ImageDraw.Draw(picture)
    pen.rounded_rectangle([32, 32, 480, 480], 96, fill=(13, 122, 112, 255))
    pen.arc([150, 200, 362, 400], 0, 180, fill=(255, 255, 255, 255), width=28)
    pen.line([(256, 120), (256, 400)], fill=(255, 255, 255, 255), width=28)
    return picture


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """The picture as a file of that format."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _gradient(size: tuple[int, int], top: Colour, bottom: Colour) -> Image.Image:
    mask = Image.linear_gradient("L").resize(size)
    return Image.composite(Image.new("RGB", size, bottom), Image.new("RGB", size, top), mask)


def _grained(picture: Image.Image, strength: float) -> Image.Image:
    grain = Image.merge("RGB", [Image.effect_noise(picture.size, strength) for _ in range(3)])
    return ImageChops.add(picture, grain, 1, -128)


def _mixed(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (int(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue
