"""Pictures and EXIF blocks for the tests of the codec."""

import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


def scene(width=96, height=64, seed=0):
    """A smooth picture without symmetry, (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = [
        columns / width * 200,
        rows / height * 220,
        128 + 80 * np.sin(columns / 9) * np.cos(rows / 7),
    ]
    noise = rng.normal(0, 2, (height, width, 3))
    return np.clip(np.dstack(planes) + 20 + noise, 0, 255).astype(np.uint8)


def saved(picture, form, **options):
    """A picture (array or Pillow image), encoded by Pillow."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    target = io.BytesIO()
    image.save(target, form, **options)
    return target.getvalue()


def opened(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def plain_thumbnail(width=160, height=120):
    return saved(scene(width, height, seed=3), "JPEG", quality=70)


def exif_block(order="<", *, thumbnail=b"", orientation=1, size=(96, 64), note=None):
    """A block as cameras write it: GPS, MakerNote with absolute offsets, IFD1 with a thumbnail."""
    short, long, rational, ascii_, undefined = 3, 4, 5, 2, 7

    def number(kind, *values):
        letters = {short: "H", long: "I"}
        if kind == rational:
            return kind, len(values) // 2, struct.pack(f"{order}{len(values)}I", *values)
        return kind, len(values), struct.pack(f"{order}{len(values)}{letters[kind]}", *values)

    def text(value):
        body = value.encode() + b"\0"
        return ascii_, len(body), body

    note = b"MAKER\0\0\0" + bytes(range(200)) if note is None else note
    main = {
        0x010F: text("Camera maker of the test"),
        0x0110: text("M1"),
        0x0112: number(short, orientation),
        0x011A: number(rational, 72, 1),
        0x8769: "exif",
        0x8825: "gps",
    }
    exif = {
        0x829A: number(rational, 1, 250),
        0x9000: (undefined, 4, b"0232"),
        0x927C: (undefined, len(note), note),
        0x9214: number(short, 40, 30, 20, 10),
        0xA002: number(short, size[0]),
        0xA003: number(long, size[1]),
        0xA005: "interop",
        0xA20E: number(rational, 4_000_000, 1000),
        0xA20F: number(rational, 3_000_000, 1000),
        0xA210: number(short, 2),
    }
    gps = {
        1: text("N"),
        2: number(rational, 47, 1, 22, 1, 3456, 100),
        3: text("E"),
        4: number(rational, 8, 1, 32, 1, 1234, 100),
        17: number(rational, 12345, 100),
    }
    interop = {1: text("R98"), 0x1001: number(long, size[0]), 0x1002: number(long, size[1])}
    first = {"exif": exif, "gps": gps}
    block = bytearray((b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8))

    def write(entries, children):
        at = len(block)
        block.extend(bytes(2 + 12 * len(entries) + 4))
        struct.pack_into(f"{order}H", block, at, len(entries))
        for index, (tag, entry) in enumerate(sorted(entries.items())):
            where = at + 2 + 12 * index
            if isinstance(entry, str):
                grandchildren = {"interop": interop} if entry == "exif" else {}
                offset = write(children[entry], grandchildren)
                struct.pack_into(f"{order}HHII", block, where, tag, long, 1, offset)
                continue
            kind, count, body = entry
            struct.pack_into(f"{order}HHI", block, where, tag, kind, count)
            if len(body) <= 4:
                block[where + 8 : where + 8 + len(body)] = body
            else:
                block.extend(bytes(len(block) % 2))
                struct.pack_into(f"{order}I", block, where + 8, len(block))
                block.extend(body)
        return at

    start = write(main, first)
    if thumbnail:
        entries = {
            0x0103: number(short, 6),
            0x0201: number(long, 0),
            0x0202: number(long, len(thumbnail)),
        }
        link = start + 2 + 12 * len(main)
        struct.pack_into(f"{order}I", block, link, len(block))
        at = write(entries, {})
        struct.pack_into(f"{order}I", block, at + 2 + 12 + 8, len(block))
        block.extend(thumbnail)
    return bytes(block)


def all_tags(block):
    """Every tag of a block as Pillow reads it: {(directory, tag): value}."""
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + block)
    result = {("main", tag): value for tag, value in exif.items()}
    for name, pointer in (("exif", 0x8769), ("gps", 0x8825), ("interop", 0xA005)):
        result |= {(name, tag): value for tag, value in exif.get_ifd(pointer).items()}
    for key in [("main", 0x8769), ("main", 0x8825), ("exif", 0xA005)]:
        result.pop(key, None)
    return result
