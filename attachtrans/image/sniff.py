"""What a file is, by its first bytes (the names and types that sources declare are often wrong)."""

from __future__ import annotations

from attachtrans.image.base import Media


def _image(media_type: str, extension: str) -> Media:
    return Media(media_type=media_type, extension=extension, is_image=True)


def _other(media_type: str, extension: str) -> Media:
    return Media(media_type=media_type, extension=extension, is_image=False)


JPEG = _image("image/jpeg", ".jpg")
PNG = _image("image/png", ".png")
TIFF = _image("image/tiff", ".tif")
WEBP = _image("image/webp", ".webp")
BMP = _image("image/bmp", ".bmp")
GIF = _image("image/gif", ".gif")
HEIC = _image("image/heic", ".heic")
HEIF = _image("image/heif", ".heif")
UNKNOWN = _other("application/octet-stream", ".bin")

_ZIP = _other("application/zip", ".zip")
_MP4 = _other("video/mp4", ".mp4")
_MOV = _other("video/quicktime", ".mov")
_PDF = _other("application/pdf", ".pdf")

# Order is order of trial: the longer of two signatures with a common start comes first.
_SIGNATURES: tuple[tuple[bytes, Media], ...] = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"II*\0\x10\0\0\0CR", _image("image/x-canon-cr2", ".cr2")),
    (b"II*\0", TIFF),
    (b"MM\0*", TIFF),
    (b"II+\0\x08\0\0\0", TIFF),
    (b"MM\0+\0\x08\0\0", TIFF),
    (b"IIU\0", _image("image/x-panasonic-rw2", ".rw2")),
    (b"IIRO", _image("image/x-olympus-orf", ".orf")),
    (b"IIRS", _image("image/x-olympus-orf", ".orf")),
    (b"MMOR", _image("image/x-olympus-orf", ".orf")),
    (b"FUJIFILMCCD-RAW", _image("image/x-fuji-raf", ".raf")),
    (b"FOVb", _image("image/x-sigma-x3f", ".x3f")),
    (b"\0MRM", _image("image/x-minolta-mrw", ".mrw")),
    (b"\0\0\0\x0cjP  \r\n\x87\n", _image("image/jp2", ".jp2")),
    (b"\xff\x4f\xff\x51", _image("image/x-jp2-codestream", ".j2k")),
    (b"\0\0\0\x0cJXL \r\n\x87\n", _image("image/jxl", ".jxl")),
    (b"\xff\x0a", _image("image/jxl", ".jxl")),
    (b"8BPS", _image("image/vnd.adobe.photoshop", ".psd")),
    (b"%PDF-", _PDF),
    (b"PK\x03\x04", _ZIP),
    (b"PK\x05\x06", _ZIP),
    (b"\x1f\x8b\x08", _other("application/gzip", ".gz")),
    (b"7z\xbc\xaf\x27\x1c", _other("application/x-7z-compressed", ".7z")),
    (b"SQLite format 3\0", _other("application/vnd.sqlite3", ".sqlite")),
    (b"\x1aE\xdf\xa3", _other("video/webm", ".webm")),
    (b"OggS", _other("audio/ogg", ".ogg")),
    (b"fLaC", _other("audio/flac", ".flac")),
    (b"#!AMR", _other("audio/amr", ".amr")),
    (b"ID3", _other("audio/mpeg", ".mp3")),
    (b"\xff\xfb", _other("audio/mpeg", ".mp3")),
)

# ISO base media files: brand of the "ftyp" box (ISO/IEC 14496-12; the registry is mp4ra.org).
_BRANDS: dict[bytes, Media] = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), HEIC),
    **dict.fromkeys((b"avif", b"avis"), _image("image/avif", ".avif")),
    **dict.fromkeys((b"mif1", b"msf1", b"mif2"), HEIF),
    b"crx ": _image("image/x-canon-cr3", ".cr3"),
    b"qt  ": _MOV,
    b"M4A ": _other("audio/mp4", ".m4a"),
    b"3gp4": _other("video/3gpp", ".3gp"),
    b"3gp5": _other("video/3gpp", ".3gp"),
}
# The major brand may be a generic one; the compatible brands then say which codec is inside.
_GENERIC_BRANDS = frozenset({b"mif1", b"msf1", b"mif2"})

_RIFF: dict[bytes, Media] = {
    b"WEBP": WEBP,
    b"WAVE": _other("audio/wav", ".wav"),
    b"AVI ": _other("video/x-msvideo", ".avi"),
}

_PDF_SEARCH_BYTES = 1024
_BMP_HEADER_SIZES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})


def sniff(head: bytes) -> Media:
    """Tell what a file is from its first bytes (4 KiB suffice; fewer say less).

    Camera raw that is built on TIFF (DNG, NEF, ARW) comes out as TIFF here; `probe` tells it apart.
    """
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12], UNKNOWN)
    signed = next((media for start, media in _SIGNATURES if head.startswith(start)), None)
    if signed is not None:
        return signed
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADER_SIZES:
        return BMP
    if head[4:8] in {b"moov", b"mdat", b"wide", b"free"}:
        return _MOV
    return _PDF if b"%PDF-" in head[:_PDF_SEARCH_BYTES] else UNKNOWN


def _by_brand(head: bytes) -> Media:
    length = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, length - 3, 4))]
    if brands[0] in _GENERIC_BRANDS:
        for brand in brands[1:]:
            if brand in _BRANDS and brand not in _GENERIC_BRANDS:
                return _BRANDS[brand]
    return _BRANDS.get(brands[0], _MP4)
