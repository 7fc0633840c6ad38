"""Tile services: pixels as in the source, tiles that are none."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from PIL import Image
from pyproj import CRS
from rasterio.enums import Resampling
from rasterio.warp import reproject, transform_bounds

from attachtrans.errors import ArgumentError, SourceError
from attachtrans.geo.gridding import Gridding
from attachtrans.stores.services import Access, ServiceKind, open_service
from attachtrans.types import Window
from tests.stores.services.loopback import (
    CELL,
    FIRST,
    TILES,
    ZOOM,
    Reply,
    at,
    bounds,
    jpeg,
    png,
    scene_once,
    tile_server,
    write_scene,
)


def place_of(request):
    zoom, col, row = (int(part) for part in request.path.removesuffix(".png").split("/")[-3:])
    return zoom, col - FIRST[0], row - FIRST[1]


def test_tiles_on_their_own_grid_are_the_source_pixel_by_pixel(serve, fast, whole):
    server = serve(tile_server)
    service = open_service(f"{server.url}/{{z}}/{{x}}/{{y}}.png", whole, fast)
    pixels, transform = scene_once()
    raster = service.raster
    assert service.kind is ServiceKind.XYZ
    assert f"level {ZOOM} is read" in service.notes[0]
    assert raster.size == (1024, 768)
    assert (raster.bands, raster.dtype, raster.nodata) == (3, np.uint8, None)
    assert raster.colours == ("red", "green", "blue")
    assert raster.crs.to_epsg() == 3857
    np.testing.assert_allclose(
        [raster.transform.a, raster.transform.c, raster.transform.f],
        [CELL, transform.c, transform.f],
    )
    np.testing.assert_array_equal(raster.read(), pixels)
    assert (raster.read_mask() == 255).all()
    window = Window(col=200, row=100, width=300, height=421)
    np.testing.assert_array_equal(
        raster.read(window, bands=[3, 1]), pixels[[2, 0]][(..., *window.slices)]
    )
    raster.close()


def test_each_tile_is_asked_for_once(serve, fast, whole):
    server = serve(tile_server)
    service = open_service(f"{server.url}/{{z}}/{{x}}/{{y}}.png", whole, fast)
    for _ in range(2):
        service.raster.read()
        service.raster.read_mask()
    inside = [path for path in server.paths() if place_of_path(path) is not None]
    assert sorted(inside) == sorted(set(inside))
    assert len(inside) == TILES[0] * TILES[1]
    service.raster.close()


def place_of_path(path):
    _, col, row = (int(part) for part in path.removesuffix(".png").split("/")[-3:])
    at, down = col - FIRST[0], row - FIRST[1]
    return (at, down) if 0 <= at < TILES[0] and 0 <= down < TILES[1] else None


@pytest.mark.parametrize(
    ("template", "last"),
    [("{z}/{x}/{-y}.png", f"/{2**ZOOM - 1 - FIRST[1]}.png"), ("tile?q={q}", "")],
)
def test_tms_and_quadkeys(serve, fast, whole, template, last):
    def answer(request):
        if "q" in request.query:
            key = request.query["q"]
            col = int("".join(str(int(digit) & 1) for digit in key), 2)
            row = int("".join(str(int(digit) >> 1) for digit in key), 2)
            zoom = len(key)
        else:
            zoom, col, flipped = (
                int(part) for part in request.path.removesuffix(".png").split("/")[-3:]
            )
            row = 2**zoom - 1 - flipped
        return tile_server(replace(request, path=f"/{zoom}/{col}/{row}.png"))

    server = serve(answer)
    service = open_service(f"{server.url}/{template}", whole, fast)
    np.testing.assert_array_equal(service.raster.read(), scene_once()[0])
    assert any(path.endswith(last) for path in server.paths())
    service.raster.close()


def test_another_grid_is_what_rasterio_makes_of_the_source(serve, fast, tmp_path):
    server = serve(tile_server)
    path = write_scene(tmp_path / "scene.tif")
    with rasterio.open(path) as dataset:
        left, bottom, *_ = transform_bounds(dataset.crs, "EPSG:25832", *dataset.bounds)
        inner = (left + 1200.0, bottom + 1200.0, left + 4200.0, bottom + 3600.0)
        asked = Gridding(extent=inner, crs=CRS.from_epsg(25832), cell_size=(6.0, 6.0))
        service = open_service(f"{server.url}/{{z}}/{{x}}/{{y}}.png", asked, fast)
        raster = service.raster
        assert raster.size == (500, 400)
        t = raster.transform
        expected = np.zeros((3, 400, 500), np.uint8)
        reproject(
            dataset.read(),
            expected,
            src_transform=dataset.transform,
            src_crs=dataset.crs,
            dst_transform=rasterio.Affine(t.a, t.b, t.c, t.d, t.e, t.f),
            dst_crs="EPSG:25832",
            resampling=Resampling.bilinear,
            tolerance=0.0,
        )
    difference = np.abs(raster.read().astype(int) - expected)
    assert difference.max() <= 2  # noise of 40 between pixels, positions to 1/32 of one
    assert difference.mean() < 0.3
    raster.close()


@pytest.mark.parametrize(
    ("cell", "zoom"), [(CELL * 1.3, ZOOM), (CELL * 1.5, ZOOM - 1), (CELL / 9, 17)]
)
def test_the_level_nearest_to_the_cell_size_is_read(serve, fast, whole, cell, zoom):
    server = serve(
        lambda request: Reply(
            png(
                np.full(
                    (3, 256, 256),
                    sum(map(int, request.path.strip("/").removesuffix(".png").split("/"))) % 251,
                    np.uint8,
                )
            )
        )
    )
    asked = replace(whole, cell_size=(cell, cell))
    service = open_service(
        f"{server.url}/{{z}}/{{x}}/{{y}}.png", asked, Access(rate=None, keep_blank=True)
    )
    assert f"level {zoom} is read" in service.notes[0]
    service.raster.close()


def test_missing_and_transparent_tiles_are_without_data(serve, fast, whole):
    clear = png(
        np.concatenate([np.full((3, 256, 256), 9, np.uint8), np.zeros((1, 256, 256), np.uint8)])
    )
    replies = {
        (0, 0): Reply(b"", status=404),
        (1, 1): Reply(b"", status=204),
        (2, 2): Reply(clear),
        (3, 0): Reply(b""),
    }

    def answer(request):
        return replies.get(place_of(request)[1:]) or tile_server(request)

    server = serve(answer)
    service = open_service(f"{server.url}/{{z}}/{{x}}/{{y}}.png", whole, fast)
    expected = np.full((3, 4), 255)
    for col, row in replies:
        expected[row, col] = 0
    np.testing.assert_array_equal(
        service.raster.read_mask(), np.kron(expected, np.ones((256, 256), int))
    )
    assert not service.raster.read(Window(col=512, row=512, width=256, height=256)).any()
    assert "3 are missing and 1 are transparent" in service.notes[1]
    service.raster.close()


def test_half_transparent_tiles_are_masked_by_pixel(serve, fast, whole):
    pixels, _ = scene_once()
    alpha = np.full((1, 256, 256), 255, np.uint8)
    alpha[:, 100:] = 0

    def answer(request):
        if place_of(request)[1:] == (0, 0):
            return Reply(png(np.concatenate([pixels[:, :256, :256], alpha])))
        return tile_server(request)

    service = open_service(f"{serve(answer).url}/{{z}}/{{x}}/{{y}}.png", whole, fast)
    np.testing.assert_array_equal(service.raster.read_mask()[:256, :256], alpha[0])
    np.testing.assert_array_equal(service.raster.read()[:, :100, :256], pixels[:, :100, :256])
    assert not service.raster.read()[:, 100:256, :256].any()
    service.raster.close()


NOT_YET = jpeg(np.random.default_rng(1).integers(0, 255, (3, 256, 256), np.uint8))


def test_the_same_picture_at_many_places_is_no_imagery(serve, fast, whole):
    blank = {(0, 0), (1, 2), (3, 1)}

    def answer(request):
        return Reply(NOT_YET) if place_of(request)[1:] in blank else tile_server(request)

    service = open_service(f"{serve(answer).url}/{{z}}/{{x}}/{{y}}.png", whole, fast)
    mask = service.raster.read_mask()[::256, ::256]
    assert {(col, row) for row, col in zip(*np.nonzero(mask == 0), strict=True)} == blank
    service.raster.close()
    kept = open_service(
        f"{serve(answer).url}/{{z}}/{{x}}/{{y}}.png", whole, fast.with_(keep_blank=True)
    )
    assert kept.raster.read_mask().all()
    kept.raster.close()


def test_a_placeholder_is_told_by_the_tiles_around_where_the_area_is_small(serve, fast, whole):
    """The area is two tiles: one is imagery, one a placeholder that lies all around, too."""

    def answer(request):
        return tile_server(request) if place_of(request)[1:] == (1, 1) else Reply(NOT_YET)

    _, transform = scene_once()
    left, top = at(transform, 256, 256)
    asked = replace(whole, extent=(left, top - 256 * CELL, left + 512 * CELL, top))
    service = open_service(f"{serve(answer).url}/{{z}}/{{x}}/{{y}}.png", asked, fast)
    mask = service.raster.read_mask()
    assert mask[:, :256].all()
    assert not mask[:, 256:].any()
    service.raster.close()


@pytest.mark.parametrize(
    "reply", [Reply(b"no", status=404), Reply(NOT_YET), Reply(b"", status=204)]
)
def test_a_service_that_shows_nothing_is_an_error(serve, fast, whole, reply):
    server = serve(lambda request: reply)
    with pytest.raises(SourceError, match=r"127\.0\.0\.1.*12 tiles looked at.*browser.*--extent"):
        open_service(f"{server.url}/{{z}}/{{x}}/{{y}}.png?key=abc", whole, fast)


def test_gray_and_palette_tiles_come_as_rgb_beside_rgb(serve, fast, whole):
    pixels, _ = scene_once()
    stream = io.BytesIO()
    palette = Image.fromarray(np.moveaxis(pixels[:, :256, :256], 0, 2)).quantize(16)
    palette.save(stream, "PNG")
    special = {(0, 0): stream.getvalue(), (1, 0): png(pixels[:1, :256, 256:512])}

    def answer(request):
        body = special.get(place_of(request)[1:])
        return tile_server(request) if body is None else Reply(body)

    service = open_service(f"{serve(answer).url}/{{z}}/{{x}}/{{y}}.png", whole, fast)
    found = service.raster.read()
    np.testing.assert_array_equal(
        found[:, :256, :256], np.moveaxis(np.asarray(palette.convert("RGB")), 2, 0)
    )
    np.testing.assert_array_equal(
        found[:, :256, 256:512], np.repeat(pixels[:1, :256, 256:512], 3, axis=0)
    )
    service.raster.close()


@pytest.mark.parametrize("side", [128, 512])
def test_tiles_of_another_size_are_refused(serve, fast, whole, side):
    server = serve(lambda request: Reply(png(scene_once()[0][:, :side, :side])))
    with pytest.raises(SourceError, match=rf"{side} x {side} pixels .*#tilesize={side}"):
        open_service(f"{server.url}/{{z}}/{{x}}/{{y}}.png", whole, fast.with_(keep_blank=True))


def test_so_many_tiles_are_asked_for_at_a_time(serve, fast, whole):
    def answer(request):
        return replace(tile_server(request), delay_s=0.02)

    server = serve(answer)
    access = fast.with_(parallel=3)
    service = open_service(f"{server.url}/{{z}}/{{x}}/{{y}}.png", whole, access)
    service.raster.read()
    service.raster.close()
    assert 2 <= server.most_at_a_time <= 3


def test_a_failing_tile_in_the_middle_of_a_read_is_an_error(serve, fast, whole):
    broken = []

    def answer(request):  # at this level there are more tiles than are looked at first
        _, col, row = (int(part) for part in request.path.removesuffix(".png").split("/")[-3:])
        tile = Reply(png(np.full((3, 256, 256), (col * 7 + row * 3) % 251, np.uint8)))
        return Reply(b"out", status=500) if broken else tile

    server = serve(answer)
    asked = replace(whole, cell_size=(CELL / 4, CELL / 4))
    service = open_service(
        f"{server.url}/{{z}}/{{x}}/{{y}}.png", asked, fast.with_(keep_blank=True)
    )
    broken.append(True)
    with pytest.raises(SourceError, match=r"/16/\d+/\d+\.png: .*500.*Asked 3 times"):
        service.raster.read()
    service.raster.close()


def test_tiles_of_512_pixels(serve, fast, whole):
    pixels, _ = scene_once()

    def answer(request):
        zoom, col, row = (int(p) for p in request.path.removesuffix(".png").split("/")[-3:])
        assert zoom == ZOOM - 1
        at, down = col * 2 - FIRST[0], row * 2 - FIRST[1]
        if not (0 <= at < 4 and 0 <= down < 2):
            return Reply(status=404)
        return Reply(png(pixels[:, down * 256 : down * 256 + 512, at * 256 : at * 256 + 512]))

    url = f"{serve(answer).url}/{{z}}/{{x}}/{{y}}.png#tilesize=512&zmax=18"
    service = open_service(url, whole, fast)
    np.testing.assert_array_equal(service.raster.read()[:, :512], pixels[:, :512])
    assert not service.raster.read_mask()[512:].any()
    service.raster.close()


def test_an_extent_is_needed_and_a_cell_size_where_zooms_are_not_known(fast, whole):
    url = "http://127.0.0.1:9/{z}/{x}/{y}.png"
    with pytest.raises(ArgumentError, match=r"--extent.*--extent-crs.*--cell-size"):
        open_service(url, Gridding(), fast)
    with pytest.raises(ArgumentError, match="--cell-size"):
        open_service(url, replace(whole, cell_size=None), fast)


def test_an_extent_beside_the_world_is_refused_before_anything_is_asked(fast, whole):
    asked = replace(whole, extent=(3e7, 0.0, 3.1e7, 100.0))
    with pytest.raises(ArgumentError, match="lies beside"):
        open_service("http://127.0.0.1:9/{z}/{x}/{y}.png", asked, fast)


def test_an_extent_in_longitudes_up_to_the_edge_of_web_mercator(serve, fast):
    def answer(request):
        return Reply(png(np.full((3, 256, 256), sum(map(ord, request.path)) % 251, np.uint8)))

    asked = Gridding(
        extent=(-180.0, -89.0, 180.0, 89.0),
        extent_crs=CRS.from_epsg(4326),
        cell_size=(40_000.0, 40_000.0),
    )
    service = open_service(
        f"{serve(answer).url}/{{z}}/{{x}}/{{y}}.png", asked, fast.with_(keep_blank=True)
    )
    assert service.raster.read_mask().any()
    service.raster.close()


def test_unknown_braces_are_refused(fast, whole):
    with pytest.raises(ArgumentError, match=r"\{size\}"):
        open_service("http://127.0.0.1:9/{size}/{z}/{x}/{y}.png", whole, fast)


def test_the_fingerprint_tells_addresses_and_grids_apart(serve, fast, whole):
    url = f"{serve(tile_server).url}/{{z}}/{{x}}/{{y}}.png"
    prints = []
    smaller = replace(whole, extent=(*whole.extent[:3], whole.extent[3] - 10 * CELL))
    for source, asked in ((url, whole), (url, whole), (url, smaller), (f"{url}?style=b", whole)):
        service = open_service(source, asked, fast)
        prints.append(service.raster.fingerprint())
        service.raster.close()
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_bounds_of_the_scene_lie_on_tiles():
    pixels, transform = scene_once()
    left, _, _, top = bounds(transform, pixels.shape[2], pixels.shape[1])
    assert (left, top) == (transform.c, transform.f)
