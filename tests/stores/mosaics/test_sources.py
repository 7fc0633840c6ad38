"""What each kind of collection says of its members, and what is recognised as which."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import fiona
import geopandas
import numpy as np
import pyogrio.raw
import pytest
from PIL import Image
from shapely.geometry import Point, box

from attachtrans.errors import ArgumentError, LayoutError, SourceError
from attachtrans.stores.mosaics import MosaicChoice, MosaicKind, open_mosaic, recognise
from tests.stores.mosaics.making import LEFT, SIDE, TOP, UTM, footprints, item, tile, write_json


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A folder with the rasters sub/a.tif (1) and sub/b.tif (2) beside each other."""
    tile(tmp_path / "sub/a.tif", 1, nodata=0)
    tile(tmp_path / "sub/b.tif", 2, (SIDE, 0), nodata=0)
    return tmp_path


def is_both(source: Path, choice: MosaicChoice | None = None) -> None:
    """The mosaic is a.tif and b.tif beside each other."""
    with open_mosaic(source, choice) as mosaic:
        assert len(mosaic.members) == 2
        with mosaic.mosaicked() as image:
            read = image.read()[0]
    np.testing.assert_array_equal(read, np.repeat([[1, 2]], SIDE, axis=1).repeat(SIDE, axis=0))


def write_vrt(path: Path, relative: str = "1", files: tuple[str, ...] = ("sub/a.tif", "sub/b.tif")):
    sources = "".join(
        f"""<SimpleSource><SourceFilename relativeToVRT="{relative}">{file}</SourceFilename>
        <SourceBand>1</SourceBand><SrcRect xOff="0" yOff="0" xSize="{SIDE}" ySize="{SIDE}"/>
        <DstRect xOff="{SIDE * n}" yOff="0" xSize="{SIDE}" ySize="{SIDE}"/></SimpleSource>"""
        for n, file in enumerate(files)
    )
    path.write_text(
        f"""<VRTDataset rasterXSize="{SIDE * 2}" rasterYSize="{SIDE}"><SRS>{UTM}</SRS>
        <GeoTransform>{LEFT},1,0,{TOP},0,-1</GeoTransform>
        <VRTRasterBand dataType="Byte" band="1">{sources}</VRTRasterBand></VRTDataset>"""
    )
    return path


def test_a_vrt_is_a_mosaic_of_its_files(two) -> None:
    vrt = write_vrt(two / "both.vrt")
    assert recognise(vrt) is MosaicKind.VRT
    is_both(vrt)
    with open_mosaic(vrt) as mosaic:
        assert [member.name for member in mosaic.members] == ["sub/a", "sub/b"]
        assert mosaic.order_of(None) == "list"
        with pytest.raises(ArgumentError, match="a VRT draws its files in its own order"):
            mosaic.mosaicked("name")
    (two / "sub/b.tif").unlink()
    with open_mosaic(vrt) as mosaic, pytest.raises(SourceError, match=r"b\.tif: there is no such"):
        mosaic.mosaicked()


def test_a_vrt_of_one_file_is_a_raster(two) -> None:
    assert recognise(write_vrt(two / "one.vrt", files=("sub/a.tif",))) is None
    (two / "broken.vrt").write_text("<VRTDataset>")
    assert recognise(two / "broken.vrt") is None


def test_a_vrt_of_files_on_a_network_is_refused(two) -> None:
    vrt = write_vrt(two / "net.vrt", "0", ("/vsicurl/https://example.com/a.tif", "sub/b.tif"))
    with open_mosaic(vrt) as mosaic, pytest.raises(SourceError, match="lies on a network"):
        mosaic.mosaicked()


def test_of_each_band_of_a_vrt_what_lies_on_a_network_is_refused(two) -> None:
    vrt = write_vrt(two / "net.vrt")
    second = """<VRTRasterBand dataType="Byte" band="2"><SimpleSource>
        <SourceFilename>/vsicurl/https://example.com/a.tif</SourceFilename>
        </SimpleSource></VRTRasterBand></VRTDataset>"""
    vrt.write_text(vrt.read_text().replace("</VRTDataset>", second))
    assert recognise(vrt) is MosaicKind.VRT
    with open_mosaic(vrt) as mosaic, pytest.raises(SourceError, match="lies on a network"):
        mosaic.mosaicked()


@pytest.mark.parametrize("ending", [".gpkg", ".shp", ".geojson", ".fgb", ".gti.gpkg", ".gti.fgb"])
def test_vector_files_with_a_column_of_paths(two, ending, monkeypatch) -> None:
    source = footprints(two / f"index{ending}", ["sub/a.tif", "sub/b.tif"])
    expected = MosaicKind.GTI if ".gti." in ending else MosaicKind.FOOTPRINTS
    assert recognise(source) is expected
    monkeypatch.chdir("/")
    is_both(source)
    with open_mosaic(source) as mosaic:  # FlatGeobuf has an order of its own
        assert {member.name for member in mosaic.members} == {"sub/a", "sub/b"}


def test_absolute_and_climbing_paths_are_followed_and_names_are_safe(two) -> None:
    here = two / "deep"
    here.mkdir()
    absolute = str(two / "sub/b.tif")
    source = footprints(here / "index.gpkg", ["../sub/a.tif", absolute, "../sub/../sub/a.tif"])
    with open_mosaic(source) as mosaic:
        assert [member.path for member in mosaic.members] == [absolute, str(two / "sub/a.tif")]
        assert [member.name for member in mosaic.members] == ["b", "a"]
    is_both(source, MosaicChoice())


def test_paths_that_windows_wrote_are_found(two) -> None:
    source = footprints(two / "i.gpkg", ["sub/a.tif", "sub/b.tif"])
    layer = geopandas.read_file(source)
    layer["location"] = layer["location"].str.replace("/", "\\")
    layer.to_file(two / "w.gpkg")
    is_both(two / "w.gpkg")


def test_names_are_unique(tmp_path) -> None:
    paths = [str(tile(tmp_path / f"{n}/image.tif", 1)) for n in range(3)]
    (tmp_path / "else").mkdir()
    with open_mosaic(footprints(tmp_path / "else/i.gpkg", paths)) as mosaic:
        assert [m.name for m in mosaic.members] == ["image", "image_2", "image_3"]
        assert len(mosaic.members[1:]) == 2
        with pytest.raises(IndexError):
            mosaic.members[3]


@pytest.mark.parametrize("column", ["Filename", "scan", "SOURCE_PATH"])
def test_the_column_is_found_by_its_name_or_its_values(two, column) -> None:
    source = footprints(two / "i.gpkg", ["sub/a.tif", "sub/b.tif"], column, title=["x", "y"])
    assert recognise(source) is MosaicKind.FOOTPRINTS
    with open_mosaic(source) as mosaic:
        assert f"paths of rasters: column {column}" in mosaic.notes
    is_both(source)


def test_a_column_that_is_named_is_taken_or_refused(two) -> None:
    names = ["sub/a.tif", "sub/b.tif"]
    source = footprints(two / "i.gpkg", names, other=["sub/a.tif", "sub/a.tif"])
    with open_mosaic(source, MosaicChoice(path_column="OTHER")) as mosaic:
        assert [member.name for member in mosaic.members] == ["sub/a"]
    with pytest.raises(ArgumentError, match="it has location, other"):
        open_mosaic(source, MosaicChoice(path_column="none"))
    with pytest.raises(ArgumentError, match="--date-column when"):
        open_mosaic(source, MosaicChoice(date_column="when"))
    with pytest.raises(ArgumentError, match="--asset does not concern"):
        open_mosaic(source, MosaicChoice(asset="visual"))


def test_where_chooses_members(two) -> None:
    source = footprints(two / "i.gpkg", ["sub/a.tif", "sub/b.tif"], cloud=[5, 80])
    with open_mosaic(source, MosaicChoice(where="cloud < 10")) as mosaic:
        assert [member.name for member in mosaic.members] == ["sub/a"]
    with pytest.raises(LayoutError, match="lists no rasters"):
        open_mosaic(source, MosaicChoice(where="cloud > 100"))
    with pytest.raises(ArgumentError, match="is no SQL for"):
        open_mosaic(source, MosaicChoice(where="cloud <"))


def test_footprints_say_bounds_and_dates(two) -> None:
    dates = ["2024-05-01T10:00:00+02:00", "2024:05:01 12:00:00"]
    source = footprints(two / "i.gpkg", ["sub/a.tif", "sub/b.tif"], acquired=dates)
    with open_mosaic(source) as mosaic:
        first, second = mosaic.members
    assert first.bounds == (LEFT, TOP - SIDE, LEFT + SIDE, TOP)
    assert first.crs.to_epsg() == 32632
    assert first.date.astimezone(UTC) == datetime(2024, 5, 1, 8, tzinfo=UTC)
    assert second.date == datetime(2024, 5, 1, 12, tzinfo=UTC)


def test_features_without_paths_of_rasters_are_no_mosaic(two) -> None:
    footprints(two / "photos.gpkg", ["sub/a.tif"], "photo").unlink()
    points = geopandas.GeoDataFrame({"location": ["a.tif"]}, geometry=[Point(0, 0)], crs=UTM)
    points.to_file(two / "points.gpkg")
    shape = [box(0, 0, 1, 1)]
    geopandas.GeoDataFrame({"photo": ["a.jpg"]}, geometry=shape, crs=UTM).to_file(two / "p.gpkg")
    assert recognise(two / "points.gpkg") is None
    assert recognise(two / "p.gpkg") is None
    assert recognise(two / "sub/a.tif") is None
    assert recognise(two) is None
    assert recognise(two / "missing.gpkg") is None
    (two / "text.gpkg").write_text("no database")
    assert recognise(two / "text.gpkg") is None
    with pytest.raises(SourceError, match="is no mosaic"):
        open_mosaic(two / "p.gpkg")


def test_several_layers_ask_for_one(two) -> None:
    source = footprints(two / "i.gpkg", ["sub/a.tif", "sub/b.tif"])
    geopandas.read_file(source).to_file(source, layer="second")
    with pytest.raises(ArgumentError, match=r"several layers name rasters \(i, second\)"):
        open_mosaic(source)
    is_both(source, MosaicChoice(layer="second"))
    with pytest.raises(ArgumentError, match="has no layer third; it has i, second"):
        open_mosaic(source, MosaicChoice(layer="third"))


def gti(path: Path, elements: str, index: str = "index.gpkg") -> Path:
    root = f"<IndexDataset>{index}</IndexDataset>{elements}"
    path.write_text(f"<GDALTileIndexDataset>{root}</GDALTileIndexDataset>")
    return path


def test_a_tile_index_says_how_its_mosaic_is(tmp_path) -> None:
    for name, value in (("a", 1), ("b", 2), ("c", 3)):
        tile(tmp_path / f"{name}.tif", value)
    footprints(tmp_path / "index.gpkg", ["a.tif", "b.tif", "c.tif"], z=[3, 9, 5], use=[1, 0, 1])
    source = gti(
        tmp_path / "mosaic.gti",
        f"""<Filter>use = 1</Filter><SortField>z</SortField><ResX>2</ResX><ResY>2</ResY>
        <MinX>{LEFT - 10}</MinX><MinY>{TOP - 64}</MinY><MaxX>{LEFT + 64}</MaxX><MaxY>{TOP}</MaxY>
        <Band band="1" dataType="UInt16"><NoDataValue>77</NoDataValue></Band>""",
    )
    assert recognise(source) is MosaicKind.GTI
    with open_mosaic(source) as mosaic:
        assert [member.name for member in mosaic.members] == ["a", "c"]
        with mosaic.mosaicked() as image:
            assert image.size == (37, 32)
            assert image.dtype == np.uint16
            assert image.nodata == 77
            read = image.read()[0]
    assert (read[:, :5] == 77).all()
    assert (read[:, 5:] == 3).all()
    falling = gti(tmp_path / "other.gti", "<SortField>z</SortField><SortFieldAsc>no</SortFieldAsc>")
    with open_mosaic(falling) as mosaic, mosaic.mosaicked() as image:
        assert (image.read() == 1).all()


def test_null_sort_values_and_damaged_items_end_nothing(tmp_path) -> None:
    for name, value in (("a", 1), ("b", 2), ("c", 3)):
        tile(tmp_path / f"{name}.tif", value)
    names = ["a.tif", "b.tif", "c.tif"]
    footprints(tmp_path / "index.gpkg", names, z=["x", None, None])
    source = gti(tmp_path / "mosaic.gti", "<SortField>z</SortField>")
    with open_mosaic(source) as mosaic, mosaic.mosaicked() as image:
        assert (image.read() == 1).all()
    odd = {**item("x", "a.tif"), "bbox": ["west", 1, 2, None], "properties": {"datetime": 5}}
    with open_mosaic(write_json(tmp_path / "i.json", odd)) as mosaic:
        (member,) = mosaic.members
    assert (member.bounds, member.date, member.problem) == (None, None, None)


def test_a_tile_index_with_a_geotransform(tmp_path) -> None:
    tile(tmp_path / "a.tif", 1)
    footprints(tmp_path / "index.gpkg", ["a.tif"])
    elements = (
        f"<GeoTransform>{LEFT},0.5,0,{TOP},0,-0.5</GeoTransform><XSize>100</XSize><YSize>20</YSize>"
    )
    with open_mosaic(gti(tmp_path / "m.gti", elements)) as mosaic, mosaic.mosaicked() as image:
        assert image.size == (100, 20)
        assert image.transform.a == 0.5


def test_metadata_of_a_tile_indexs_layer_count(tmp_path) -> None:
    tile(tmp_path / "a.tif", np.ones((3, SIDE, SIDE)))
    source = footprints(tmp_path / "plain.gpkg", ["a.tif"])
    meta, _, shapes, data = pyogrio.raw.read(source)
    for ending, driver in ((".gti.gpkg", "GPKG"), (".gti.fgb", "FlatGeobuf")):
        target = tmp_path / f"i{ending}"
        pyogrio.raw.write(
            target,
            shapes,
            data,
            meta["fields"],
            layer="tiles",
            driver=driver,
            geometry_type="Polygon",
            crs=meta["crs"],
            layer_metadata={"RESX": "4", "RESY": "4", "BAND_COUNT": "2", "MASK_BAND": "YES"},
        )
        with open_mosaic(target) as mosaic, mosaic.mosaicked() as image:
            assert (image.transform.a, image.bands) == (4.0, 2)
            assert image.read_mask().all()


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("/vsicurl/https://example.com/i.gpkg", "is not on this machine"),
        ("none.gpkg", r"its index .*none\.gpkg is not there"),
    ],
)
def test_a_tile_index_whose_index_is_not_here(tmp_path, index, message) -> None:
    with pytest.raises(SourceError, match=message):
        open_mosaic(gti(tmp_path / "m.gti", "", index))
    (tmp_path / "n.gti").write_text("<VRTDataset/>")
    with pytest.raises(SourceError, match="its XML begins with <VRTDataset>"):
        open_mosaic(tmp_path / "n.gti")


def test_special_names_of_gdal_are_not_opened(tmp_path) -> None:
    tile(tmp_path / "a.tif", 1)
    names = ["a.tif", "<VRTDataset/>", 'NETCDF:"x.nc":y', "/vsizip/x.zip/a.tif"]
    shapes = [box(0, 0, 1, 1)] * 4
    index = tmp_path / "i.gti.gpkg"
    geopandas.GeoDataFrame({"location": names}, geometry=shapes, crs=UTM).to_file(index)
    with open_mosaic(index) as mosaic:
        problems = [member.problem for member in mosaic.members]
    assert problems[0] is None
    assert all(problem.startswith("is no plain file") for problem in problems[1:])


def test_stac_items_in_a_collection_one_file_and_a_catalog(two) -> None:
    items = [item("S2/a", "../sub/a.tif", date="2024-01-01T00:00:00Z")]
    items.append(item("S2/b", "../sub/b.tif", date="2024-01-02T00:00:00Z"))
    found = write_json(two / "stac/all.json", {"type": "FeatureCollection", "features": items})
    assert recognise(found) is MosaicKind.STAC
    is_both(found)
    with open_mosaic(found) as mosaic:
        assert [member.name for member in mosaic.members] == ["S2_a", "S2_b"]
        assert mosaic.order_of(None) == "date"
        assert mosaic.members[0].date == datetime(2024, 1, 1, tzinfo=UTC)
        assert mosaic.members[0].bounds == (9.0, 45.1, 9.001, 45.101)
    write_json(two / "stac/one.json", items[0])
    with open_mosaic(two / "stac/one.json") as mosaic:
        assert len(mosaic.members) == 1
    write_json(
        two / "stac/deep/b.json",
        {**items[1], "assets": {"image": {"href": "../../sub/b.tif", "type": "image/tiff"}}},
    )
    links = [{"rel": "item", "href": "one.json"}, {"rel": "child", "href": "./deep/catalog.json"}]
    links.append({"rel": "self", "href": "catalog.json"})
    catalog = {"type": "Catalog", "stac_version": "1.1.0", "id": "c", "links": links}
    deep = [{"rel": "item", "href": "./b.json"}, {"rel": "child", "href": "../catalog.json"}]
    write_json(two / "stac/deep/catalog.json", {**catalog, "links": deep})
    is_both(write_json(two / "stac/catalog.json", catalog))


def test_items_and_assets_on_a_network_are_named(two) -> None:
    links = [{"rel": "item", "href": "https://example.com/item.json"}]
    source = write_json(
        two / "c.json", {"type": "Catalog", "stac_version": "1.0.0", "links": links}
    )
    with open_mosaic(source) as mosaic:
        assert mosaic.members[0].path == "https://example.com/item.json"
        assert "item on a network" in mosaic.members[0].problem
    features = [item("a", "sub/a.tif"), item("b", "s3://bucket/b.tif")]
    source = write_json(two / "f.json", {"type": "FeatureCollection", "features": features})
    with open_mosaic(source) as mosaic:
        assert [member.problem is None for member in mosaic.members] == [True, False]
        with pytest.raises(SourceError, match=r"s3://bucket/b\.tif: lies on a network"):
            mosaic.mosaicked()


def assets(**more: dict[str, object]) -> dict[str, object]:
    kind = "image/tiff; application=geotiff; profile=cloud-optimized"
    one = item("x", "sub/a.tif")
    one["assets"] = {
        "B04": {"href": "sub/b.tif", "type": kind, "roles": ["data"]},
        "B03": {"href": "sub/c.tif", "type": kind, "roles": ["data", "reflectance"]},
        "preview": {"href": "sub/p.tif", "type": kind, "roles": ["thumbnail"]},
        "meta": {"href": "sub/m.xml", "type": "application/xml"},
        **more,
    }
    return one


def test_the_asset_is_chosen_by_key_role_or_type_or_asked_for(two) -> None:
    def chosen(value: dict[str, object], asset: str | None = None) -> str:
        source = write_json(two / "i.json", value)
        with open_mosaic(source, MosaicChoice(asset=asset)) as mosaic:
            return Path(mosaic.members[0].path).name

    visual = {"visual": {"href": "sub/a.tif", "type": "image/tiff"}}
    with pytest.raises(ArgumentError, match=r"item x has several rasters \(B04, B03\)"):
        chosen(assets())
    assert chosen(assets(**visual)) == "a.tif"
    assert chosen(assets(), "B04") == "b.tif"
    assert chosen(assets(), "reflectance") == "c.tif"
    assert chosen(assets(), "application/xml") == "m.xml"
    with open_mosaic(write_json(two / "i.json", assets()), MosaicChoice(asset="B99")) as mosaic:
        assert mosaic.members[0].problem == (
            "the item has no asset B99; its assets: B04, B03, preview, meta"
        )


def test_stac_geoparquet(two) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    empty = {"href": None, "type": None, "roles": None}
    rows = [
        {
            "id": name,
            "assets": {
                "image": {"href": f"sub/{name}.tif", "type": "image/tiff", "roles": ["data"]},
                "extra": None if name == "a" else empty,
            },
            "bbox": {"xmin": 9.0, "ymin": 45.0, "xmax": 9.1, "ymax": 45.1},
            "datetime": datetime(2024, 1, day, tzinfo=UTC),
            "geometry": None,
        }
        for day, name in ((1, "a"), (2, "b"))
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), two / "items.parquet")
    assert recognise(two / "items.parquet") is MosaicKind.STAC_PARQUET
    is_both(two / "items.parquet")
    with open_mosaic(two / "items.parquet") as mosaic:
        assert mosaic.members[1].date == datetime(2024, 1, 2, tzinfo=UTC)
        assert mosaic.members[1].bounds == (9.0, 45.0, 9.1, 45.1)
    parquet.write_table(pyarrow.Table.from_pylist([{"a": 1}]), two / "other.parquet")
    assert recognise(two / "other.parquet") is None


def test_a_folder_with_mosaic(two) -> None:
    write_vrt(two / "both.vrt")
    Image.new("L", (4, 4)).save(two / "preview.png")
    choice = MosaicChoice(as_mosaic=True)
    assert recognise(two, choice) is MosaicKind.FOLDER
    is_both(two, choice)
    with open_mosaic(two, choice) as mosaic:
        assert "left out: both.vrt (its files are taken) and 1 more" in mosaic.notes
    with open_mosaic(two, MosaicChoice(as_mosaic=True, patterns=["a*"])) as mosaic:
        assert [member.name for member in mosaic.members] == ["sub/a"]
    with pytest.raises(LayoutError, match="no rasters with a place on the map"):
        open_mosaic(two, MosaicChoice(as_mosaic=True, recursive=False))


def geodatabase(path: Path, *layers: str) -> Path:
    schema = {"geometry": "Polygon", "properties": {"Name": "str"}}
    row = {"geometry": box(9, 45, 10, 46).__geo_interface__, "properties": {"Name": "x"}}
    for layer in layers:
        options = {"driver": "OpenFileGDB", "layer": layer, "schema": schema, "crs": "EPSG:4326"}
        with fiona.open(path, "w", **options) as file:
            file.write(row)
    return path


def test_an_esri_mosaic_dataset_is_refused_by_name(tmp_path) -> None:
    tables = ("AMD_Orthos_CAT", "AMD_Orthos_BND", "parcels")
    source = geodatabase(tmp_path / "data.gdb", *tables)
    for named in (source, source / "Orthos"):
        assert recognise(named) is MosaicKind.ESRI
        with pytest.raises(SourceError, match=r"data\.gdb.*: Orthos is an Esri .*--mosaic"):
            open_mosaic(named)
    assert recognise(source, MosaicChoice(layer="parcels")) is None
    assert recognise(geodatabase(tmp_path / "plain.gdb", "parcels")) is None
    photos = geodatabase(tmp_path / "photos.gdb", *tables, "parcels__ATTACH")
    assert recognise(photos) is None
    assert recognise(photos, MosaicChoice(layer="orthos")) is MosaicKind.ESRI


def test_recognising_loads_nothing_heavy_until_it_is_needed() -> None:
    script = (
        "import sys\nimport attachtrans.stores.mosaics\n"
        "assert not {'torch', 'rasterio', 'pyogrio', 'fiona', 'pyarrow'} & set(sys.modules)"
    )
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60, env=environment)
