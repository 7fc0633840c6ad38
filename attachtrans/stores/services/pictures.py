"""Answers as pixels, or why they are none: servers send error pages with status 200, too."""

from __future__ import annotations

import warnings
from threading import Lock
from typing import Any

import numpy as np

from attachtrans.errors import ImageError
from attachtrans.image import Limits, decode, sniff
from attachtrans.stores.raster.image import gdal_errors
from attachtrans.stores.services.base import Answer, Picture
from attachtrans.stores.services.refusals import BadAnswerError, json_object, refusal
from attachtrans.types import Size

_ONE = Lock()


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
    found = json_object(answer.data)
    if found is None or "error" in found:
        raise refusal(answer)
    return found
