"""Every kind of source that leads to rasters: the result is that of the net on the same pixels."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import geopandas
import numpy as np
import pytest
import rasterio
from PIL import Image
from pyproj import Transformer
from rasterio.transform import Affine
from shapely.geometry import box

from attachtrans.errors import ArgumentError, SourceError
from attachtrans.report import Status
from attachtrans.stores.raster.image import quiet
from attachtrans.tool.rasters.kinds import path_to_call_by
from attachtrans.tool.translate import translate_pixels
from tests.stores.layers.test_cim import document, features, raster, standard
from tests.stores.layers.test_qgis import layer, project
from tests.stores.mosaics.making import item
from tests.stores.services.arcgis_double import ArcGis
from tests.stores.services.loopback import (
    CELL,
    ZOOM,
    Server,
    bounds,
    scene_once,
    serving,
    tile_server,
    write_scene,
)
from tests.tool.rasters.making import (
    NORTH_UP,
    UTM,
    Pixels,
    in_memory,
    only,
    read,
    run,
    scene,
    write,
)

PARTS = {"a": slice(0, 70), "b": slice(60, 130)}
"""Columns of two rasters that overlap, and agree where they do."""
Make = Callable[[Path], Path]


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    return scene(3, 60, 130)


@pytest.fixture(scope="module")
def expected(x2: Path, pixels: Pixels) -> Pixels:
    return in_memory(x2, pixels)


@pytest.fixture
def parts(tmp_path: Path, pixels: Pixels) -> Path:
    """A folder with the scene in two rasters, parts/a.tif and parts/b.tif."""
    (tmp_path / "parts").mkdir()
    for name, columns in PARTS.items():
        place = NORTH_UP @ Affine.translation(columns.start, 0)
        write(tmp_path / f"parts/{name}.tif", pixels[:, :, columns], transform=place)
    return tmp_path


def outlines(folder: Path) -> geopandas.GeoDataFrame:
    paths = sorted((folder / "parts").glob("*.tif"))
    shapes = [box(*rasterio.open(path).bounds) for path in paths]
    names = [f"parts/{path.name}" for path in paths]
    dates = ["2024-05-02", "2024-05-01"]
    return geopandas.GeoDataFrame({"location": names, "date": dates}, geometry=shapes, crs=UTM)


def footprints(ending: str) -> Make:
    def make(folder: Path) -> Path:
        frame, path = outlines(folder), folder / f"footprints{ending}"
        frame.to_parquet(path) if ending == ".parquet" else frame.to_file(path)
        return path

    return make


def gdal(*command: str) -> Make:
    def make(folder: Path) -> Path:
        if shutil.which(command[0]) is None:
            pytest.skip(f"{command[0]} is not installed")
        files = ["parts/a.tif", "parts/b.tif"]
        subprocess.run([*command, *files], cwd=folder, check=True, capture_output=True)
        return folder / command[-1]

    return make


def stac(folder: Path) -> Path:
    items = [item(name, f"parts/{name}.tif", date="2024-05-01T00:00:00Z") for name in PARTS]
    path = folder / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    return path


COLLECTIONS = {
    "VRT": gdal("gdalbuildvrt", "mosaic.vrt"),
    "tile index": gdal("gdaltindex", "-f", "GPKG", "index.gti.gpkg"),
    "GeoPackage": footprints(".gpkg"),
    "Shapefile": footprints(".shp"),
    "GeoJSON": footprints(".geojson"),
    "STAC": stac,
    "folder": lambda folder: folder / "parts",
}


_LIKE_OTHERS = {"Shapefile", "GeoJSON"}
"""Collections that are read as another one is."""


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=pytest.mark.slow if kind in _LIKE_OTHERS else ())
        for kind in COLLECTIONS
    ],
)
def test_a_collection_is_one_raster(
    kind: str, x2: Path, parts: Path, expected: Pixels, tmp_path: Path
) -> None:
    source = COLLECTIONS[kind](parts)
    report = run(source, x2, tmp_path / "out.tif", mosaic=kind == "folder")
    assert only(report).status is Status.TRANSLATED
    assert np.array_equal(read(tmp_path / "out.tif")[:3], expected)
    with rasterio.open(tmp_path / "out.tif") as data:
        assert data.transform == NORTH_UP @ Affine.scale(0.5)
        assert data.crs == rasterio.CRS.from_string(UTM)


@pytest.mark.parametrize(
    "kind",
    [
        "VRT",
        "folder",
        pytest.param("GeoPackage", marks=pytest.mark.slow),
        pytest.param("STAC", marks=pytest.mark.slow),
    ],
)
def test_a_collection_one_by_one(kind: str, x2: Path, parts: Path, pixels: Pixels) -> None:
    source, output = COLLECTIONS[kind](parts), parts / "out"
    report = run(source, x2, output, mode="separate", mosaic=kind == "folder")
    assert [outcome.status for outcome in report.outcomes] == [Status.TRANSLATED] * 2
    for name, columns in PARTS.items():
        (result,) = output.rglob(f"{name}.tif")
        assert np.array_equal(read(result), in_memory(x2, pixels[:, :, columns]))
    again = run(source, x2, output, mode="separate", mosaic=kind == "folder")
    assert [outcome.status for outcome in again.outcomes] == [Status.ALREADY] * 2


@pytest.mark.parametrize(("order", "top"), [(None, 10), ("date-asc", 200)])
def test_the_raster_on_top_is_the_newest_or_as_asked(
    order: str | None, top: int, x2: Path, parts: Path
) -> None:
    for name, value in (("a", 10), ("b", 200)):  # a is the newer one
        with rasterio.open(parts / f"parts/{name}.tif", "r+") as data:
            data.write(np.full((3, 60, 70), value, np.uint8))
    report = run(footprints(".gpkg")(parts), x2, parts / "out.tif", order=order)
    assert (read(parts / "out.tif")[:, :, 124:136] == top).all()
    assert any("--overlap-order" in note for note in report.notes)


def test_a_folder_goes_to_a_folder_beside_it_unless_told(x2: Path, parts: Path) -> None:
    with pytest.raises(ArgumentError, match="or make one raster of its rasters with --mosaic"):
        run(parts / "parts", x2, parts / "out.tif")
    report = run(parts / "parts", x2, None)
    assert sorted(path.name for path in (parts / "parts_translated").iterdir()) == [
        "a.tif",
        "b.tif",
    ]
    assert any(str(parts / "parts_translated") in note for note in report.notes)


def test_a_folder_of_rasters_and_photos(x2: Path, parts: Path, pixels: Pixels) -> None:
    source, output = parts / "parts", parts / "out"
    (source / "deep").mkdir()
    Image.fromarray(np.moveaxis(pixels, 0, -1)).save(source / "deep/photo.png")
    (source / "deep/photo.pgw").write_text("0.5\n0\n0\n-0.5\n500000.25\n5399999.75\n")
    (source / "damaged.tif").write_bytes((source / "a.tif").read_bytes()[:4000])
    (source / "notes.txt").write_text("no picture")
    report = run(source, x2, output)
    assert report.counts[Status.TRANSLATED] == 3
    made = sorted(path.relative_to(output).as_posix() for path in output.rglob("*.*g*"))
    assert {"deep/photo.pgw", "deep/photo.png"} <= set(made)
    assert np.array_equal(read(output / "deep/photo.png"), in_memory(x2, pixels))
    assert (output / "deep/photo.pgw").read_text().split()[0] == "0.25"
    assert not (output / "damaged.tif").exists()
    (output / "b.tif").unlink()
    assert run(source, x2, output).counts[Status.TRANSLATED] == 1
    assert (output / "b.tif").exists()


def geopackage(folder: Path, *tables: str) -> Path:
    path = folder / "tiles.gpkg"
    for table in tables:
        append = ["-co", "APPEND_SUBDATASET=YES"] if path.exists() else []
        command = ["gdal_translate", "-q", "-of", "GPKG", "-co", "TILE_FORMAT=PNG", *append]
        command += ["-co", f"RASTER_TABLE={table}", "parts/a.tif", "tiles.gpkg"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return path


@pytest.mark.skipif(shutil.which("gdal_translate") is None, reason="GDAL is not installed")
def test_a_geopackage_of_tiles_is_a_raster(x2: Path, parts: Path, pixels: Pixels) -> None:
    first = in_memory(x2, pixels[:, :, PARTS["a"]])
    run(geopackage(parts, "one"), x2, parts / "out.tif")
    assert np.array_equal(read(parts / "out.tif")[:3], first)
    with pytest.raises(ArgumentError, match=r"2 rasters: one, two; name one with --layer"):
        run(geopackage(parts, "two"), x2, parts / "other.tif")
    run(parts / "tiles.gpkg", x2, parts / "other.tif", layer="TWO")
    assert np.array_equal(read(parts / "other.tif")[:3], first)
    # With features beside them, tiles are meant when they are named.
    outlines(parts)[["date", "geometry"]].to_file(parts / "tiles.gpkg", layer="fields", mode="a")
    run(parts / "tiles.gpkg", x2, parts / "third.tif", layer="one")
    with pytest.raises(ArgumentError, match="write a GeoPackage"):
        run(parts / "tiles.gpkg", x2, parts / "fourth.tif")


@pytest.mark.skipif(shutil.which("gdal_translate") is None, reason="GDAL is not installed")
def test_a_file_of_several_rasters_names_them(x2: Path, parts: Path, pixels: Pixels) -> None:
    command = ["gdal_translate", "-q", "-of", "netCDF", "parts/a.tif", "a.nc"]
    made = subprocess.run(command, cwd=parts, check=False, capture_output=True)
    if made.returncode:
        pytest.skip("this GDAL has no netCDF")
    with pytest.raises(SourceError, match=r"holds 3 rasters; name one of them: .*Band1"):
        run(parts / "a.nc", x2, parts / "out.tif")
    run(f"NETCDF:{parts / 'a.nc'}:Band2", x2, parts / "out.tif")
    second = pixels[1:2, :, PARTS["a"]]
    assert np.array_equal(read(parts / "out.tif"), in_memory(x2, second))
    with rasterio.open(parts / "out.tif") as data:
        assert data.transform == NORTH_UP @ Affine.scale(0.5)
        assert not [name for name in data.tags() if "#" in name]


@pytest.mark.parametrize("clear", [False, True])
def test_a_palette_is_its_colours(x2: Path, tmp_path: Path, *, clear: bool) -> None:
    numbers = np.arange(40 * 50, dtype=np.uint8).reshape(1, 40, 50) % 7
    table = {n: (30 * n, 255 - 30 * n, 9 * n, 0 if clear and n == 3 else 255) for n in range(7)}
    source = tmp_path / ("in.png" if clear else "in.tif")  # GeoTIFFs hold no clear colours
    write(tmp_path / "in.tif", numbers)
    with rasterio.open(tmp_path / "in.tif", "r+") as data:
        data.write_colormap(1, table)
    if clear:
        palette = [byte for n in range(7) for byte in table[n][:3]]
        picture = Image.fromarray(numbers[0], mode="P")
        picture.putpalette(palette)
        picture.save(source, transparency=3)
    run(source, x2, tmp_path / "out.tif")
    colours = np.array([table[n][:3] for n in range(7)], np.uint8)[numbers[0]].transpose(2, 0, 1)
    with quiet(), rasterio.open(tmp_path / "out.tif") as data:
        assert data.count == 3
        shown = data.dataset_mask() > 0
        if clear:
            assert np.array_equal(shown, np.kron(numbers[0] != 3, np.ones((2, 2), bool)))
        else:
            assert shown.all()
            assert np.array_equal(data.read(), in_memory(x2, colours))


def test_a_layer_file_leads_to_a_raster(x2: Path, parts: Path, pixels: Pixels) -> None:
    path = project(parts / "p.qgz", layer("L", "gdal", "./parts/a.tif"))
    run(path, x2, parts / "qgis.tif")
    definition = document(parts / "l.lyrx", raster(standard("Raster", "parts", "a.tif")))
    run(definition, x2, parts / "pro.tif")
    first = in_memory(x2, pixels[:, :, PARTS["a"]])
    assert np.array_equal(read(parts / "qgis.tif"), first)
    assert np.array_equal(read(parts / "pro.tif"), first)


def test_a_layer_says_the_system_of_a_raster_that_does_not(x2: Path, tmp_path: Path) -> None:
    write(tmp_path / "a.tif", scene(3, 20, 30), crs=None)
    system = "<srs><spatialrefsys><authid>EPSG:25833</authid></spatialrefsys></srs>"
    run(
        project(tmp_path / "p.qgs", layer("L", "gdal", "./a.tif", system)), x2, tmp_path / "out.tif"
    )
    with rasterio.open(tmp_path / "out.tif") as data:
        assert data.crs == rasterio.CRS.from_epsg(25833)
        assert data.transform == NORTH_UP @ Affine.scale(0.5)


def test_a_layer_of_footprints_keeps_its_query(x2: Path, parts: Path, pixels: Pixels) -> None:
    footprints(".shp")(parts)
    query = features(standard("Shapefile", ".", "footprints.shp"), where="date = '2024-05-01'")
    run(document(parts / "l.lyrx", query), x2, parts / "out.tif")
    assert np.array_equal(read(parts / "out.tif"), in_memory(x2, pixels[:, :, PARTS["b"]]))


def test_what_is_not_there_is_said(x2: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nothing.tif: there is no such file or folder"):
        run(tmp_path / "nothing.tif", x2, tmp_path / "out.tif")
    source = write(tmp_path / "in.tif", scene(3, 20, 20))
    with pytest.raises(ArgumentError, match=r"there is no folder .*; make it first"):
        run(source, x2, tmp_path / "none/out.tif")
    for flag in ({"layer": "x"}, {"where": "a = 1"}, {"patterns": ["*.tif"]}):
        with pytest.raises(ArgumentError, match="is one raster; leave it out"):
            run(source, x2, tmp_path / "out.tif", **flag)


def test_what_has_no_path_gets_a_plain_name(
    x2: Path, parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(parts)
    with zipfile.ZipFile("a.zip", "w") as archive:
        archive.write("parts/a.tif", "in/a.tif")
    run("/vsizip/a.zip/in/a.tif", x2, None)
    assert (parts / "a_translated.tif").exists()
    assert path_to_call_by('NETCDF:"deep/a.nc":Band2') == Path("a_nc_Band2")


def test_a_mosaic_is_not_written_into_its_own_folder(x2: Path, parts: Path) -> None:
    with pytest.raises(ArgumentError, match="one of them the next time"):
        run(parts / "parts", x2, parts / "parts/out.tif", mosaic=True)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    monkeypatch.setenv("NO_PROXY", "*")
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(serving(answer))


@pytest.mark.slow
def test_tiles_of_a_web_map(x2: Path, serve: Callable[..., Server], tmp_path: Path) -> None:
    whole, transform = scene_once()
    part = whole[:, 100:220, 200:330]
    place = transform @ Affine.translation(200, 100)
    left, bottom, right, top = bounds(place, 130, 120)
    server = serve(tile_server)
    options = {"cell_size": (CELL, CELL), "cache": tmp_path / "cache", "crs": "EPSG:3857"}
    url = f"{server.url}/{{z}}/{{x}}/{{y}}.png"
    corners = Transformer.from_crs(3857, 4326, always_xy=True).transform_bounds
    box_ = corners(left + CELL / 4, bottom + CELL / 4, right - CELL / 4, top - CELL / 4)
    run(url, x2, tmp_path / "out.tif", extent=box_, extent_crs="EPSG:4326", **options)
    assert np.array_equal(read(tmp_path / "out.tif")[:3], in_memory(x2, part))
    asked = len(server.requests)
    run(url, x2, tmp_path / "again.tif", extent=(left, bottom, right, top), **options)
    assert len(server.requests) == asked  # the cache has them
    assert int(server.paths()[0].split("/")[1]) == ZOOM


def test_an_image_service_as_one_and_one_by_one(
    x2: Path, parts: Path, expected: Pixels, serve: Callable[..., Server]
) -> None:
    server = serve(ArcGis([parts / "parts/a.tif", parts / "parts/b.tif"]))
    url = f"{server.url}/rest/services/photos/ImageServer"
    options = {"cache": parts / "cache", "rate": 1000.0}
    whole = (500_000.0, 5_399_970.0, 500_065.0, 5_400_000.0)
    run(url, x2, parts / "one.tif", extent=whole, **options)
    assert np.array_equal(read(parts / "one.tif")[:3], expected)
    report = run(url, x2, parts / "each", mode="separate", **options)
    assert report.counts[Status.TRANSLATED] == 2
    assert len(list((parts / "each").glob("*.tif"))) == 2


@pytest.mark.parametrize("layer_", ["", "/0"])
def test_a_map_service_and_one_of_its_layers(
    layer_: str, x2: Path, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    whole, transform = scene_once()
    left, bottom, right, top = bounds(transform @ Affine.translation(200, 100), 130, 120)
    double = ArcGis([write_scene(tmp_path / "scene.tif")], changes={"singleFusedMapCache": False})
    url = f"{serve(double).url}/rest/services/photos/MapServer{layer_}"
    options = {"cell_size": (CELL, CELL), "cache": tmp_path / "cache", "crs": "EPSG:3857"}
    run(url, x2, tmp_path / "out.tif", extent=(left, bottom, right, top), **options)
    expected = in_memory(x2, whole[:, 100:220, 200:330])
    assert np.array_equal(read(tmp_path / "out.tif")[:3], expected)


def test_heights_are_no_picture(x2: Path, tmp_path: Path) -> None:
    heights = 50 + 40 * scene(1, 40, 50, "float32")
    heights[:, :10] = -9999
    write(tmp_path / "dsm.tif", heights, nodata=-9999)
    with pytest.raises(ArgumentError, match=r"go from 5.*this net takes floats as 0"):
        run(tmp_path / "dsm.tif", x2, tmp_path / "out.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["dsm.tif"]
    picture = np.where(heights < 0, heights, heights / 100)
    write(tmp_path / "picture.tif", picture, nodata=-9999)
    assert run(tmp_path / "picture.tif", x2, tmp_path / "out.tif").ok


def test_photos_stay_photos(x2: Path, parts: Path) -> None:
    """A GeoTIFF may be a photo, too: only an output that is a raster's makes a raster of one."""
    report = translate_pixels(parts / "parts/a.tif", x2, overwrite_attachments=True, device="cpu")
    assert report.ok
    with rasterio.open(parts / "parts/a.tif") as data:
        assert data.shape == (120, 140)
        assert data.transform == NORTH_UP @ Affine.scale(0.5)


@pytest.mark.slow
@pytest.mark.parametrize("by", ["name", "layer file"])
def test_credentials_go_to_addresses_that_the_user_names(
    by: str,
    x2: Path,
    serve: Callable[..., Server],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ATTACHTRANS_HEADER", "Authorization: Bearer s3cret")
    _, transform = scene_once()
    server = serve(tile_server)
    source = f"{server.url}/{{z}}/{{x}}/{{y}}.png?key=hidden"
    if by == "layer file":
        address = f"type=xyz&zmax={ZOOM}&url={quote(source)}"
        source = str(project(tmp_path / "p.qgs", layer("L", "wms", address)))
    options = {"cell_size": (CELL, CELL), "cache": tmp_path / "cache"}
    extent = bounds(transform @ Affine.translation(200, 100), 40, 30)
    report = run(source, x2, tmp_path / "out.tif", extent=extent, **options)
    sent = {request.headers.get("Authorization") for request in server.requests}
    assert sent == ({"Bearer s3cret"} if by == "name" else {None})
    assert any("not sent there" in note for note in report.notes) == (by == "layer file")
    assert "hidden" not in f"{report.source} {report.notes}"
