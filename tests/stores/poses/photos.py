"""Photos with tags for the tests of pose readers; Pillow writes the EXIF."""

import io
from fractions import Fraction

from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from attachtrans.stores.poses.photo_parts import Carried, ExifTags
from attachtrans.stores.poses.xmp import read_xmp
from attachtrans.types import Size

EXIF, GPS = 0x8769, 0x8825

SPACES = {
    "exif": "http://ns.adobe.com/exif/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "GPano": "http://ns.google.com/photos/1.0/panorama/",
    "drone-dji": "http://www.dji.com/drone-dji/1.0/",
    "drone-parrot": "http://www.parrot.com/drone-parrot/1.0/",
    "Camera": "http://pix4d.com/camera/1.0",
}


def ratio(value):
    exact = Fraction(value).limit_denominator(1_000_000)
    return IFDRational(exact.numerator, exact.denominator)


def sexagesimal(degrees):
    exact = abs(Fraction(degrees).limit_denominator(10**9))
    minutes = (exact - int(exact)) * 60
    return tuple(ratio(part) for part in (int(exact), int(minutes), (minutes % 1) * 60))


def gps(longitude=None, latitude=None, height=None, **more):
    """GPS directory; `more`: direction, direction_ref, and any tag as t<number>."""
    tags = {}
    if latitude is not None:
        tags |= {1: "N" if latitude >= 0 else "S", 2: sexagesimal(latitude)}
        tags |= {3: "E" if longitude >= 0 else "W", 4: sexagesimal(longitude)}
    if height is not None:
        tags |= {5: b"\0" if height >= 0 else b"\1", 6: ratio(abs(height))}
    if "direction" in more:
        tags |= {16: more.pop("direction_ref", "T"), 17: ratio(more.pop("direction"))}
    return tags | {int(name[1:]): value for name, value in more.items()}


def block(main=None, exif=None, gps=None):
    """EXIF, with "Exif" before it, of {tag: value} for each directory."""
    made = Image.Exif()
    for tag, value in (main or {}).items():
        made[tag] = value
    for pointer, tags in ((EXIF, exif), (GPS, gps)):
        if tags:
            made.get_ifd(pointer).update(tags)
            made[pointer] = made.get_ifd(pointer)
    return made.tobytes()


def packet(attributes=None, elements=""):
    """XMP with properties as attributes, and whatever elements."""
    spaces = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in SPACES.items())
    values = " ".join(f'{name}="{value}"' for name, value in (attributes or {}).items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta '
        'xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {spaces} {values}>{elements}</rdf:Description></rdf:RDF>'
        '</x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def jpeg(size=(64, 48), *, xmp=None, **tags):
    """A JPEG; `tags`: main, exif, gps."""
    options = {"exif": block(**tags)} if tags else {}
    if xmp is not None:
        options["xmp"] = xmp
    target = io.BytesIO()
    Image.new("RGB", size, (90, 120, 80)).save(target, "JPEG", **options)
    return target.getvalue()


def carried(size=(4000, 3000), *, orientation=1, xmp=None, **tags):
    """What readers start from, without a file around it."""
    from attachtrans.image.ifd import Block

    exif = Block(block(**tags).removeprefix(b"Exif\0\0")) if tags else None
    return Carried(
        size=Size(*size),
        orientation=orientation,
        exif=ExifTags(exif),
        xmp=read_xmp(None if xmp is None else packet(xmp)),
    )
