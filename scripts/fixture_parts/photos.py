"""Photos for the fixtures: scenes encoded as cameras and apps encode them, with their tags."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import tifffile
from PIL import Image, ImageCms

from fixture_parts.scenes import Pixels, render, render_exact

ASCII, SHORT, LONG, RATIONAL, UNDEFINED, BYTE = 2, 3, 4, 5, 7, 1
ITEM_BYTES = {BYTE: 1, ASCII: 1, SHORT: 2, LONG: 4, RATIONAL: 8, UNDEFINED: 1}
Entry = tuple[int, int, object]  # tag, type, value


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A camera as its photos name it; focal length and the sensor's longer side in mm."""

    make: str = "Fieldcam"
    model: str = "FC-20"
    software: str = "FC-20 firmware 1.4"
    focal_mm: float = 4.5
    sensor_mm: float = 6.2
    film_mm: int = 26


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags:
    """What EXIF says of a photo.

    position is (longitude, latitude, height) in degrees on WGS 84 and metres, good to error_m;
    heading_deg is clockwise from north, "T" true or "M" magnetic; altitude_ref is 0 above and 1
    below the sea; when as EXIF writes it.
    """

    body: Body = Body()
    orientation: int = 1
    position: tuple[float, float, float] | None = None
    altitude_ref: int = 0
    error_m: float | None = None
    heading_deg: float | None = None
    north: str = "T"
    when: str = "2026:05:04 09:30:00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot(Tags):
    """One photo to take of a scene; size is (width, height) of the upright picture."""

    scene: str
    label: str
    seed: int
    size: tuple[int, int] = (480, 360)
    quality: int = 86
    thumbnail: bool = False


def stored(upright: Pixels, orientation: int) -> Pixels:
    """Pixels as a sensor stores them so that EXIF Orientation makes them upright again."""
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }
    return np.ascontiguousarray(turned[orientation])


def ratio(value: float, denominator: int = 10_000) -> tuple[int, int]:
    """A value as EXIF's unsigned rational."""
    return round(value * denominator), denominator


def sexagesimal(degrees: float) -> list[tuple[int, int]]:
    """Degrees, minutes and seconds as three rationals."""
    whole = abs(degrees)
    minutes = whole % 1 * 60
    return [(int(whole), 1), (int(minutes), 1), ratio(minutes % 1 * 60)]


def pack_value(kind: int, value: object) -> tuple[int, bytes]:
    """(count, bytes) of one little-endian TIFF value."""
    if kind == ASCII:
        data = f"{value}\0".encode()
    elif kind in (UNDEFINED, BYTE):
        data = bytes(value)  # type: ignore[call-overload]
    else:
        numbers = value if isinstance(value, Sequence) else [value]
        flat = [n for item in numbers for n in (item if kind == RATIONAL else (item,))]
        data = struct.pack(f"<{len(flat)}{'H' if kind == SHORT else 'I'}", *flat)
    return len(data) // ITEM_BYTES[kind], data


def pack_directory(entries: list[Entry], start: int, following: int = 0) -> bytes:
    """One image file directory at offset `start`, its long values behind it."""
    head, tail = struct.pack("<H", len(entries)), b""
    behind = start + 2 + 12 * len(entries) + 4
    for tag, kind, value in sorted(entries, key=lambda entry: entry[0]):
        count, data = pack_value(kind, value)
        if len(data) <= 4:
            field = data.ljust(4, b"\0")
        else:
            field = struct.pack("<I", behind + len(tail))
            tail += data + b"\0" * (len(data) % 2)
        head += struct.pack("<HHI", tag, kind, count) + field
    return head + struct.pack("<I", following) + tail


def position_entries(tags: Tags) -> list[Entry]:
    """The GPS directory, empty when the camera knew nothing."""
    entries: list[Entry] = []
    if tags.position:
        lon, lat, height = tags.position
        entries += [
            (0x0001, ASCII, "N" if lat >= 0 else "S"),
            (0x0002, RATIONAL, sexagesimal(lat)),
            (0x0003, ASCII, "E" if lon >= 0 else "W"),
            (0x0004, RATIONAL, sexagesimal(lon)),
            (0x0005, BYTE, bytes([tags.altitude_ref])),
            (0x0006, RATIONAL, [ratio(height, 100)]),
        ]
    if tags.heading_deg is not None:
        entries += [(0x0010, ASCII, tags.north), (0x0011, RATIONAL, [ratio(tags.heading_deg, 100)])]
    if tags.error_m is not None:
        entries += [(0x001F, RATIONAL, [ratio(tags.error_m, 100)])]
    return [(0x0000, BYTE, b"\2\3\0\0"), *entries] if entries else []


def exif_block(tags: Tags, size: tuple[int, int], thumbnail: bytes = b"") -> bytes:
    """A TIFF block as in a JPEG's APP1, without the "Exif" header; size is the stored one."""
    body = tags.body
    px_per_cm = max(size) / body.sensor_mm * 10
    camera: list[Entry] = [
        (0x829A, RATIONAL, [(1, 250)]),
        (0x829D, RATIONAL, [(28, 10)]),
        (0x8827, SHORT, [100]),
        (0x9000, UNDEFINED, b"0232"),
        (0x9003, ASCII, tags.when),
        (0x9101, UNDEFINED, b"\1\2\3\0"),
        (0x920A, RATIONAL, [ratio(body.focal_mm, 10)]),
        (0x927C, UNDEFINED, b"FIELDCAM\0\1" + bytes(range(64))),
        (0xA000, UNDEFINED, b"0100"),
        (0xA001, SHORT, [1]),
        (0xA002, LONG, [size[0]]),
        (0xA003, LONG, [size[1]]),
        (0xA20E, RATIONAL, [ratio(px_per_cm, 100)]),
        (0xA20F, RATIONAL, [ratio(px_per_cm, 100)]),
        (0xA210, SHORT, [3]),
        (0xA405, SHORT, [body.film_mm]),
    ]
    places = position_entries(tags)
    main: list[Entry] = [
        (0x010F, ASCII, body.make),
        (0x0110, ASCII, body.model),
        (0x0112, SHORT, [tags.orientation]),
        (0x011A, RATIONAL, [(72, 1)]),
        (0x011B, RATIONAL, [(72, 1)]),
        (0x0128, SHORT, [2]),
        (0x0131, ASCII, body.software),
        (0x0132, ASCII, tags.when),
        (0x0213, SHORT, [1]),
    ]

    def build(offsets: tuple[int, int, int, int]) -> list[bytes]:
        at_camera, at_places, at_small, at_thumbnail = offsets
        pointers: list[Entry] = [(0x8769, LONG, [at_camera])]
        if places:
            pointers.append((0x8825, LONG, [at_places]))
        small: list[Entry] = [
            (0x0103, SHORT, [6]),
            (0x011A, RATIONAL, [(72, 1)]),
            (0x011B, RATIONAL, [(72, 1)]),
            (0x0128, SHORT, [2]),
            (0x0201, LONG, [at_thumbnail]),
            (0x0202, LONG, [len(thumbnail)]),
        ]
        following = at_small if thumbnail else 0
        return [
            b"II*\0" + struct.pack("<I", 8),
            pack_directory(main + pointers, 8, following),
            pack_directory(camera, at_camera),
            pack_directory(places, at_places) if places else b"",
            pack_directory(small, at_small) if thumbnail else b"",
            thumbnail,
        ]

    ends = np.cumsum([len(part) for part in build((0, 0, 0, 0))]).tolist()
    return b"".join(build((ends[1], ends[2], ends[3], ends[4])))


def small_jpeg(pixels: Pixels) -> bytes:
    """The thumbnail that cameras embed, about 160 px wide."""
    image = Image.fromarray(pixels)
    image.thumbnail((160, 120))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=70)
    return buffer.getvalue()


def srgb_profile() -> bytes:
    """LittleCMS's sRGB profile without its date, so that the fixtures are reproducible."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    profile[84:100] = bytes(16)
    return bytes(profile)


def drone_xmp(values: Mapping[str, str]) -> bytes:
    """An XMP packet as DJI's drones write it."""
    attributes = " ".join(f'drone-dji:{name}="{value}"' for name, value in values.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:drone-dji="http://www.dji.com/drone-dji/1.0/" '
        f"{attributes}/>"
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def gimbal_xmp(pitch_deg: float, yaw_deg: float) -> bytes:
    """What a drone says that hovers before a pole."""
    return drone_xmp(
        {
            "GimbalPitchDegree": f"{pitch_deg:+.2f}",
            "GimbalYawDegree": f"{yaw_deg:+.2f}",
            "GimbalRollDegree": "+0.00",
            "RelativeAltitude": "+12.40",
        }
    )


def jpeg(shot: Shot, mode: str = "RGB", **save: object) -> bytes:
    """A JPEG with full EXIF; mode "L" or "CMYK"; `save` holds options of Pillow."""
    pixels = render(shot.scene, shot.seed, shot.size, shot.label)
    small = small_jpeg(stored(pixels, shot.orientation)) if shot.thumbnail else b""
    return tagged_jpeg(pixels, shot, small, mode=mode, quality=shot.quality, **save)


def tagged_jpeg(
    upright: Pixels, tags: Tags, thumbnail: bytes = b"", *, mode: str = "RGB", **save: object
) -> bytes:
    """A picture as a JPEG, turned as its Orientation says, with full EXIF."""
    pixels = stored(upright, tags.orientation)
    block = exif_block(tags, (pixels.shape[1], pixels.shape[0]), thumbnail)
    buffer = io.BytesIO()
    image = Image.fromarray(pixels).convert(mode)
    image.save(buffer, "JPEG", exif=b"Exif\0\0" + block, **save)
    return buffer.getvalue()


def plain_jpeg(shot: Shot) -> bytes:
    """A JPEG as a messenger app leaves it: no tags at all."""
    buffer = io.BytesIO()
    image = Image.fromarray(render(shot.scene, shot.seed, shot.size, shot.label))
    image.save(buffer, "JPEG", quality=shot.quality, subsampling=0)
    return buffer.getvalue()


def png(shot: Shot, *, alpha: bool = False) -> bytes:
    """An 8-bit PNG; with alpha, the corners fade out."""
    pixels = render(shot.scene, shot.seed, shot.size, shot.label)
    if alpha:
        height, width = pixels.shape[:2]
        rows, cols = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        cover = np.clip(6 * (1.25 - np.hypot(rows, cols)), 0, 1) * 255
        pixels = np.dstack([pixels, cover.astype(np.uint8)])
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", dpi=(72, 72), optimize=True)
    return buffer.getvalue()


def png16(shot: Shot) -> bytes:
    """A 16-bit RGB PNG whose lower bytes carry signal."""
    exact = render_exact(shot.scene, shot.seed, shot.size, shot.label)
    deep = (cv2.GaussianBlur(exact, (0, 0), 0.8) * 257 + 0.5).astype(np.uint16)
    done, data = cv2.imencode(".png", deep[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    if not done:
        message = "OpenCV cannot write a 16-bit PNG"
        raise RuntimeError(message)
    return data.tobytes()


def tiff(shot: Shot) -> bytes:
    """A deflated 8-bit RGB TIFF with a resolution."""
    pixels = render(shot.scene, shot.seed, shot.size, shot.label)
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        pixels,
        photometric="rgb",
        compression="zlib",
        predictor=True,
        resolution=(300, 300),
        resolutionunit=2,
        software="FC-20 firmware 1.4",
        metadata=None,
    )
    return buffer.getvalue()


def webp(shot: Shot) -> bytes:
    """A lossy WebP with EXIF."""
    pixels = render(shot.scene, shot.seed, shot.size, shot.label)
    buffer = io.BytesIO()
    block = b"Exif\0\0" + exif_block(shot, shot.size)
    Image.fromarray(pixels).save(buffer, "WEBP", quality=shot.quality, exif=block)
    return buffer.getvalue()


def thumbnail_png(shot: Shot, edge: int = 64) -> bytes:
    """A map symbol or preview: a small square PNG."""
    pixels = render(shot.scene, shot.seed, shot.size, shot.label)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((edge, edge), Image.Resampling.BOX).save(buffer, "PNG")
    return buffer.getvalue()


def pdf(text: str) -> bytes:
    """A valid one-page PDF."""
    stream = f"BT /F1 18 Tf 40 90 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        (
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 180] /Contents 4 0 R "
            b"/Resources << /Font << /F1 5 0 R >> >> >>"
        ),
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    body, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        places.append(len(body))
        body += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = b"xref\n0 6\n0000000000 65535 f \n" + b"".join(
        b"%010d 00000 n \n" % at for at in places
    )
    return (
        body + table + b"trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(body)
    )


def box(kind: bytes, content: bytes) -> bytes:
    """One ISO base media box."""
    return struct.pack(">I4s", 8 + len(content), kind) + content


def mp4() -> bytes:
    """An empty MP4: a brand, a movie header without tracks, and some media bytes."""
    matrix = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    times = struct.pack(">5I", 0, 0, 0, 1000, 1000)
    header = times + struct.pack(">IH10x", 0x10000, 0x100) + matrix + bytes(24)
    brand = box(b"ftyp", b"isom" + struct.pack(">I", 512) + b"isomiso2mp41")
    movie = box(b"moov", box(b"mvhd", header + struct.pack(">I", 1)))
    return brand + movie + box(b"mdat", bytes(range(256)))


def truncated(data: bytes, share: float = 0.55) -> bytes:
    """The first part of a file whose transfer broke off."""
    return data[: int(len(data) * share)]
