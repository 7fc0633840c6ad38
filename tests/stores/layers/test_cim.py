"""Layer files of ArcGIS Pro, by Esri's public description of them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from attachtrans.errors import ArgumentError, SourceError
from attachtrans.stores.layers import LayerKind, LayerSource, list_layers, read_layer


def standard(factory: str, workspace: str, dataset: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "CIMStandardDataConnection",
        "workspaceConnectionString": f"DATABASE={workspace}",
        "workspaceFactory": factory,
        "dataset": dataset,
        "datasetType": "esriDTAny",
    } | more


def features(connection: dict[str, Any], name: str = "L", where: str | None = None) -> dict:
    table = {"type": "CIMFeatureTable", "dataConnection": connection}
    if where is not None:
        table["definitionExpression"] = where
    return {"type": "CIMFeatureLayer", "name": name, "uRI": "CIMPATH=m/a.json"} | {
        "featureTable": table
    }


def raster(connection: dict[str, Any], colorizer: dict[str, Any] | None = None) -> dict:
    layer = {"type": "CIMRasterLayer", "name": "L", "dataConnection": connection}
    return layer if colorizer is None else layer | {"colorizer": colorizer}


def service(connection: dict[str, Any], kind: str = "CIMTiledServiceLayer") -> dict:
    key = "dataConnection" if kind == "CIMImageServiceLayer" else "serviceConnection"
    return {"type": kind, "name": "L", key: connection}


def document(path: Path, *layers: dict[str, Any]) -> Path:
    kind = "CIMMapDocument" if path.suffix == ".mapx" else "CIMLayerDocument"
    path.write_text(
        json.dumps({"type": kind, "layers": [], "layerDefinitions": layers}), encoding="utf-8-sig"
    )
    return path


def only(folder: Path, layer: dict[str, Any]) -> LayerSource:
    return read_layer(document(folder / "a.lyrx", layer))


@pytest.mark.parametrize(
    ("factory", "workspace", "dataset", "source", "sublayer"),
    [
        ("FileGDB", "..\\d\\a.gdb", "trees", "{up}/d/a.gdb", "trees"),
        ("FileGDB", "C:\\d\\a.gdb", "trees", "C:/d/a.gdb", "trees"),
        ("FileGDB", "\\\\server\\d\\a.gdb", "trees", "//server/d/a.gdb", "trees"),
        ("Shapefile", ".", "trees.shp", "{}/trees.shp", None),
        ("Shapefile", "d", "trees", "{}/d/trees.shp", None),
        ("Shapefile", ".\\trees.shp", "trees", "{}/trees.shp", None),
        ("SqlLite", "./a.gpkg", "main.trees", "{}/a.gpkg", "trees"),
        ("SQLite", "./a.gpkg", "trees", "{}/a.gpkg", "trees"),
    ],
)
def test_features_and_their_definition_query(
    tmp_path: Path, factory: str, workspace: str, dataset: str, source: str, sublayer: str | None
) -> None:
    found = only(tmp_path, features(standard(factory, workspace, dataset), where=" n > 1 "))
    expected = source.replace("{}", str(tmp_path)).replace("{up}", str(tmp_path.parent))
    assert found == LayerSource(
        kind=LayerKind.FEATURES, name="L", source=expected, sublayer=sublayer, where="n > 1"
    )


def test_a_feature_dataset_is_a_place_in_the_geodatabase(tmp_path: Path) -> None:
    connection = standard("FileGDB", "a.gdb", "trees") | {
        "type": "CIMFeatureDatasetDataConnection",
        "featureDataset": "survey",
    }
    found = only(tmp_path, features(connection))
    assert (found.source, found.sublayer, found.where) == (f"{tmp_path}/a.gdb", "trees", None)


@pytest.mark.parametrize(
    ("connection", "source"),
    [
        (standard("Raster", ".", "a.tif"), "{}/a.tif"),
        (standard("Raster", "./a.tif", "a.tif"), "{}/a.tif"),
        (standard("Raster", "C:\\d;AUTHENTICATION=x", "a.tif"), "C:/d/a.tif"),
        (standard("FileGDB", "a.gdb", "ortho"), 'OpenFileGDB:"{}/a.gdb":ortho'),
        (standard("SqlLite", "a.gpkg", "main.ortho"), "GPKG:{}/a.gpkg:ortho"),
    ],
)
def test_rasters(tmp_path: Path, connection: dict[str, Any], source: str) -> None:
    found = only(tmp_path, raster(connection))
    assert (found.kind, found.bands) == (LayerKind.RASTER, None)
    assert found.source == source.replace("{}", str(tmp_path))


@pytest.mark.parametrize(
    ("colorizer", "bands"),
    [
        ({"type": "CIMRasterRGBColorizer"}, (1, 2, 3)),
        ({"type": "CIMRasterRGBColorizer", "redBandIndex": 3, "blueBandIndex": 0}, (4, 2, 1)),
        ({"type": "CIMRasterRGBColorizer", "useGreenBand": False, "alphaBandIndex": 3}, (1, 3)),
        ({"type": "CIMRasterStretchColorizer", "bandIndex": 2}, (3,)),
        ({"type": "CIMRasterStretchColorizer"}, (1,)),
        ({"type": "CIMRasterUniqueValueColorizer"}, None),
    ],
)
def test_bands_are_those_of_the_colorizer(
    tmp_path: Path, colorizer: dict[str, Any], bands: tuple[int, ...] | None
) -> None:
    assert only(tmp_path, raster(standard("Raster", ".", "a.tif"), colorizer)).bands == bands


def test_a_band_can_be_a_layer(tmp_path: Path) -> None:
    connection = standard("Raster", ".", "a.tif", rasterBandName="Band_3") | {
        "type": "CIMRasterBandDataConnection"
    }
    colorizer = {"type": "CIMRasterStretchColorizer", "bandIndex": 0}
    assert only(tmp_path, raster(connection, colorizer)).bands == (3,)


def server(url: str, **more: Any) -> dict[str, Any]:
    return {"serverConnection": {"type": "CIMInternetServerConnection", "url": url}} | more


@pytest.mark.parametrize(
    ("layer", "name", "url", "sublayer", "options"),
    [
        (
            service(
                {"type": "CIMAGSServiceConnection", "url": "https://h/rest/services/a/MapServer"}
            ),
            "arcgis-map",
            "https://h/rest/services/a/MapServer",
            None,
            {},
        ),
        (
            service(
                {"type": "CIMAGSServiceConnection", "URL": "https://h/x/services/a/b/ImageServer/"},
                "CIMImageServiceLayer",
            ),
            "arcgis-image",
            "https://h/x/rest/services/a/b/ImageServer",
            None,
            {},
        ),
        (
            service(
                server(
                    "https://h/wms", type="CIMWMSServiceConnection", layerName="a", version="1.3.0"
                )
            ),
            "wms",
            "https://h/wms",
            "a",
            {"version": "1.3.0"},
        ),
        (
            service(
                server(
                    "https://h/wmts",
                    type="CIMWMTSServiceConnection",
                    layerName="a",
                    style="s",
                    tileMatrixSet="PM",
                    imageFormat="image/png",
                )
            ),
            "wmts",
            "https://h/wmts",
            "a",
            {"tilematrixset": "PM", "style": "s", "format": "image/png"},
        ),
    ],
)
def test_services(
    tmp_path: Path,
    layer: dict[str, Any],
    name: str,
    url: str,
    sublayer: str | None,
    options: dict[str, str],
) -> None:
    found = only(tmp_path, layer)
    assert (found.kind, found.service, found.source) == (LayerKind.SERVICE, name, url)
    assert (found.sublayer, dict(found.options)) == (sublayer, options)


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        ({"type": "CIMMosaicLayer", "name": "L"}, "mosaic dataset.*footprints"),
        (
            raster(standard("FileGDB", "a.gdb", "m", datasetType="esriDTMosaicDataset")),
            "mosaic dataset.*footprints",
        ),
        (features(standard("SDE", "x", "y")), "workspace of type SDE; .*Export"),
        (features({"type": "CIMRelQueryTableDataConnection"}), "joined.*Export"),
        (features({"type": "CIMSqlQueryDataConnection"}), "query on a database"),
        (features({"type": "CIMOther"}), "its data connection is a CIMOther"),
        (raster(standard("Raster", ".", "<xml/>")), "raster functions.*Export Raster"),
        ({"type": "CIMAnnotationLayer", "name": "L"}, "neither raster nor features"),
        (
            service(
                {
                    "type": "CIMAGSServiceConnection",
                    "url": "https://h/rest/services/a/FeatureServer",
                }
            ),
            "image and map services are read",
        ),
        (service({"type": "CIMWMSServiceConnection"}), "no address"),
        (
            {
                "type": "CIMVectorTileLayer",
                "name": "L",
                "dataConnection": {"type": "CIMVectorTileDataConnection"},
            },
            "vector tiles",
        ),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, layer: dict[str, Any], why: str) -> None:
    with pytest.raises(SourceError, match=f"layer 'L' cannot be read: .*{why}"):
        only(tmp_path, layer)


@pytest.mark.parametrize("ending", [".lyrx", ".mapx"])
def test_groups_are_dissolved_and_layers_chosen_by_name(tmp_path: Path, ending: str) -> None:
    path = document(
        tmp_path / f"a{ending}",
        {"type": "CIMGroupLayer", "name": "Group", "layers": ["CIMPATH=a"]},
        features(standard("FileGDB", "a.gdb", "t"), "Trees"),
        features(standard("FileGDB", "a.gdb", "s"), "Shots"),
    )
    assert list_layers(path) == ("Trees", "Shots")
    assert read_layer(f"{path}:Shots").sublayer == "s"
    with pytest.raises(ArgumentError, match="'Trees', 'Shots'"):
        read_layer(path)


def test_layers_of_a_project(tmp_path: Path) -> None:
    path = tmp_path / "a.aprx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("GISProject.json", json.dumps({"type": "CIMGISProject"}))
        archive.writestr("Map/Map.json", json.dumps({"type": "CIMMap", "name": "Map"}))
        layer = features(standard("FileGDB", ".\\a.gdb", "t"), "Trees")
        archive.writestr("Map/trees.json", json.dumps(layer))
        archive.writestr("Index/x.xml", "<x/>")
    assert list_layers(path) == ("Trees",)
    assert read_layer(path).source == f"{tmp_path}/a.gdb"


def test_a_project_of_pro_2_is_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.aprx", "w") as archive:
        archive.writestr("Map/trees.xml", "<CIMFeatureLayer/>")
    with pytest.raises(SourceError, match=r"ArcGIS Pro 2 .*\.lyrx"):
        list_layers(tmp_path / "a.aprx")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "not readable JSON"),
        (b"[]", "no layer file"),
        (b'{"layerDefinitions": 1}', "no layer"),
    ],
)
def test_damaged_files_are_told(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "a.lyrx").write_bytes(content)
    with pytest.raises(SourceError, match=why):
        list_layers(tmp_path / "a.lyrx")


def test_odd_definitions_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.lyrx"
    odd: list[Any] = [1, None, {}, {"type": 3, "name": None}, {"featureTable": [], "name": "x"}]
    path.write_text(json.dumps({"layerDefinitions": odd}))
    assert len(list_layers(path)) == 3
    with pytest.raises(SourceError, match="cannot be read"):
        read_layer(path)
