"""Contestants for the codec: JPEG to pixels and back, one thread each."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from benchmarks.inputs import QUALITY

Pair = tuple[Callable[[bytes], Any], Callable[[Any], bytes]]


def ours() -> Pair:
    """attachtrans.image, which also carries the photo's tags over."""
    from attachtrans.image import EncodeOptions, Limits, decode, encode

    def write(photo: Any) -> bytes:
        options = EncodeOptions()
        return encode(photo, photo.pixels, options=options, history=None, anonymise=False).data

    return (lambda data: decode(data, Limits())), write


def pillow() -> Pair:
    """Pillow to an array and back; tags and profile are lost."""

    def write(pixels: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY)
        return buffer.getvalue()

    return (lambda data: np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))), write


def opencv() -> Pair:
    """OpenCV with its blue-green-red order put right; tags and profile are lost."""

    def read(data: bytes) -> np.ndarray:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)

    def write(pixels: np.ndarray) -> bytes:
        turned = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        return cv2.imencode(".jpg", turned, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()

    return read, write


CODECS: dict[str, Callable[[], Pair]] = {"ours": ours, "pillow": pillow, "opencv": opencv}


def recode(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Every photo in `files` decoded and encoded by the codec that `codec` names."""
    cv2.setNumThreads(1)
    read, write = CODECS[settings["codec"]]()
    contents = [path.read_bytes() for path in sorted(Path(settings["files"]).glob("*.jpg"))]
    write(read(contents[0]))
    wall, cpu = time.perf_counter(), time.process_time()
    decoding = 0.0
    for data in contents:
        started = time.process_time()
        photo = read(data)
        decoding += time.process_time() - started
        write(photo)
    cpu = time.process_time() - cpu
    return {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": cpu,
        "decode_cpu_s": decoding,
        "encode_cpu_s": cpu - decoding,
    }
