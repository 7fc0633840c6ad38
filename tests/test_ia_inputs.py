"""Every input of the tool's page through arcpy's signature, from end to end."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import fiona
import geopandas
import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.control import GroundControlPoint

from attachtrans import ia
from attachtrans.errors import ArgumentError, SchemaError, SourceError
from tests.models.nets import bicubic_x2
from tests.stores.geodatabase import mobileworld
from tests.stores.geodatabase.world import unzipped
from tests.stores.layers.test_cim import document, features, raster, service, standard
from tests.stores.layers.test_qgis import layer, project
from tests.stores.mosaics.making import SIDE, footprints, item, tile, write_json
from tests.stores.services.arcgis_double import ArcGis
from tests.stores.services.loopback import (
    CELL,
    Server,
    at,
    scene_once,
    serving,
    tile_server,
    write_scene,
)
from tests.tool.rasters.making import NORTH_UP, UTM, Pixels, in_memory, read, scene, write
from tests.tool.test_vector_sources import shots

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bicubic_x2(tmp_path_factory.mktemp("net") / "bicubic.emd")


@pytest.fixture
def translate(net: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Calls the tool on the CPU, in environments that are as they were when they are new."""
    monkeypatch.setattr(ia, "env", ia.Environment(processorType="CPU"))

    def run(in_raster: object, **options: Any) -> Any:
        return ia.TranslatePixelsUsingDeepLearning(in_raster, net, "padding 8", **options)

    return run


@pytest.fixture
def doubled(net: Path) -> Callable[[Pixels], Pixels]:
    return lambda array: in_memory(net, array)


def test_a_raster_dataset(translate: Any, doubled: Any, tmp_path: Path) -> None:
    array = scene(3, 20, 30)
    result = translate(write(tmp_path / "a.tif", array))
    assert np.array_equal(result.to_array(), doubled(array))
    with rasterio.open(str(result)) as data:
        assert (data.crs, data.res) == (rasterio.CRS.from_string(UTM), (0.25, 0.25))
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]  # the result is elsewhere
    again = translate(result.path, out_translated_folder=tmp_path / "new" / "folder")
    assert again.path == tmp_path / "new" / "folder" / "a.tif"
    assert again.to_array().shape == (3, 80, 120)


def test_a_picture_is_a_raster(translate: Any, doubled: Any, tmp_path: Path) -> None:
    array = scene(3, 20, 30)
    Image.fromarray(np.moveaxis(array, 0, 2)).save(tmp_path / "a.png")
    assert np.array_equal(translate(tmp_path / "a.png").to_array(), doubled(array))


def test_a_raster_in_a_database(translate: Any, doubled: Any, tmp_path: Path) -> None:
    array = scene(3, 20, 30)
    for table in ("ortho", "other"):
        write(
            tmp_path / "a.gpkg",
            array if table == "ortho" else 255 - array,
            driver="GPKG",
            RASTER_TABLE=table,
            APPEND_SUBDATASET="YES" if table == "other" else "NO",
            TILE_FORMAT="PNG",
        )
    found = translate(f"{tmp_path / 'a.gpkg'}/main.ortho").to_array()
    assert np.array_equal(found[:3, :40, :60], doubled(array))


@pytest.mark.parametrize("ending", [".lyrx", ".qgs"])
def test_a_raster_layer(translate: Any, doubled: Any, tmp_path: Path, ending: str) -> None:
    array = scene(3, 20, 30)
    write(tmp_path / "a.tif", array)
    shown = document(tmp_path / "a.lyrx", raster(standard("Raster", ".", "a.tif")))
    if ending == ".qgs":
        shown = project(tmp_path / "a.qgs", layer("L", "gdal", "./a.tif"))
    assert np.array_equal(translate(shown).to_array(), doubled(array))


def _vrt(place: Path, names: list[str]) -> Path:
    sources = "".join(
        f"<SimpleSource><SourceFilename relativeToVRT='1'>{name}</SourceFilename>"
        f"<SourceBand>1</SourceBand><SrcRect xOff='0' yOff='0' xSize='{SIDE}' ySize='{SIDE}'/>"
        f"<DstRect xOff='{SIDE * number}' yOff='0' xSize='{SIDE}' ySize='{SIDE}'/></SimpleSource>"
        for number, name in enumerate(names)
    )
    with rasterio.open(place / names[0]) as data:
        numbers = ", ".join(map(str, data.transform.to_gdal()))
        wkt = data.crs.to_wkt()
    (place / "m.vrt").write_text(
        f"<VRTDataset rasterXSize='{SIDE * len(names)}' rasterYSize='{SIDE}'><SRS>{wkt}</SRS>"
        f"<GeoTransform>{numbers}</GeoTransform><VRTRasterBand dataType='Byte' band='1'>{sources}"
        "</VRTRasterBand></VRTDataset>"
    )
    return place / "m.vrt"


def _stac(place: Path, names: list[str]) -> Path:
    items = [item(Path(name).stem, name) for name in names]
    return write_json(place / "m.json", {"type": "FeatureCollection", "features": items})


MOSAICS = {
    "vrt": _vrt,
    "gti": lambda place, names: footprints(place / "m.gti.gpkg", names),
    "footprints": lambda place, names: footprints(place / "m.shp", names, column="path"),
    "stac": _stac,
}


@pytest.mark.parametrize("kind", MOSAICS)
def test_a_mosaic(translate: Any, tmp_path: Path, kind: str) -> None:
    for number in (0, 1):
        tile(tmp_path / f"t{number}.tif", 50 + 100 * number, (SIDE * number, 0.0))
    mosaic = MOSAICS[kind](tmp_path, ["t0.tif", "t1.tif"])
    whole = translate(mosaic).to_array()
    assert whole.shape == (3, 2 * SIDE, 4 * SIDE)
    assert [np.unique(whole[0, :, column]).tolist() for column in (10, -10)] == [[50], [150]]
    with pytest.warns(UserWarning, match="results go to .*m_translated"):
        parts = translate(mosaic, processing_mode="PROCESS_ITEMS_SEPARATELY")
    assert parts.path == tmp_path / "m_translated"
    made = sorted(parts.path.rglob("*.tif"))
    assert [read(path).mean() for path in made] == [50, 150]
    with pytest.raises(ArgumentError, match="not one raster"):
        parts.to_array()


def test_a_mosaic_dataset_is_refused(translate: Any, tmp_path: Path) -> None:
    shape = {"geometry": "Polygon", "properties": {"Name": "str"}}
    for name in ("AMD_Orthos_CAT", "AMD_Orthos_BND"):
        with fiona.open(
            tmp_path / "a.gdb", "w", "OpenFileGDB", shape, crs="EPSG:25832", layer=name
        ):
            pass
    with pytest.raises(SourceError, match="Orthos is an Esri mosaic dataset"):
        translate(tmp_path / "a.gdb" / "Orthos")


def test_a_raster_of_a_file_geodatabase_is_refused(
    translate: Any, fixture_copy: Callable[[str], Path]
) -> None:
    source = unzipped(fixture_copy("inspections.gdb.zip"))
    with pytest.raises(ArgumentError, match=r"no feature class ortho.*export them as GeoTIFF"):
        translate(source / "ortho")


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(serving(answer))


def on_scene(columns: int, rows: int) -> tuple[Pixels, str]:
    """The scene's first pixels, and where they lie."""
    pixels, transform = scene_once()
    left, top = at(transform, 0, 0)
    right, bottom = at(transform, columns, rows)
    return pixels[:, :rows, :columns], f"{left!r} {bottom!r} {right!r} {top!r}"


@pytest.mark.parametrize(
    ("address", "inverted"),
    [
        ("{}/rest/services/photos/ImageServer", False),
        ("{}/rest/services/photos/MapServer", False),
        ("{}/rest/services/photos/MapServer/3", True),
        ("{}/tiles/{{z}}/{{x}}/{{y}}.png#zmax=14", False),
        ("a.lyrx", False),
    ],
)
def test_services(
    translate: Any, doubled: Any, serve: Any, tmp_path: Path, address: str, inverted: bool
) -> None:
    double = ArcGis([write_scene(tmp_path / "scene.tif")])
    url = serve(tile_server if "tiles" in address else double).url
    pixels, ia.env.extent = on_scene(40, 30)
    ia.env.cellSize, ia.env.outputCoordinateSystem = CELL, 3857
    if address == "a.lyrx":
        connection = {
            "type": "CIMAGSServiceConnection",
            "URL": f"{url}/services/photos/ImageServer/",
        }
        layers = service(connection, "CIMImageServiceLayer")
        address = str(document(tmp_path / "a.lyrx", layers))
    found = translate(address.format(url)).to_array()
    assert np.array_equal(found[:3], doubled(255 - pixels if inverted else pixels))


def test_the_rasters_of_an_image_service(translate: Any, serve: Any, tmp_path: Path) -> None:
    double = ArcGis([tile(tmp_path / f"{n}.tif", n, (n * 40.0, 0.0)) for n in (1, 2)])
    url = f"{serve(double).url}/rest/services/photos/ImageServer"
    out = tmp_path / "out"
    result = translate(url, processing_mode="PROCESS_ITEMS_SEPARATELY", out_translated_folder=out)
    assert result.path == out
    assert [read(path).mean() for path in sorted(out.rglob("*.tif"))] == [1, 2]


def test_a_folder(translate: Any, doubled: Any, tmp_path: Path) -> None:
    array = scene(3, 20, 30)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    write(tmp_path / "in" / "deep" / "a.tif", array)
    Image.fromarray(np.moveaxis(array, 0, 2)).save(tmp_path / "in" / "b.png")
    result = translate(tmp_path / "in", out_translated_folder=tmp_path / "out")
    assert str(result) == str(result.path) == str(tmp_path / "out")
    for name in ("deep/a.tif", "b.png"):
        assert np.array_equal(read(tmp_path / "out" / name), doubled(array))
    assert result.report.counts == {"translated": 2}


def photos_in(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        (count,) = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()
    return int(count)


@pytest.mark.parametrize(
    "name", ["inspections.gdb", "inspections.gdb.zip", "inspections.geodatabase"]
)
def test_a_feature_class_of_a_geodatabase(
    translate: Any, fixture_copy: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    zipped = "inspections.gdb.zip"
    source = unzipped(fixture_copy(zipped)) if name.endswith(".gdb") else fixture_copy(name)
    result = translate(
        f"{source}/main.assets", out_featureclass=tmp_path / "out.gpkg", use_pixelspace=True
    )
    assert result.path == tmp_path / "out.gpkg"
    counts = result.report.counts
    assert counts["translated"] == 4
    assert photos_in(result.path, "assets__ATTACH") == counts["translated"] + counts["skipped"]


def test_a_geodatabase_as_output(
    translate: Any, fixture_copy: Callable[[str], Path], tmp_path: Path
) -> None:
    source = fixture_copy("esri_objectid.gpkg")
    result = translate(
        source / "valves", out_featureclass=tmp_path / "out.gdb" / "big", use_pixelspace=True
    )
    assert result.path == tmp_path / "out.gdb"
    result.save(tmp_path / "copy.gdb")
    shutil.rmtree(result.path)
    assert "big__ATTACH" in fiona.listlayers(tmp_path / "copy.gdb")
    with pytest.raises(ArgumentError, match="mobile geodatabase"):
        translate(source / "valves", out_featureclass=tmp_path / "out.geodatabase")


def test_a_class_of_a_mobile_geodatabase_as_output(
    translate: Any, fixture_copy: Callable[[str], Path], tmp_path: Path
) -> None:
    source = fixture_copy("inspections.geodatabase")
    out = tmp_path / "out.geodatabase"
    shutil.copy(source, out)
    mobileworld.add_class(out, "done", ["name text(80)", "seen realdate"])
    result = translate(source / "assets", out_featureclass=out / "done", use_pixelspace=True)
    assert result.path == out
    result.save(tmp_path / "copy.geodatabase")
    assert len(mobileworld.table(tmp_path / "copy.geodatabase", "done__ATTACH")) == 5
    with pytest.raises(SchemaError, match="has no class more"):
        translate(source / "assets", out_featureclass=out / "more", use_pixelspace=True)
    assert {one.name for one in tmp_path.iterdir() if one.name.startswith(".")} == set()


@pytest.mark.parametrize("name", ["a.shp", "a.lyrx", "a.qgs"])
def test_a_shapefile_and_feature_layers(translate: Any, tmp_path: Path, name: str) -> None:
    shots(tmp_path / "a.shp")
    count = 2
    if name == "a.lyrx":
        connection = standard("Shapefile", ".", "a.shp")
        document(tmp_path / name, features(connection, where="photo = '1.jpg'"))
        count = 1
    elif name == "a.qgs":
        project(tmp_path / name, layer("L", "ogr", "./a.shp"))
    result = translate(
        tmp_path / name, out_featureclass=tmp_path / "out.gpkg" / "shots", use_pixelspace=True
    )
    assert result.report.counts == {"translated": count}
    assert len(geopandas.read_file(tmp_path / "out.gpkg", layer="shots")) == count


def test_photos_of_footprints_are_overwritten_though_they_could_be_rasters(
    translate: Any, tmp_path: Path
) -> None:
    write(tmp_path / "a.tif", scene(3, 20, 30), crs=None, transform=None)
    tile(tmp_path / "place.tif", 1)
    footprints(tmp_path / "m.shp", ["place.tif"])
    frame = geopandas.read_file(tmp_path / "m.shp").assign(location="a.tif")
    frame.to_file(tmp_path / "m.shp")
    result = translate(tmp_path / "m.shp", overwrite_attachments=True, use_pixelspace=True)
    assert result.report.counts == {"translated": 1}
    assert result.path == tmp_path / "m.shp"
    with rasterio.open(tmp_path / "a.tif") as data:
        assert data.shape == (40, 60)
    with pytest.raises(ArgumentError, match="copy the folder"):
        result.save(tmp_path / "copy.shp")


def test_pixel_space_and_back(translate: Any, doubled: Any, tmp_path: Path) -> None:
    array = scene(3, 60, 80)
    points = [
        GroundControlPoint(row=row, col=col, x=NORTH_UP.c + 0.5 * col, y=NORTH_UP.f - 0.5 * row)
        for col, row in ((0, 0), (80, 0), (80, 60), (0, 60))
    ]
    source = write(tmp_path / "in.tif", array, transform=None, gcps=points)
    kept = translate(source, use_pixelspace="PIXELSPACE")
    assert np.array_equal(kept.to_array(), doubled(array))
    with rasterio.open(kept.path) as data:
        assert max(point.col for point in data.gcps[0]) == 160
    ia.env.cellSize, ia.env.outputCoordinateSystem = 0.25, UTM
    back = translate(source, use_pixelspace="PIXELSPACE")
    with rasterio.open(back.path) as data:
        assert (data.crs, data.res) == (rasterio.CRS.from_string(UTM), (0.25, 0.25))


def test_environments(translate: Any, doubled: Any, tmp_path: Path) -> None:
    array = scene(3, 40, 60)
    source = write(tmp_path / "a.tif", array)
    left, top = NORTH_UP.c, NORTH_UP.f
    ia.env.extent = f"{left + 5} {top - 15} {left + 20} {top - 5}"
    ia.env.snapRaster = source
    crop = translate(source)
    with rasterio.open(crop.path) as data:
        assert tuple(data.bounds) == (left + 5, top - 15, left + 20, top - 5)
    assert np.array_equal(crop.to_array(), doubled(array[:, 10:30, 10:40]))
    inside = np.zeros((1, 40, 60), np.uint8)
    inside[:, 12:20, 12:30] = 1
    ia.env.mask = write(tmp_path / "mask.tif", inside)
    with rasterio.open(translate(source).path) as data:
        shown = data.dataset_mask() > 0
    assert shown.sum() == 4 * inside.sum()


def test_what_a_folder_could_not_translate_is_a_warning(translate: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.tif", scene(3, 20, 30))
    cut = write(tmp_path / "in" / "b.tif", scene(3, 600, 500))
    cut.write_bytes(cut.read_bytes()[:300_000])
    with pytest.warns(UserWarning, match=r"1 translated, 1 failed.*b\.tif"):
        result = translate(tmp_path / "in", out_translated_folder=tmp_path / "out")
    assert not result.report.ok
    assert json.dumps(result.report.to_json())
