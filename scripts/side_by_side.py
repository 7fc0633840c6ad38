"""Before and after in one picture: photos of two GeoPackages with the same __ATTACH table.

    python scripts/side_by_side.py BEFORE.gpkg AFTER.gpkg TABLE PICTURE.png [ATTACHMENTID ...]

Left: the part of the photo with most detail before, enlarged as any viewer does (bicubic).
Right: the same after.
"""

from __future__ import annotations

import io
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

PART = 320, 240  # pixels of the result that are shown of each photo
PANEL = 480, 360  # the same on the picture, enlarged
GAP, HEADER = 12, 26


def photo(package: Path, table: str, key: int) -> Image.Image:
    """One attachment, upright, as RGB."""
    with closing(sqlite3.connect(f"{package.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        sql = f'SELECT DATA FROM "{table}" WHERE ATTACHMENTID = ?'
        row = connection.execute(sql, (key,)).fetchone()
    return ImageOps.exif_transpose(Image.open(io.BytesIO(row[0]))).convert("RGB")


def liveliest(image: Image.Image) -> tuple[int, int, int, int]:
    """The window of PART's size (left, top, right, bottom) with the strongest edges."""
    edges = image.convert("L").filter(ImageFilter.FIND_EDGES)
    mean = cv2.blur(np.asarray(edges, np.float32), PART)
    half = PART[0] // 2, PART[1] // 2
    inner = mean[half[1] : image.height - half[1], half[0] : image.width - half[0]]
    top, left = np.unravel_index(int(inner.argmax()), inner.shape)
    return int(left), int(top), int(left) + PART[0], int(top) + PART[1]


def panels(before: Image.Image, after: Image.Image) -> tuple[Image.Image, Image.Image]:
    """The same part of both pictures at the scale of the second."""
    enlarged = before.resize(after.size, Image.Resampling.BICUBIC)
    frame = liveliest(enlarged)
    first, second = (
        image.resize(PANEL, Image.Resampling.BICUBIC, box=frame) for image in (enlarged, after)
    )
    return first, second


def draw(before: Path, after: Path, table: str, keys: Sequence[int]) -> Image.Image:
    """One row a photo."""
    row = PANEL[1] + GAP + HEADER
    width = 2 * PANEL[0] + 3 * GAP
    canvas = Image.new("RGB", (width, row * len(keys) + GAP), (245, 245, 245))
    pen = ImageDraw.Draw(canvas)
    for number, key in enumerate(keys):
        first, second = photo(before, table, key), photo(after, table, key)
        top = GAP + number * row
        for column, (image, shown, what) in enumerate(
            zip((first, second), panels(first, second), ("before", "after"), strict=True)
        ):
            left = GAP + column * (PANEL[0] + GAP)
            title = f"{what}: {image.width} x {image.height} px (attachment {key})"
            pen.text((left, top + 6), title, fill=(20, 20, 20))
            canvas.paste(shown, (left, top + HEADER))
    return canvas


def main(arguments: Sequence[str]) -> None:
    """Draw and save."""
    before, after, table, picture, *keys = arguments
    draw(Path(before), Path(after), table, [int(key) for key in keys]).save(picture)


if __name__ == "__main__":
    main(sys.argv[1:])
