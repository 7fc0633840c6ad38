"""Rasters through the tool, against the same net on the whole array in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.transform import Affine

from attachtrans.errors import ArgumentError, NoMemoryError, OutputExistsError
from attachtrans.infer.excerpts import excerpts
from attachtrans.infer.forward import Forward
from attachtrans.infer.jobs import Tile
from attachtrans.report import Status
from attachtrans.stores.raster import ResumableWriter
from attachtrans.tool.progress import Quiet
from attachtrans.tool.rasters import run as running
from attachtrans.tool.translate import plan_translation
from attachtrans.types import Size
from tests.tool.rasters.making import (
    NORTH_UP,
    TURNED,
    UTM,
    in_memory,
    only,
    read,
    run,
    scene,
    write,
)

Write = Callable[[Path], None]
GREY, RED, GREEN, BLUE, ALPHA = (
    ColorInterp.gray,
    ColorInterp.red,
    ColorInterp.green,
    ColorInterp.blue,
    ColorInterp.alpha,
)


class Counted(Quiet):
    """What a bar would show."""

    done = all = 0

    def planned(self, pixels: int) -> None:
        self.all += pixels

    def computed(self, pixels: int) -> None:
        self.done += pixels


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(("width", "height"), [(300, 520), (1, 300), (300, 1), (64, 64)])
def test_an_exact_net_gives_what_it_gives_of_the_whole(
    x2: Path, tmp_path: Path, width: int, height: int
) -> None:
    array = scene(3, height, width)
    source = write(tmp_path / "in.tif", array)
    report = run(source, x2, tmp_path / "out.tif", arguments={"tile_size": 128})
    assert only(report).status is Status.TRANSLATED
    assert only(report).size_out == (2 * width, 2 * height)
    assert np.array_equal(read(tmp_path / "out.tif"), in_memory(x2, array))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("padding", [0, pytest.param(16, marks=pytest.mark.slow)])
def test_a_blended_net_gives_what_it_gives_of_the_whole(
    gan: Path, tmp_path: Path, padding: int
) -> None:
    array = scene(3, 560, 530)
    source = write(tmp_path / "in.tif", array)
    run(source, gan, tmp_path / "out.tif", arguments={"tile_size": 64, "padding": padding})
    whole = in_memory(gan, array, tile_size=64, padding=padding)
    apart = np.abs(read(tmp_path / "out.tif").astype(int) - whole)
    assert apart.max() <= 1  # rounding


@pytest.mark.parametrize("transform", [NORTH_UP, TURNED])
def test_the_result_lies_where_the_raster_lies(x2: Path, tmp_path: Path, transform: Affine) -> None:
    array = scene(3, 60, 90)
    write(
        tmp_path / "in.tif",
        array,
        transform=transform,
        names=["a", "b", "c"],
        tags={"WHO": "me", "TIFFTAG_IMAGEDESCRIPTION": "a field"},
    )
    run(tmp_path / "in.tif", x2, tmp_path / "out.tif")
    with rasterio.open(tmp_path / "in.tif") as before, rasterio.open(tmp_path / "out.tif") as after:
        assert after.crs == before.crs
        for corner in ((0, 0), (90, 0), (0, 60), (90, 60), (45, 30)):
            col, row = corner
            assert np.allclose(
                before.transform @ corner, after.transform @ (2 * col, 2 * row), rtol=0, atol=1e-9
            )
        assert after.descriptions == ("a", "b", "c")
        assert after.colorinterp == before.colorinterp == (RED, GREEN, BLUE)
        assert after.tags()["WHO"] == "me"
        assert after.tags()["TIFFTAG_IMAGEDESCRIPTION"] == "a field"
        assert after.nodata is None
        assert after.mask_flag_enums == before.mask_flag_enums


HOLE = (slice(20, 45), slice(30, 71))


def holed(kind: str, array: np.ndarray, path: Path, inside: int) -> Path:
    """A raster with a hole, whose pixels hold `inside` where a value may be anything."""
    valid = np.ones(array.shape[1:], bool)
    valid[HOLE] = False
    array = array.copy()
    if kind == "nodata":
        array[:, ~valid] = 0
        return write(path, array, nodata=0)
    if kind == "nan":
        array[:, ~valid] = np.nan
        return write(path, array, photometric="RGB")
    array[:, ~valid] = inside
    if kind == "mask":
        return write(path, array, mask=valid)
    alpha = np.where(valid, np.iinfo(array.dtype).max, 0).astype(array.dtype)[None]
    return write(
        path,
        np.concatenate([array, alpha]),
        colours=[RED, GREEN, BLUE, ALPHA],
        photometric="RGB",
        alpha="YES",
    )


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("nodata", "uint8"),
        ("nodata", "uint16"),
        ("nan", "float32"),
        ("mask", "uint8"),
        ("alpha", "uint8"),
        ("alpha", "uint16"),
    ],
)
def test_holes_stay_where_they_are_and_touch_nothing(
    x2: Path, tmp_path: Path, kind: str, dtype: str
) -> None:
    array = scene(3, 330, 300, dtype)
    results = []
    for name, inside in (("a", 3), ("b", 250)):
        source = holed(kind, array, tmp_path / f"{name}.tif", inside)
        run(source, x2, tmp_path / f"{name}_out.tif", arguments={"tile_size": 64})
        with rasterio.open(tmp_path / f"{name}_out.tif") as data:
            results.append((data.read(), data.dataset_mask(), data.nodata, data.count))
    (first, mask, nodata, bands), (second, *_) = results
    assert np.array_equal(first, second, equal_nan=True)  # what lies in the hole is seen by nobody
    shown = np.ones(array.shape[1:], bool)
    shown[HOLE] = False
    twice = np.kron(shown, np.ones((2, 2), bool))
    assert bands == (4 if kind == "alpha" else 3)
    if kind == "alpha":  # it grows as photos' alpha does, in between at its edge
        full = np.iinfo(dtype).max
        alpha = first[3]
        assert (alpha[:30, :50] == full).all()
        assert (alpha[44:86, 64:138] == 0).all()
    else:
        assert np.array_equal(mask > 0, twice)
    if kind in {"nodata", "nan"}:
        assert nodata == 0 or np.isnan(nodata)
        assert (first[:, twice] != nodata).all()
    whole = in_memory(x2, array)
    far = np.ones_like(twice)
    far[30:100, 50:152] = False  # beyond what the net sees of the hole
    same = np.isclose(first[:3], whole, atol=1e-6)
    if kind == "nodata":
        same |= whole == 0
    assert same[:, far].all()


def test_results_that_equal_nodata_stay_data(gan: Path, tmp_path: Path) -> None:
    array = scene(3, 80, 80)
    whole = in_memory(gan, array)
    value = int(np.bincount(whole[0].ravel()).argmax())  # a frequent result
    array[array == value] = value + 1
    array[:, 3, 3] = value
    write(tmp_path / "in.tif", array, nodata=value)
    run(tmp_path / "in.tif", gan, tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as data:
        assert data.nodata == value
        mask = data.dataset_mask()
        each = data.read_masks()
    assert (mask == 0).sum() == 1
    assert mask[3, 3] == 0
    assert ((each == 0).sum(axis=(1, 2)) == 1).all()


def test_a_raster_of_nothing_but_nodata(x2: Path, tmp_path: Path) -> None:
    write(tmp_path / "in.tif", np.zeros((3, 50, 50), np.uint8), nodata=0)
    report = run(tmp_path / "in.tif", x2, tmp_path / "out.tif")
    assert report.ok
    assert (read(tmp_path / "out.tif") == 0).all()


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("net", ["x2", "gan"])
def test_an_interrupted_run_goes_on_and_ends_the_same(
    net: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = request.getfixturevalue(net)
    array = scene(3, 560, 530)
    array[:, 100:160, 100:160] = 0
    source = write(tmp_path / "in.tif", array, nodata=0)
    options = {"arguments": {"tile_size": 64}}
    run(source, model, tmp_path / "whole.tif", **options)
    monkeypatch.setattr("attachtrans.tool.rasters.run._CHECKPOINT_S", 0.0)
    stops: list[int] = []

    class Stop(Exception):  # noqa: N818 - as if the user pressed Ctrl-C
        pass

    def checkpointed(self: ResumableWriter, done: int) -> None:
        original(self, done)
        stops.append(done)
        if len(stops) == 2:
            raise Stop

    original = ResumableWriter.checkpoint
    monkeypatch.setattr(ResumableWriter, "checkpoint", checkpointed)
    with pytest.raises(Stop):
        run(source, model, tmp_path / "out.tif", **options)
    monkeypatch.setattr(ResumableWriter, "checkpoint", original)
    assert not (tmp_path / "out.tif").exists()
    report = run(source, model, tmp_path / "out.tif", **options)
    assert any("goes on after block" in note for note in report.notes)
    assert np.array_equal(read(tmp_path / "out.tif"), read(tmp_path / "whole.tif"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.tif", "out.tif", "whole.tif"]
    assert only(run(source, model, tmp_path / "out.tif", **options)).status is Status.ALREADY


@pytest.mark.slow
@pytest.mark.usefixtures("small_blocks")
def test_memory_that_runs_out_makes_tiles_smaller(
    gan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = scene(3, 400, 530)
    source = write(tmp_path / "in.tif", array)
    compute = Forward.__call__

    def limited(self: Forward, tiles: list[Tile[int]]) -> torch.Tensor:
        if max(tiles[0].job.plan.tile) > 64:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return compute(self, tiles)

    monkeypatch.setattr(Forward, "__call__", limited)
    counts = Counted()
    report = run(source, gan, tmp_path / "out.tif", arguments={"tile_size": 128}, progress=counts)
    assert only(report).status is Status.TRANSLATED
    assert [note for note in report.notes if "memory ran out" in note and "64 pixels" in note]
    assert counts.done == counts.all > 0
    small = in_memory(gan, array, tile_size=64)
    assert np.abs(read(tmp_path / "out.tif").astype(int) - small).max() <= 1
    monkeypatch.setattr(Forward, "__call__", compute)  # a result is one, however it was cut
    again = run(source, gan, tmp_path / "out.tif", arguments={"tile_size": 128})
    assert only(again).status is Status.ALREADY


def test_no_memory_for_the_smallest_tiles(
    gan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "in.tif", scene(3, 300, 300))

    def none(self: Forward, tiles: list[Tile[int]]) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Forward, "__call__", none)
    counts = Counted()
    with pytest.raises(NoMemoryError, match="small tiles too"):
        run(source, gan, tmp_path / "out.tif", arguments={"tile_size": 128}, progress=counts)
    assert counts.done == counts.all
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


def test_no_memory_to_read_a_part(
    x2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "in.tif", scene(3, 60, 60))

    def none(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 9 GiB")

    monkeypatch.setattr("attachtrans.windowed.Reading.read", none)
    with pytest.raises(NoMemoryError, match="there is not enough memory"):
        run(source, x2, tmp_path / "out.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


def test_a_result_of_another_grid_is_another_result(x2: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.tif", scene(3, 60, 50))
    options = {"space": "pixel", "crs": "EPSG:25833"}
    run(source, x2, tmp_path / "out.tif", cell_size=(0.25, 0.25), **options)
    with pytest.raises(OutputExistsError, match="no result of this raster"):
        run(source, x2, tmp_path / "out.tif", cell_size=(0.5, 0.5), **options)
    same = run(source, x2, tmp_path / "out.tif", cell_size=(0.25, 0.25), **options)
    assert only(same).status is Status.ALREADY


def test_the_map_is_asked_for_before_the_net_runs(x2: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.tif", scene(3, 60, 50), crs=None, transform=None)
    with pytest.raises(ArgumentError, match="does not say where it lies"):
        run(source, x2, tmp_path / "out.tif", space="pixel", cell_size=(1.0, 1.0))
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


def test_tiles_that_blocks_are_not_made_of(x2: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.tif", scene(3, 60, 50))
    sides = {"BLOCKXSIZE": "1024", "BLOCKYSIZE": "1024"}
    with pytest.raises(ArgumentError, match="BLOCKXSIZE=1024"):
        run(source, x2, tmp_path / "out.tif", creation=sides)
    sides = {"BLOCKXSIZE": "256", "BLOCKYSIZE": "256"}
    assert run(source, x2, tmp_path / "out.tif", creation=sides).ok


@pytest.mark.usefixtures("small_blocks")
def test_a_run_of_other_blocks_begins_anew(
    x2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a device with larger tiles the whole may be one, and so be one block."""
    array = scene(3, 300, 540)
    source = write(tmp_path / "in.tif", array)
    monkeypatch.setattr("attachtrans.tool.rasters.run._CHECKPOINT_S", 0.0)
    monkeypatch.setattr("attachtrans.infer.engine._NOMINAL", {"cpu": 64})
    outcomes = iter(plan_translation(source, x2, tmp_path / "out.tif", device="cpu"))
    stopped = ResumableWriter.checkpoint

    def stop(self: ResumableWriter, done: int) -> None:
        stopped(self, done)
        raise KeyboardInterrupt

    monkeypatch.setattr(ResumableWriter, "checkpoint", stop)
    with pytest.raises(KeyboardInterrupt):
        next(outcomes)
    monkeypatch.setattr(ResumableWriter, "checkpoint", stopped)
    monkeypatch.setattr("attachtrans.infer.engine._NOMINAL", {"cpu": 4096})
    report = run(source, x2, tmp_path / "out.tif")
    assert any("begun anew" in note for note in report.notes)
    assert np.array_equal(read(tmp_path / "out.tif"), in_memory(x2, array))


def test_what_is_there_is_not_touched(x2: Path, gan: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.tif", scene(3, 40, 40))
    run(source, x2, tmp_path / "out.tif")
    before = (tmp_path / "out.tif").read_bytes()
    with pytest.raises(OutputExistsError, match="no result of this raster"):
        run(source, gan, tmp_path / "out.tif")
    with pytest.raises(ArgumentError, match="source itself"):
        run(source, x2, source)
    assert (tmp_path / "out.tif").read_bytes() == before


def test_a_dry_run_writes_nothing(x2: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.tif", scene(3, 40, 50))
    planned = only(run(source, x2, tmp_path / "out.tif", dry_run=True))
    assert planned.status is Status.PLANNED
    assert planned.size_out == (100, 80)
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


def test_bands_by_name_in_the_nets_order(x2: Path, tmp_path: Path) -> None:
    array = scene(5, 40, 50)
    source = write(tmp_path / "in.tif", array, names=["coastal", "blue", "green", "red", "nir"])
    run(source, x2, tmp_path / "out.tif", bands="nir,red,green")
    assert np.array_equal(read(tmp_path / "out.tif"), in_memory(x2, array[[4, 3, 2]]))
    with rasterio.open(tmp_path / "out.tif") as data:
        assert data.descriptions == ("nir", "red", "green")


def test_an_extent_on_whole_cells_is_a_crop(x2: Path, tmp_path: Path) -> None:
    array = scene(3, 80, 90)
    source = write(tmp_path / "in.tif", array)
    left, top = NORTH_UP @ (10, 20)
    right, bottom = NORTH_UP @ (60, 70)
    run(source, x2, tmp_path / "out.tif", extent=(left, bottom, right, top))
    assert np.array_equal(read(tmp_path / "out.tif"), in_memory(x2, array[:, 20:70, 10:60]))
    with rasterio.open(tmp_path / "out.tif") as data:
        assert data.transform == Affine(0.25, 0, left, 0, -0.25, top)


def test_a_cell_size_is_what_the_net_sees(x2: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.tif", scene(3, 80, 90))
    report = run(source, x2, tmp_path / "out.tif", cell_size=(1.0, 1.0))
    assert only(report).size_in == (45, 40)
    with rasterio.open(tmp_path / "out.tif") as data:
        assert data.shape == (80, 90)
        assert data.transform == NORTH_UP


def test_a_polygon_masks(x2: Path, tmp_path: Path) -> None:
    import geopandas
    from shapely.geometry import box

    array = scene(3, 80, 90)
    source = write(tmp_path / "in.tif", array)
    left, top = NORTH_UP @ (10, 20)
    right, bottom = NORTH_UP @ (60, 70)
    shape = geopandas.GeoDataFrame(geometry=[box(left, bottom, right, top)], crs=UTM)
    shape.to_crs("EPSG:25832").to_file(tmp_path / "mask.gpkg", layer="field")
    run(source, x2, tmp_path / "out.tif", mask=f"{tmp_path / 'mask.gpkg'}:field")
    with rasterio.open(tmp_path / "out.tif") as data:
        mask = data.dataset_mask() > 0
    expected = np.zeros((160, 180), bool)
    expected[40:140, 20:120] = True
    assert np.array_equal(mask, expected)


def test_control_points_are_rescaled_in_pixel_space(x2: Path, tmp_path: Path) -> None:
    array = scene(3, 60, 80)
    points = [
        GroundControlPoint(row=row, col=col, x=500_000 + 0.5 * col, y=5_400_000 - 0.5 * row, z=0)
        for col, row in ((0, 0), (80, 0), (80, 60), (0, 60))
    ]
    write(tmp_path / "in.tif", array, transform=None, gcps=points)
    run(tmp_path / "in.tif", x2, tmp_path / "out.tif", space="pixel")
    with rasterio.open(tmp_path / "out.tif") as data:
        found, crs = data.gcps
    assert crs == rasterio.CRS.from_string(UTM)
    assert [(p.col, p.row, p.x, p.y) for p in found] == [
        (2 * p.col, 2 * p.row, p.x, p.y) for p in points
    ]
    assert np.array_equal(read(tmp_path / "out.tif"), in_memory(x2, array))


@pytest.mark.parametrize("space", ["pixel", "map"])
def test_control_points_bring_a_raster_to_the_map(x2: Path, tmp_path: Path, space: str) -> None:
    array = scene(3, 60, 80)
    points = [
        GroundControlPoint(row=row, col=col, x=500_000 + 0.5 * col, y=5_400_000 - 0.5 * row, z=0)
        for col, row in ((0, 0), (80, 0), (80, 60), (0, 60))
    ]
    write(tmp_path / "in.tif", array, transform=None, gcps=points)
    size = (0.25, 0.25) if space == "pixel" else (0.5, 0.5)
    run(tmp_path / "in.tif", x2, tmp_path / "out.tif", space=space, crs=UTM, cell_size=size)
    with rasterio.open(tmp_path / "out.tif") as data:
        assert data.crs == rasterio.CRS.from_string(UTM)
        assert data.res == (0.25, 0.25)
        left, top = data.transform @ (0, 0)
        pixels, mask = data.read(), data.dataset_mask() > 0
    col, row = int((500_000 - left) / 0.25), int((top - 5_400_000) / 0.25)
    shown = pixels[:, row : row + 120, col : col + 160].astype(int)
    assert mask[row + 1 : row + 119, col + 1 : col + 159].all()
    whole = in_memory(x2, array).astype(int)
    assert np.abs(shown - whole)[:, 4:-4, 4:-4].max() <= 2
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["in.tif", "out.tif"]


def test_a_raster_without_a_place_is_translated_on_its_own_pixels(x2: Path, tmp_path: Path) -> None:
    array = scene(3, 60, 80)
    write(tmp_path / "in.tif", array, crs=None, transform=None)
    run(tmp_path / "in.tif", x2, tmp_path / "out.tif")
    assert np.array_equal(read(tmp_path / "out.tif"), in_memory(x2, array))
    with pytest.raises(ArgumentError, match="does not say where it lies"):
        run(tmp_path / "in.tif", x2, tmp_path / "other.tif", cell_size=(1, 1))


def test_drivers_and_creation_options(x2: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.tif", scene(3, 60, 80))
    run(source, x2, tmp_path / "cog.tif", cog=True)
    run(source, x2, tmp_path / "out.img")
    run(source, x2, tmp_path / "lzw.tif", creation={"COMPRESS": "LZW"})
    with rasterio.open(tmp_path / "out.img") as data:
        assert data.driver == "HFA"
        assert np.array_equal(data.read(), read(tmp_path / "cog.tif"))
    with rasterio.open(tmp_path / "lzw.tif") as data:
        assert data.compression.name == "lzw"
    with rasterio.open(tmp_path / "cog.tif") as data:
        assert data.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_options_of_photos_and_rasters_do_not_mix(x2: Path, tmp_path: Path) -> None:
    from attachtrans.tool.place.options import Placing

    source = write(tmp_path / "in.tif", scene(3, 60, 80))
    with pytest.raises(ArgumentError, match="concern photos"):
        plan_translation(source, x2, tmp_path / "out.tif", placing=Placing(height_m=2.0))
    with pytest.raises(ArgumentError, match="one raster"):
        run(source, x2, tmp_path / "out", mode="separate")


@pytest.mark.parametrize("strip", [1, 16, 64])
def test_the_strips_under_a_row_of_blocks_fit_into_the_cache_with_their_mask(strip):
    """One that did not would make each block of the row decode all of them anew."""
    size, rows = Size(3000, 2000), 520
    image = SimpleNamespace(
        block=Size(size.width, strip),
        size=size,
        bands=3,
        dtype=np.dtype(np.uint16),
        has_mask=True,
    )
    cache = running._cache_bytes(SimpleNamespace(image=image), rows)
    for start in range(2 * strip):
        strips = -(-(start + rows) // strip) - start // strip
        assert strips * strip * size.width * (3 * 2 + 1) <= cache


@pytest.mark.parametrize(
    ("stored", "expected"),
    [({"blockysize": 8}, True), ({"tiled": True, "blockxsize": 64, "blockysize": 64}, False)],
)
def test_blocks_are_flat_where_the_file_is_in_strips(
    x2: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stored: dict[str, Any],
    expected: bool,
) -> None:
    source = write(tmp_path / "in.tif", scene(3, 100, 130), **stored)
    told: list[bool] = []

    def spy(plan: Any, spec: Any, *, start: int, in_strips: bool) -> Any:
        told.append(in_strips)
        return excerpts(plan, spec, start=start, in_strips=in_strips)

    monkeypatch.setattr("attachtrans.tool.rasters.engine.excerpts", spy)
    run(source, x2, tmp_path / "out.tif")
    assert set(told) == {expected}
    assert np.array_equal(read(tmp_path / "out.tif"), in_memory(x2, read(source)))
