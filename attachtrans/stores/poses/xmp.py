"""The simple properties of an XMP packet, by name: attributes, elements, lists.

Packets come from anywhere and are often no XML that a parser takes: undeclared prefixes, two roots,
cut ends. They are searched with regular expressions that pass over each byte a few times at most:
entities beyond XML's own five are never expanded, nothing nests, nothing is fetched.

Source: ISO 16684-1, section 7 (serialisation as RDF/XML).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from xml.sax.saxutils import unescape

from attachtrans.stores.poses.base import number

_MOST_BYTES = 1 << 20
"""Of a packet; what describes a camera stands in the first few thousand."""

# Namespaces, without their closing slash, and what their prefix is here whatever it is there.
_PREFIXES = MappingProxyType(
    {
        "http://ns.adobe.com/exif/1.0": "exif",
        "http://ns.adobe.com/tiff/1.0": "tiff",
        "http://ns.adobe.com/xap/1.0": "xmp",
        "http://ns.google.com/photos/1.0/panorama": "GPano",
        "http://www.dji.com/drone-dji/1.0": "drone-dji",
        "http://www.parrot.com/drone-parrot/1.0": "drone-parrot",
        "http://pix4d.com/camera/1.0": "Camera",
        "http://ns.sensefly.com/Camera/1.0": "Camera",
    }
)
_NAME = r"[A-Za-z_][\w.-]*+"
_QUOTED = r"(?:\"([^\"<]*+)\"|'([^'<]*+)')"
_NAMESPACE = re.compile(rf"\bxmlns:({_NAME})\s*+=\s*+{_QUOTED}")
_ATTRIBUTE = re.compile(rf"(?<![\w:.-])({_NAME}):({_NAME})\s*+=\s*+{_QUOTED}")
_ELEMENT = re.compile(rf"<({_NAME}):({_NAME})(?=[\s>])[^<>]*+>([^<]++)</\1:\2\s*+>")
_LIST = re.compile(
    rf"<({_NAME}):({_NAME})(?=[\s>])[^<>]*+>\s*+<rdf:(Seq|Bag)\s*+>"
    r"((?:\s*+<rdf:li\b[^<>]*+>[^<]*+</rdf:li\s*+>)++)\s*+</rdf:\3\s*+>"
)
_MEMBER = re.compile(r"<rdf:li\b[^<>]*+>([^<]*+)<")
_RATIO = re.compile(r"([+-]?\d{1,20})\s*/\s*(\d{1,20})")


def read_xmp(packet: bytes | None) -> Mapping[str, str]:
    """Name with prefix -> text of the properties of a packet, {} of none.

    Prefixes are those of this module's table (exif, tiff, xmp, GPano, drone-dji, drone-parrot,
    Camera), for other namespaces the packet's own. Members of a list are joined by commas. Of
    properties that occur twice, as attribute and element, the attribute counts, else the first.
    """
    text = (packet or b"")[:_MOST_BYTES].decode("utf-8", "replace")
    prefixes = {
        prefix: _PREFIXES.get((double or single).rstrip("/"), prefix)
        for prefix, double, single in _NAMESPACE.findall(text)
    }
    found: dict[str, str] = {}

    def put(prefix: str, name: str, value: str) -> None:
        plain = unescape(value, {"&quot;": '"', "&apos;": "'"}).strip()
        found.setdefault(f"{prefixes.get(prefix, prefix)}:{name}", plain)

    for prefix, name, double, single in _ATTRIBUTE.findall(text):
        put(prefix, name, double or single)
    for prefix, name, value in _ELEMENT.findall(text):
        put(prefix, name, value)
    for prefix, name, _, members in _LIST.findall(text):
        put(prefix, name, ",".join(member.strip() for member in _MEMBER.findall(members)))
    return found


def real(properties: Mapping[str, str], name: str) -> float | None:
    """A finite number, also one written as "136169/100"; None for all else."""
    text = properties.get(name, "")
    ratio = _RATIO.fullmatch(text.strip())
    if ratio is None:
        return number(text)
    top, bottom = (int(part) for part in ratio.groups())
    return top / bottom if bottom else None


def reals(properties: Mapping[str, str], *names: str) -> tuple[float, ...] | None:
    """All of several numbers, or None."""
    values = [real(properties, name) for name in names]
    return tuple(value for value in values if value is not None) if None not in values else None
