"""Answers as pixels, or why they are none: servers send error pages with status 200, too."""

from __future__ import annotations

import json
import re
import warnings
from threading import Lock
from typing import Any

import numpy as np

from attachtrans.errors import ImageError
from attachtrans.image import Limits, decode, sniff
from attachtrans.stores.raster.image import gdal_errors
from attachtrans.stores.services.base import TOKEN_VARIABLE, Answer, Picture
from attachtrans.stores.services.client import BadAnswerError
from attachtrans.types import Size

_EXCEPTION = re.compile(
    r"<(?:\w+:)?(ServiceException|ExceptionText)\b[^>]*>(?P<words>.*?)</(?:\w+:)?\1>", re.DOTALL
)
_TITLE = re.compile(r"<title[^>]*>(?P<words>.*?)</title>", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"<!\[CDATA\[|\]\]>|<[^>]*>")
_LONGEST = 300
_ONE = Lock()
_WANTS_TOKEN = (401, 403, 498, 499)


def read_picture(answer: Answer, limits: Limits, bands: int | None = None) -> Picture | None:
    """Decode an answer; None: there is nothing at that place.

    bands: how many a TIFF has that all hold data, whatever the file calls the last one.

    Raises:
        BadAnswerError: the server says that something is wrong, in whatever format.
        ImageError: a damaged picture, or one beyond the limits.
    """
    if answer.status != 200 or not answer.data:
        return None
    media = sniff(answer.data[:4096])
    if media.media_type == "image/tiff":
        return _tiff(answer.data, limits, bands)
    if not media.is_image:
        raise refusal(answer)
    photo = decode(answer.data, limits)
    full = np.full(photo.pixels.shape[1:], 255, np.uint8)
    mask = full if photo.alpha is None else np.where(photo.alpha > 0, full, np.uint8(0))
    return Picture(pixels=photo.pixels, mask=mask)


def _tiff(data: bytes, limits: Limits, expected: int | None) -> Picture:
    """GDAL knows more of nodata and masks than the codec of photos."""
    from rasterio.io import MemoryFile

    try:
        # One at a time: how warnings are silenced is the whole process's.
        with _ONE, warnings.catch_warnings(), MemoryFile(data) as file:
            warnings.simplefilter("ignore")  # no georeference; nodata beside alpha
            with file.open(driver="GTiff") as dataset:
                dtype = np.result_type(*(np.dtype(name) for name in dataset.dtypes))
                limits.check(Size(dataset.width, dataset.height), dataset.count, dtype)
                return _of_dataset(dataset, expected)
    except gdal_errors() as error:
        raise ImageError(f"the picture cannot be decoded ({error})") from error


def _of_dataset(dataset: Any, expected: int | None) -> Picture:
    from rasterio.enums import ColorInterp, MaskFlags

    all_data = dataset.count == expected
    bands = [
        number
        for number, kind in enumerate(dataset.colorinterp, 1)
        if all_data or kind is not ColorInterp.alpha
    ]
    pixels = dataset.read(bands)
    if all_data and MaskFlags.alpha in dataset.mask_flag_enums[0]:
        mask = np.full(pixels.shape[1:], 255, np.uint8)
    else:
        mask = np.where(dataset.dataset_mask() > 0, np.uint8(255), np.uint8(0))
    return Picture(pixels=pixels, mask=mask, nodata=dataset.nodata)


def read_json(answer: Answer) -> dict[str, Any]:
    """An answer of an ArcGIS server.

    Raises:
        BadAnswerError: an error, or no JSON object.
    """
    if answer.status != 200:
        raise BadAnswerError(
            "there is no such service (404): look at the address in a browser", passes=False
        )
    found = _json(answer.data)
    if found is None or "error" in found:
        raise refusal(answer)
    return found


def refusal(answer: Answer) -> BadAnswerError:
    """What an answer that is no picture says."""
    document = _json(answer.data)
    if document is not None:
        return _esri_refusal(document)
    text = answer.data[:65536].decode("utf-8", errors="replace")
    if found := _EXCEPTION.search(text):
        return BadAnswerError(f"the server says: {_words(found['words'])}", passes=False)
    if text.lstrip()[:1] != "<":
        return BadAnswerError(
            f"what came is no picture ({answer.media_type or 'no type'}, {len(answer.data)} bytes)",
            passes=True,
        )
    if re.search(r"<(?:\w+:)?(?:ServiceException|Exception)", text):
        return BadAnswerError(f"the server says: {_words(text)}", passes=False)
    title = _TITLE.search(text)
    words = _words(title["words"] if title else text)
    return BadAnswerError(f"a web page came instead of a picture: {words}", passes=True)


def _esri_refusal(document: dict[str, Any]) -> BadAnswerError:
    error = document.get("error")
    if not isinstance(error, dict):
        return BadAnswerError(f"the server says: {_words(json.dumps(document))}", passes=True)
    code = error.get("code")
    details = error.get("details")
    said = [error.get("message"), *(details if isinstance(details, list) else [])]
    words = f"the server says: {code} {_words(' '.join(str(one) for one in said if one))}"
    if code in _WANTS_TOKEN:
        words += f"; set {TOKEN_VARIABLE} to a token that is valid"
    return BadAnswerError(words, passes=isinstance(code, int) and code >= 500)


def _json(data: bytes) -> dict[str, Any] | None:
    if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"{":
        return None
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _words(text: str) -> str:
    """In one line, without tags and what a terminal would obey."""
    plain = "".join(letter if letter.isprintable() else " " for letter in _TAG.sub(" ", text))
    line = " ".join(plain.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."
