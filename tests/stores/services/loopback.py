"""A web server on loopback whose answers a test writes, and a scene that it may show."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.transform import Affine

EDGE = 6_378_137.0 * np.pi
ZOOM = 14
CELL = 2.0 * EDGE / (256 * 2**ZOOM)
FIRST = (8500, 5500)
"""(column, row) of the scene's first tile at ZOOM."""
TILES = (4, 3)


@dataclass(frozen=True)
class Reply:
    body: bytes = b""
    status: int = 200
    media: str = "image/png"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int = 0  # bytes that are promised and not sent
    delay_s: float = 0.0


@dataclass(frozen=True)
class Request:
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass
class Server:
    url: str
    answer: Callable[[Request], Reply]
    requests: list[Request] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    at_a_time: int = 0
    most_at_a_time: int = 0

    def paths(self) -> list[str]:
        return [request.path for request in self.requests]


@contextmanager
def serving(answer: Callable[[Request], Reply], host: str = "127.0.0.1") -> Iterator[Server]:
    """A server in threads; `answer` may be changed while it runs."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name.lower(): value for name, value in parse_qsl(parts.query, True)}
            request = Request(parts.path, query, dict(self.headers.items()))
            with lock:
                server.requests.append(request)
                server.times.append(time.monotonic())
                server.at_a_time += 1
                server.most_at_a_time = max(server.most_at_a_time, server.at_a_time)
            try:
                self._send(server.answer(request))
            finally:
                with lock:
                    server.at_a_time -= 1

        def _send(self, reply: Reply) -> None:
            time.sleep(reply.delay_s)
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.media)
            self.send_header("Content-Length", str(len(reply.body) + reply.cut))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if reply.status != 204:
                self.wfile.write(reply.body)
            self.close_connection = self.close_connection or reply.cut > 0

        def log_message(self, *_: object) -> None: ...

    web = ThreadingHTTPServer((host, 0), Handler)
    web.daemon_threads = True
    server = Server(f"http://{host}:{web.server_address[1]}", answer)
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        web.shutdown()
        web.server_close()
        thread.join()


@cache
def scene_once() -> tuple[NDArray[np.uint8], Affine]:
    """(3, 768, 1024) that looks like imagery, on the tiles of Web Mercator, and its transform."""
    height, width = TILES[1] * 256, TILES[0] * 256
    rows, cols = np.mgrid[:height, :width]
    noise = np.random.default_rng(5).integers(-20, 20, (3, height, width))
    smooth = np.stack([cols / 4.5, rows / 3.5, (cols + rows) / 8.0])
    pixels = np.clip(smooth + noise, 1, 254).astype(np.uint8)
    left, top = -EDGE + FIRST[0] * 256 * CELL, EDGE - FIRST[1] * 256 * CELL
    return pixels, Affine(CELL, 0.0, left, 0.0, -CELL, top)


def bounds(transform: Affine, width: int, height: int) -> tuple[float, float, float, float]:
    right, bottom = at(transform, width, height)
    return transform.c, bottom, right, transform.f


def at(transform: Affine, col: float, row: float) -> tuple[float, float]:
    return transform.c + col * transform.a, transform.f + row * transform.e


def write_scene(path: Path, *, nodata: int | None = None) -> Path:
    pixels, transform = scene_once()
    _, height, width = pixels.shape
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "tiled": True, "nodata": nodata}
    size = {"width": width, "height": height, "blockxsize": 256, "blockysize": 256}
    with rasterio.open(
        path, "w", crs="EPSG:3857", transform=transform, **profile, **size
    ) as dataset:
        dataset.write(pixels)
        dataset.build_overviews([2, 4], rasterio.enums.Resampling.average)
    return path


def png(pixels: NDArray[np.uint8]) -> bytes:
    """(1, 3 or 4, height, width) as PNG."""
    image = Image.fromarray(np.moveaxis(pixels, 0, 2).squeeze())
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def jpeg(pixels: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.moveaxis(pixels, 0, 2)).save(stream, "JPEG", quality=95)
    return stream.getvalue()


@cache
def tile_of_scene(zoom: int, col: int, row: int) -> bytes | None:
    """PNG of a tile of the scene at ZOOM, None beside it."""
    pixels, _ = scene_once()
    at, down = col - FIRST[0], row - FIRST[1]
    if zoom != ZOOM or not (0 <= at < TILES[0] and 0 <= down < TILES[1]):
        return None
    return png(pixels[:, down * 256 : down * 256 + 256, at * 256 : at * 256 + 256])


def tile_server(request: Request) -> Reply:
    """/z/x/y.png of the scene, 404 beside it."""
    zoom, col, row = (int(part) for part in request.path.removesuffix(".png").split("/")[-3:])
    body = tile_of_scene(zoom, col, row)
    return Reply(status=404, media="text/plain", body=b"no") if body is None else Reply(body)
