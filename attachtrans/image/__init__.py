"""The photo codec: bytes <-> pixels, with everything that a photo carries besides its pixels.

    media = sniff(head)                       what a file is, by content
    facts = probe(data)                       what its header says
    head = read_head(data)                    its size, EXIF and XMP
    photo = decode(data, Limits())            upright pixels, (bands, height, width)
    needs_format(photo, dtype, bands, options)  "tiff" when its own format cannot hold a result
    encode(photo, pixels, options=..., history=..., anonymise=False).data

Read and written: JPEG, PNG, TIFF, WebP, BMP. Read only: GIF of one frame, HEIC (an extra). All else
raises Untouchable with the reason, and so does what would lose something by being re-encoded:
MPO, motion photos, gain maps, animations, layers, camera raw.
"""

from attachtrans.image.arrays import enlarged, resized_alpha
from attachtrans.image.base import (
    Encoded,
    EncodeOptions,
    Limits,
    Media,
    Photo,
    Probe,
    Untouchable,
)
from attachtrans.image.head import Head, read_head
from attachtrans.image.photo import decode, encode, needs_format
from attachtrans.image.probe import probe
from attachtrans.image.sniff import sniff

__all__ = [
    "EncodeOptions",
    "Encoded",
    "Head",
    "Limits",
    "Media",
    "Photo",
    "Probe",
    "Untouchable",
    "decode",
    "encode",
    "enlarged",
    "needs_format",
    "probe",
    "read_head",
    "resized_alpha",
    "sniff",
]
