"""Files made to do harm, small to store and large to open."""

import struct
import zlib


def png_bomb(side: int = 50_000) -> bytes:
    """A square PNG of black pixels: a third of a megabyte that opens to gigabytes."""
    packer = zlib.compressobj(9)
    row = b"\0" * (side // 8 + 1)
    data = b"".join(packer.compress(row * 500) for _ in range(side // 500)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (
            (b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)),
            (b"IDAT", data),
            (b"IEND", b""),
        )
    )


def pdf(*contents: bytes, resources: bytes = b"<<>>", extra: tuple[bytes, ...] = ()) -> bytes:
    """A PDF of one page with these content streams; `extra` are objects from number 4 + len(contents) on."""
    numbers = b" ".join(b"%d 0 R" % (4 + index) for index in range(len(contents)))
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Resources%s/Contents[%s]>>" % (resources, numbers)
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        page,
        *map(stream, contents),
        *extra,
    ]
    out, offsets = b"%PDF-1.7\n", []
    for number, item in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, item)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size, start = len(objects) + 1, len(out)
    return out + b"xref\n0 %d\n0000000000 65535 f \n%strailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (
        size, table, size, start,
    )  # fmt: skip


def stream(data: bytes, entries: bytes = b"") -> bytes:
    """A compressed stream object."""
    packed = zlib.compress(data, 9)
    return b"<<%s/Length %d/Filter/FlateDecode>>\nstream\n%s\nendstream" % (entries, len(packed), packed)


def endless_pdf(levels: int = 9, calls: int = 12) -> bytes:
    """Forms that draw forms that draw forms: twelve to the ninth lines."""
    first = 5
    forms = []
    for level in range(levels):
        last = level == levels - 1
        body = b"0 0 m 9 9 l S\n" if last else b"/F Do\n" * calls
        inner = b"" if last else b"/XObject<</F %d 0 R>>" % (first + level + 1)
        forms.append(stream(body, b"/Type/XObject/Subtype/Form/BBox[0 0 600 800]/Resources<<%s>>" % inner))
    return pdf(b"/F Do\n" * calls, resources=b"<</XObject<</F %d 0 R>>>>" % first, extra=tuple(forms))


def swelling_pdf(megabytes: int = 60) -> bytes:
    """A page whose drawing commands are tens of megabytes of lines, packed a thousand times."""
    line = b"q 1 0 0 1 0 0 cm 0 0 m 500 500 l S Q\n"
    return pdf(line * (megabytes * 1_000_000 // len(line)))


def zip_of_entries(count: int) -> bytes:
    """A zip archive with so many empty entries, written by hand: the library would take minutes."""
    local, central = [], []
    position = 0
    for number in range(count):
        name = b"%08d" % number
        local.append(struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 20, 0, 0, 0, 33, 0, 0, 0, len(name), 0) + name)
        central.append(
            struct.pack(
                "<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", 20, 20, 0, 0, 0, 33, 0, 0, 0, len(name), 0, 0, 0, 0, 0, position
            )
            + name
        )
        position += len(local[-1])
    directory = b"".join(central)
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count & 0xFFFF, count & 0xFFFF, len(directory), position, 0)
    return b"".join(local) + directory + end
