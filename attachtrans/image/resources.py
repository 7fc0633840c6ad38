"""Photoshop image resources: the block in JPEG's APP13 and TIFF's tag 34377 that holds IPTC.

Source: Adobe Photoshop File Formats Specification, "Image Resources Section". A resource is
"8BIM", a number, a Pascal string padded to even, a length, and data padded to even.
"""

from __future__ import annotations

from collections.abc import Iterator

_SIGNATURE = b"8BIM"
_IPTC = 0x0404
_THUMBNAILS = frozenset({0x0409, 0x040C})


def without_thumbnails(block: bytes) -> bytes:
    """The block without its thumbnails; what cannot be parsed is left out, too."""
    return b"".join(raw for number, raw in _resources(block) if number not in _THUMBNAILS)


def wrapped_iptc(records: bytes) -> bytes:
    """Bare IPTC records (TIFF tag 33723) as a block."""
    head = _SIGNATURE + _IPTC.to_bytes(2, "big") + b"\0\0" + len(records).to_bytes(4, "big")
    return head + records + bytes(len(records) % 2)


def _resources(block: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while block[at : at + 4] == _SIGNATURE and at + 7 <= len(block):
        number = int.from_bytes(block[at + 4 : at + 6], "big")
        name_bytes = 1 + block[at + 6]
        sized = at + 6 + name_bytes + name_bytes % 2
        length = int.from_bytes(block[sized : sized + 4], "big")
        end = sized + 4 + length + length % 2
        if sized + 4 + length > len(block):
            return
        yield number, block[at:end]
        at = end
