"""QGIS layer definitions and projects; QGIS itself is the oracle of the long test."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from html import escape
from pathlib import Path

import pytest

from attachtrans.errors import ArgumentError, SourceError
from attachtrans.stores.layers import LayerKind, LayerSource, list_layers, read_layer

SRS = "<srs><spatialrefsys><authid>EPSG:25832</authid><wkt>PROJCRS[]</wkt></spatialrefsys></srs>"

XYZ = (
    "type=xyz&url=https://h/%7Bz%7D/%7Bx%7D/%7B-y%7D.png?k%3Da+b%2526&zmax=19&zmin=2&"
    "tilePixelRatio=2&username=u&password=p"
)
WMTS = (
    "crs=EPSG:3857&format=image/jpeg&layers=ortho&styles=normal&tileMatrixSet=PM&"
    "url=https://h/wmts?SERVICE%3DWMTS%26a%3D1"
)
WMS = (
    "crs=EPSG:25832&format=image/png&layers=a&layers=b%20c&styles&styles=s&"
    "url=https://h/wms?map%3D/x"
)


def layer(name: str, provider: str, source: str, more: str = "") -> str:
    return (
        f"<maplayer><id>{name}_1</id><datasource>{escape(source, quote=False)}</datasource>"
        f"<layername>{name}</layername><provider encoding='UTF-8'>{provider}</provider>{more}"
        "</maplayer>"
    )


def project(path: Path, *layers: str, order: tuple[str, ...] = ()) -> Path:
    tree = "".join(f"<layer-tree-layer id='{name}_1'/>" for name in order)
    text = (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n<qgis>"
        f"<layer-tree-group>{tree}</layer-tree-group>"
        f"<projectlayers>{''.join(layers)}</projectlayers></qgis>"
    )
    if path.suffix == ".qgz":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("styles.db", b"x")
            archive.writestr("a.qgs", text)
    else:
        path.write_text(text, encoding="utf-8")
    return path


def only(folder: Path, provider: str, source: str, more: str = "") -> LayerSource:
    return read_layer(project(folder / "a.qgs", layer("L", provider, source, more)))


@pytest.mark.parametrize(
    ("source", "path", "sublayer", "where"),
    [
        ("./a.shp", "{}/a.shp", None, None),
        ("./a.fgb|layername=own|subset=n < 3", "{}/a.fgb", None, "n < 3"),
        ("./a.shp|layerid=0", "{}/a.shp", None, None),
        ("../b/a.gpkg|layername=t 1", "{up}/b/a.gpkg", "t 1", None),
        ("a.gpkg|layername=t|subset=\"n\" > 1 || '|x=1'", "{}/a.gpkg", "t", "\"n\" > 1 || '|x=1'"),
        ("a.gpkg|uniqueGeometryType=yes|layername=t|subset=", "{}/a.gpkg", "t", None),
        ("/abs/a.shp|subset=n < 3", "/abs/a.shp", None, "n < 3"),
        ("C:/d/a.shp", "C:/d/a.shp", None, None),
        ("D:\\d\\a.shp", "D:/d/a.shp", None, None),
        ("//server/share/a.shp", "//server/share/a.shp", None, None),
        ("/vsizip//abs/a.zip/a.shp", "/vsizip//abs/a.zip/a.shp", None, None),
        ("file:///abs/a%20b.shp", "/abs/a b.shp", None, None),
    ],
)
def test_features_of_a_file(
    tmp_path: Path, source: str, path: str, sublayer: str | None, where: str | None
) -> None:
    found = only(tmp_path, "ogr", source, SRS)
    expected = path.replace("{}", str(tmp_path)).replace("{up}", str(tmp_path.parent))
    assert found == LayerSource(
        kind=LayerKind.FEATURES,
        name="L",
        source=expected,
        sublayer=sublayer,
        where=where,
        crs="EPSG:25832",
    )


@pytest.mark.parametrize(
    ("renderer", "bands"),
    [
        ("type='multibandcolor' redBand='4' greenBand='1' blueBand='2' alphaBand='-1'", (4, 1, 2)),
        ("type='multibandcolor' redBand='4' greenBand='-1' blueBand='2'", (4, 2)),
        ("type='singlebandgray' grayBand='3' alphaBand='-1'", (3,)),
        ("type='singlebandpseudocolor' band='2'", (2,)),
        ("type='singlebandcolordata' band='1'", None),
        ("type='multibandcolor' redBand='-1' greenBand='' blueBand='x'", None),
    ],
)
def test_bands_are_those_of_the_renderer(
    tmp_path: Path, renderer: str, bands: tuple[int, ...] | None
) -> None:
    pipe = f"<pipe><rasterrenderer {renderer}/></pipe>"
    found = only(tmp_path, "gdal", "./a.tif|option:X=1", pipe)
    assert (found.kind, found.source) == (LayerKind.RASTER, f"{tmp_path}/a.tif")
    assert found.bands == bands


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('NETCDF:"./a.nc":v', 'NETCDF:"{}/a.nc":v'),
        ("GPKG:./a.gpkg:tiles", "GPKG:{}/a.gpkg:tiles"),
        ('HDF5:"/abs/a.h5"://x/y', 'HDF5:"/abs/a.h5"://x/y'),
        ("/vsicurl/https://h/a.tif", "/vsicurl/https://h/a.tif"),
    ],
)
def test_gdals_own_names_keep_their_form(tmp_path: Path, source: str, expected: str) -> None:
    assert only(tmp_path, "gdal", source).source == expected.replace("{}", str(tmp_path))


@pytest.mark.parametrize(
    ("provider", "source", "service", "url", "sublayer", "options"),
    [
        (
            "wms",
            XYZ,
            "xyz",
            "https://h/{z}/{x}/{-y}.png?k=a+b%26",
            None,
            {"zmin": "2", "zmax": "19", "tilesize": "512"},
        ),
        (
            "wms",
            WMTS,
            "wmts",
            "https://h/wmts?SERVICE=WMTS&a=1",
            "ortho",
            {"tilematrixset": "PM", "style": "normal", "format": "image/jpeg"},
        ),
        (
            "wms",
            WMS,
            "wms",
            "https://h/wms?map=/x",
            "a,b c",
            {"crs": "EPSG:25832", "styles": ",s", "format": "image/png"},
        ),
        (
            "wms",
            "crs=EPSG:4326&layers=a&layers=b&styles&styles&url=https://h/wms",
            "wms",
            "https://h/wms",
            "a,b",
            {"crs": "EPSG:4326"},
        ),
        (
            "arcgismapserver",
            "crs='EPSG:3857' format='PNG32' layer='3' url='https://h/rest/services/x/MapServer'",
            "arcgis-map",
            "https://h/rest/services/x/MapServer",
            "3",
            {},
        ),
        (
            "arcgismapserver",
            "url='https://h/rest/services/x/ImageServer/' http-header:referer=''",
            "arcgis-image",
            "https://h/rest/services/x/ImageServer",
            None,
            {},
        ),
    ],
)
def test_services(
    tmp_path: Path,
    provider: str,
    source: str,
    service: str,
    url: str,
    sublayer: str | None,
    options: dict[str, str],
) -> None:
    found = only(tmp_path, provider, source, SRS)
    assert (found.kind, found.service) == (LayerKind.SERVICE, service)
    assert (found.source, found.sublayer, dict(found.options)) == (url, sublayer, options)


def test_mbtiles_are_a_file(tmp_path: Path) -> None:
    found = only(tmp_path, "wms", "type=mbtiles&url=file:///d/a%2520b.mbtiles")
    assert (found.kind, found.source) == (LayerKind.RASTER, "/d/a b.mbtiles")


@pytest.mark.parametrize(
    ("provider", "source", "why"),
    [
        ("memory", "memory?geometry=Point", "in the memory of QGIS.*GeoPackage"),
        ("postgres", "dbname='a'", "PostgreSQL.*GeoPackage"),
        ("virtual", "?query=select", "virtual"),
        ("something", "x", "provider 'something'"),
        ("gdal", "<GDAL_WMS/>", "XML in the layer itself"),
        ("ogr", "localized:a/b.shp", "only this QGIS can resolve"),
        ("ogr", "a.shp|subset=SELECT * FROM a", "whole query"),
        ("ogr", "gone.gpkg|layerid=3", "its layer 3 of .*gone.gpkg is not there"),
        ("wms", "type=xyz", "no address"),
        ("arcgismapserver", "layer='1'", "no address"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, provider: str, source: str, why: str) -> None:
    with pytest.raises(SourceError, match=f"layer 'L' cannot be read: .*{why}"):
        only(tmp_path, provider, source)


@pytest.mark.parametrize("ending", [".qgs", ".qgz", ".qlr"])
def test_a_layer_is_chosen_by_its_name(tmp_path: Path, ending: str) -> None:
    path = project(
        tmp_path / f"a{ending}",
        layer("Trees", "ogr", "a.shp"),
        layer("Scratch", "memory", "memory"),
        layer("Ortho", "gdal", "a.tif"),
        layer("twice", "ogr", "b.shp"),
        layer("twice", "ogr", "c.shp"),
        order=("Ortho", "Trees"),
    )
    assert list_layers(path) == ("Ortho", "Trees", "Scratch", "twice", "twice")
    assert read_layer(f"{path}:Ortho").source == f"{tmp_path}/a.tif"
    assert read_layer(path, "trees").source == f"{tmp_path}/a.shp"
    assert read_layer(f"{path}:Ortho", "Trees").name == "Trees"
    with pytest.raises(ArgumentError, match=r"several layers; name one, like .*:Ortho.*'Trees'"):
        read_layer(path)
    with pytest.raises(ArgumentError, match=r"no layer 'x'\. Its layers: 'Ortho'"):
        read_layer(f"{path}:x")
    with pytest.raises(ArgumentError, match="several layers 'twice'"):
        read_layer(f"{path}:twice")
    with pytest.raises(SourceError, match="'Scratch' cannot be read"):
        read_layer(f"{path}:Scratch")


def test_the_only_layer_that_can_be_read_needs_no_name(tmp_path: Path) -> None:
    path = project(tmp_path / "a.qgs", layer("m", "memory", "memory"), layer("o", "gdal", "a.tif"))
    assert read_layer(path).name == "o"


def test_entities_are_refused_and_a_doctype_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.qgs"
    bomb = (
        '<!DOCTYPE qgis [<!ENTITY a "b"><!ENTITY c SYSTEM "file:///etc/passwd">]><qgis>&a;</qgis>'
    )
    for encoding in ("utf-8", "utf-16"):
        path.write_bytes(bomb.encode(encoding))
        with pytest.raises(SourceError, match="declares the entity a"):
            list_layers(path)
    path.write_text("<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'><qgis/>")
    assert list_layers(path) == ()
    with pytest.raises(SourceError, match="holds no layer"):
        read_layer(path)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.qgs", b"<qgis>", "not readable XML"),
        ("a.qgs", b"<svg/>", "its root is svg"),
        ("a.qgs", None, "cannot be read"),
        ("a.qgz", None, "no such file"),
        ("a.qgz", b"PK", "damaged archive"),
    ],
)
def test_damaged_files_are_told(tmp_path: Path, name: str, content: bytes | None, why: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=why):
        list_layers(tmp_path / name)


def test_an_archive_that_grows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attachtrans.stores.layers.documents._MOST_BYTES", 1 << 20)
    path = tmp_path / "a.qgz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../a.qgs", b" " * (1 << 20) + b"<qgis/>")
    with pytest.raises(SourceError, match="larger than 1 MiB unpacked"):
        list_layers(path)


def test_an_archive_without_a_project_is_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.qgz", "w") as archive:
        archive.writestr("a.txt", b"")
    with pytest.raises(SourceError, match=r"there is no \.qgs in it"):
        list_layers(tmp_path / "a.qgz")


def test_real_projects(shared: Path) -> None:
    folder = shared / "data/geopackage"
    bees = folder / "qfieldcloud_bees/simple_bee_farming.qgs"
    assert list_layers(bees) == ("Online OpenStreetMap", "Apiary", "Fields")
    assert read_layer(bees, "Online OpenStreetMap").service == "xyz"
    apiary = read_layer(f"{bees}:Apiary")
    assert (apiary.sublayer, Path(apiary.source).exists()) == ("apiary", True)
    survey = folder / "mergin_mediasync/project.qgz"
    assert read_layer(survey).source == str(survey.parent / "survey.gpkg")


QGIS = """
import json, sys
from qgis.core import (QgsApplication, QgsLayerDefinition, QgsMultiBandColorRenderer, QgsProject,
    QgsProviderRegistry, QgsRasterLayer, QgsVectorLayer)
application = QgsApplication([], False)
application.initQgis()
folder = sys.argv[1]
trees = QgsVectorLayer(folder + "/data/a.gpkg|layername=trees", "Trees", "ogr")
trees.setSubsetString("\\"n\\" > 1 AND name <> 'a|b'")
plain = QgsVectorLayer(folder + "/data/b.shp", "Plain", "ogr")
ortho = QgsRasterLayer(folder + "/data/a.tif", "Ortho")
ortho.setRenderer(QgsMultiBandColorRenderer(ortho.dataProvider(), 4, 1, 2))
tiles = QgsRasterLayer("type=xyz&url=https://h.example/%7Bz%7D/%7Bx%7D/%7By%7D.png&zmax=9&zmin=1",
    "Tiles", "wms")
layers = [trees, plain, ortho, tiles]
assert all(layer.isValid() for layer in layers)
project = QgsProject.instance()
project.addMapLayers(layers)
for ending in (".qgs", ".qgz"):
    assert project.write(folder + "/project" + ending)
done, error = QgsLayerDefinition.exportLayerDefinition(
    folder + "/project.qlr", project.layerTreeRoot().children())
assert done, error
registry = QgsProviderRegistry.instance()
known = {}
for layer in layers:
    parts = registry.decodeUri(layer.providerType(), layer.source())
    subset = layer.subsetString() if isinstance(layer, QgsVectorLayer) else None
    known[layer.name()] = [parts.get("path") or parts.get("url"), parts.get("layerName") or None,
        subset or None, layer.crs().authid()]
print(json.dumps(known))
"""


def _qgis_python() -> str | None:
    for python in ("/usr/bin/python3", sys.executable):
        look = [python, "-c", "import qgis.core"]
        if (
            Path(python).exists()
            and not subprocess.run(look, capture_output=True, check=False).returncode
        ):
            return python
    return None


@pytest.mark.long
def test_files_that_qgis_writes_are_read_as_qgis_reads_them(tmp_path: Path) -> None:
    import geopandas
    import numpy as np
    import rasterio
    import shapely

    python = _qgis_python()
    if python is None:
        pytest.skip("QGIS is not installed")
    data = tmp_path / "data"
    data.mkdir()
    frame = geopandas.GeoDataFrame(
        {"n": [1, 2], "name": ["a", "b"]}, geometry=[shapely.Point(1, 2)] * 2, crs=25832
    )
    frame.to_file(data / "a.gpkg", layer="trees")
    frame.to_file(data / "b.shp")
    with rasterio.open(
        data / "a.tif",
        "w",
        driver="GTiff",
        width=4,
        height=3,
        count=4,
        dtype="uint8",
        crs="EPSG:25832",
        transform=rasterio.Affine(1, 0, 5e5, 0, -1, 5.4e6),
    ) as file:
        file.write(np.zeros((4, 3, 4), np.uint8))
    done = subprocess.run(
        [python, "-c", QGIS, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env={"QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    known = json.loads(done.stdout.strip().splitlines()[-1])
    for ending in (".qgs", ".qgz", ".qlr"):
        path = tmp_path / f"project{ending}"
        assert set(list_layers(path)) == set(known)
        for name, (source, sublayer, where, crs) in known.items():
            found = read_layer(path, name)
            assert (found.source, found.sublayer, found.where) == (source, sublayer, where)
            assert found.crs == (None if found.kind is LayerKind.SERVICE else crs)
        assert read_layer(path, "Ortho").bands == (4, 1, 2)
        assert dict(read_layer(path, "Tiles").options) == {"zmin": "1", "zmax": "9"}
