"""The face of arcpy.ia: what each value becomes, what is refused, and whole runs."""

from __future__ import annotations

import inspect
import sqlite3
import tempfile
from contextlib import closing, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import rasterio

import attachtrans
from attachtrans import ia
from attachtrans.errors import ArgumentError, OutputExistsError, SourceError
from attachtrans.report import Report
from attachtrans.tool import translate
from attachtrans.tool.place.options import Placing
from attachtrans.tool.rasters.choice import RasterChoice
from tests.models.nets import bicubic_x2
from tests.stores.mosaics.making import footprints
from tests.tool.rasters.making import scene, write
from tests.tool.survey import survey

translate_pixels = ia.TranslatePixelsUsingDeepLearning
OUT = {"out_featureclass": "out.gpkg"}
OVERWRITE = {"overwrite_attachments": "OVERWRITE"}


@pytest.fixture(autouse=True)
def clean_env(monkeypatch):
    monkeypatch.setattr(ia, "env", ia.Environment())


@pytest.fixture
def call(monkeypatch):
    """Calls the tool with `in_raster`, "m.emd" and more; gives what it asked the engine for."""

    class Planned:
        """A translation that is never run."""

        notes = ()

        def __init__(self, source, model, output=None, **options):
            asked.update(source=str(source), model=model, output=output, **options)
            self.output = str(output)

        def __iter__(self):
            return iter(())

        def report(self, outcomes):
            return Report(
                outcomes=tuple(outcomes),
                source=asked["source"],
                output=self.output,
                model="",
                fingerprint="",
                arguments={},
            )

    def run(in_raster="in.gpkg", *args, **kwargs):
        asked.clear()
        result = translate_pixels(in_raster, "m.emd", *args, **kwargs)
        return SimpleNamespace(**asked, result=result)

    asked: dict = {}
    monkeypatch.setattr(translate, "plan_translation", Planned)
    return run


def test_names_order_and_defaults_are_those_of_the_page():
    parameters = inspect.signature(translate_pixels).parameters
    assert {name: p.default for name, p in parameters.items()} == {
        "in_raster": inspect.Parameter.empty,
        "in_model_definition": inspect.Parameter.empty,
        "arguments": None,
        "processing_mode": "PROCESS_AS_MOSAICKED_IMAGE",
        "out_translated_folder": None,
        "out_featureclass": None,
        "overwrite_attachments": "NO_OVERWRITE",
        "use_pixelspace": "NO_PIXELSPACE",
    }


@pytest.mark.parametrize(
    ("text", "path", "layer"),
    [
        ("in.gpkg", "in.gpkg", None),
        ("a/In.GPKG/trees", "a/In.GPKG", "trees"),
        ("a/in.gpkg/main.trees", "a/in.gpkg", "trees"),
        ("C:\\data\\in.gpkg\\MAIN.trees", "C:\\data\\in.gpkg", "trees"),
        ("in.gpkg:we:ird/name", "in.gpkg", "we:ird/name"),
        ("d/in.gdb/trees", "d/in.gdb", "trees"),
        ("in.gdb\\set\\trees", "in.gdb", "trees"),
        ("in.geodatabase/main.trees", "in.geodatabase", "trees"),
        ("trees.shp", "trees.shp", None),
        (Path("in.gpkg"), "in.gpkg", None),
    ],
)
def test_feature_classes(call, text, path, layer):
    asked = call(text, **OVERWRITE)
    assert (asked.source, asked.layer) == (path, layer)


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("o.gpkg", "o.gpkg"),
        ("o.gpkg/main.t", "o.gpkg:t"),
        (Path("o.gpkg:t"), "o.gpkg:t"),
        ("o.gdb/t", "o.gdb:t"),
        ("o.gdb", "o.gdb"),
    ],
)
def test_output_feature_classes(call, text, output):
    assert call(out_featureclass=text).output == output


@pytest.mark.parametrize(
    "arguments",
    [
        "padding 64;batch_size 4",
        " padding  64 ; batch_size '4';direction #;",
        [["padding", "64"], ("batch_size", "4"), ["direction", ""]],
        ["padding 64", "batch_size 4"],
        {"padding": "64", "batch_size": "4", "direction": None},
    ],
)
def test_arguments_in_every_form(call, arguments):
    assert call(arguments=arguments, **OUT).arguments == {"padding": "64", "batch_size": "4"}


@pytest.mark.parametrize("arguments", [None, "", "#", [], {}])
def test_no_arguments(call, arguments):
    assert call(arguments=arguments, **OUT).arguments == {}


@pytest.mark.parametrize("arguments", [[["a", 1, 2]], [3], "a 1;a 2"])
def test_wrong_arguments(call, arguments):
    with pytest.raises(ArgumentError, match="arguments"):
        call(arguments=arguments, **OUT)


@pytest.mark.parametrize(
    ("value", "space"),
    [
        ("PIXELSPACE", "pixel"),
        ("pixelspace", "pixel"),
        (True, "pixel"),
        ("true", "pixel"),
        ("NO_PIXELSPACE", "map"),
        (False, "map"),
        ("#", "map"),
        (None, "map"),
    ],
)
def test_space(call, value, space):
    assert call(use_pixelspace=value, **OUT).space == space


@pytest.mark.parametrize("value", ["OVERWRITE", "overwrite", True, "TRUE"])
def test_overwrite(call, value):
    asked = call(overwrite_attachments=value)
    assert asked.overwrite_attachments
    assert asked.output is None


@pytest.mark.parametrize(
    ("in_raster", "words"),
    [
        ("trees_layer", "of layers in a map are known to ArcGIS Pro only"),
        ("prod.sde/db.trees", "enterprise geodatabase"),
        ("C:\\c\\prod.sde\\db.trees", "enterprise geodatabase"),
        ("https://h/rest/services/a/FeatureServer/0", "not the address of an image service"),
        ("https://h/scene.tif", "not the address of an image service"),
        (object(), "in_raster is"),
        ("", "in_raster is"),
    ],
)
def test_inputs_that_are_none(call, in_raster, words):
    with pytest.raises(ArgumentError, match=words):
        call(in_raster)


def test_a_missing_raster(call):
    with pytest.raises(SourceError, match=r"a\.tif: there is no such file"):
        call("a.tif")


@pytest.mark.parametrize("name", ["catalogPath", "dataSource"])
def test_objects_of_arcpy_are_paths(call, name):
    layer = SimpleNamespace(**{name: "in.gpkg/main.trees"})
    asked = call(layer, **OVERWRITE)
    assert (asked.source, asked.layer) == ("in.gpkg", "trees")


MAP = "https://h/rest/services/a/MapServer"
IMAGES = "https://h/rest/services/a/ImageServer"


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Rasters, and folders of them, in the current folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.tif", "both/a.tif", "rasters/a.tif"):
        Path(name).parent.mkdir(exist_ok=True)
        write(Path(name), scene(3, 8, 8))
    for name in ("a.png", "both/b.png", "photos/b.png"):
        Path(name).parent.mkdir(exist_ok=True)
        write(Path(name), scene(3, 8, 8), driver="PNG", crs=None, transform=None)
    footprints(tmp_path / "m.shp", ["a.tif"])
    return tmp_path


SEPARATE = {"processing_mode": "process_items_separately"}
INTO = {"out_translated_folder": "results"}


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("in_raster", "options", "output", "mode"),
    [
        ("a.tif", {}, "TEMPORARY/a.tif", None),
        ("a.tif", SEPARATE, "TEMPORARY/a.tif", None),
        ("a.png", INTO, "results/a.tif", None),
        ("m.shp", {}, "TEMPORARY", None),
        ("m.shp", INTO, "results", None),
        ("m.shp", SEPARATE | INTO, "results", "separate"),
        ("m.shp", SEPARATE, "m_translated", "separate"),
        ("rasters", INTO, "results", None),
        ("rasters", {}, "rasters_translated", None),
        ("photos", SEPARATE | INTO, "results", None),
        (MAP, {}, "TEMPORARY", None),
        (f"{MAP}/3", INTO, "results", None),
        (IMAGES, SEPARATE, "service_translated", "separate"),
        ("https://h/{z}/{x}/{y}.png", INTO, "results", None),
    ],
)
def test_where_results_of_rasters_go(call, in_raster, options, output, mode):
    several = "translated" in output
    with pytest.warns(UserWarning, match=output) if several else nullcontext():
        asked = call(in_raster, **options)
    found = Path(asked.output)
    if output.startswith("TEMPORARY"):
        assert Path(tempfile.gettempdir()) in found.parents
        assert found.name == "a.tif" or output == "TEMPORARY"
    else:
        assert found == (Path.cwd() / output if several else Path(output))
    assert asked.rasters == RasterChoice(mode=mode)
    folder = several or mode or in_raster in ("rasters", "photos")
    assert isinstance(asked.result, ia.FolderResult if folder else ia.RasterResult)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("in_raster", "options", "words"),
    [
        ("a.tif", OUT, "out_featureclass is for feature classes"),
        ("m.shp", OUT, "m.shp is a mosaic of rasters"),
        ("rasters", OUT | INTO, "rasters is a folder"),
        ("a.tif", OVERWRITE, "OVERWRITE replaces photos of a feature class"),
        ("photos", OVERWRITE, "OVERWRITE replaces photos of a feature class"),
        (IMAGES, OVERWRITE, "a service"),
        ("a.tif", {"out_translated_folder": "results.v2"}, "make it first"),
    ],
)
def test_combinations_that_rasters_forbid(call, in_raster, options, words):
    with pytest.raises(ArgumentError, match=words):
        call(in_raster, **options)


def test_environments_of_rasters(call, files):
    ia.env.cellSize, ia.env.extent, ia.env.mask = "0.5", "1 2 3 4", files / "a.tif"
    ia.env.snapRaster, ia.env.outputCoordinateSystem = "a.tif", 3857
    for source in ("a.tif", "m.shp", IMAGES, "rasters"):
        asked = call(source, out_translated_folder="results")
        assert asked.rasters == RasterChoice(
            cell_size=(0.5, 0.5),
            extent=(1, 2, 3, 4),
            mask=str(files / "a.tif"),
            snap=Path("a.tif"),
            crs="EPSG:3857",
        )
        assert asked.bbox is None
    with pytest.raises(ArgumentError, match="both holds rasters and photos"):
        call("both", **INTO)


@pytest.mark.usefixtures("files")
def test_environments_of_a_folder_of_photos(call):
    ia.env.cellSize, ia.env.outputCoordinateSystem = 2, 3857
    asked = call("photos", **INTO)
    assert (asked.rasters, asked.placing) == (None, Placing(crs="EPSG:3857", resolution=2.0))
    ia.env.extent = "1 2 3 4"
    with pytest.raises(ArgumentError, match="hang on no features"):
        call("photos", **INTO)


@pytest.mark.usefixtures("files")
def test_the_cells_of_another_raster_in_the_system_of_the_input(call):
    ia.env.cellSize = "rasters/a.tif"
    assert call("a.tif").rasters.cell_size == (0.5, 0.5)
    with pytest.raises(ArgumentError, match=r"set env\.outputCoordinateSystem"):
        call(MAP)


@pytest.mark.parametrize("processor", ["GPU", ""])
def test_several_gpus(call, processor):
    ia.env.processorType, ia.env.gpuId = processor, "0;1"
    assert call(**OUT).device == "cuda:0,1"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "out_featureclass is required"),
        ({"out_featureclass": "#"}, "out_featureclass is required"),
        ({"out_featureclass": "o.shp"}, "only GeoPackages"),
        ({"out_featureclass": "o.gdb/set/t"}, "name o.gdb/t"),
        (OUT | OVERWRITE, "goes with NO_OVERWRITE"),
        (OUT | {"out_translated_folder": "x"}, "out_translated_folder"),
        (OUT | {"overwrite_attachments": "MAYBE"}, "OVERWRITE"),
        (OUT | {"use_pixelspace": "PIXEL"}, "PIXELSPACE"),
        (OUT | {"processing_mode": "FAST"}, "PROCESS_ITEMS_SEPARATELY"),
    ],
)
def test_forbidden_combinations(call, options, words):
    with pytest.raises(ArgumentError, match=words):
        call(**options)


@pytest.mark.parametrize(
    ("processor", "gpu", "device"),
    [
        (None, None, "auto"),
        ("", "", "auto"),
        ("cpu", None, "cpu"),
        ("GPU", 1, "cuda:1"),
        (None, "0", "cuda:0"),
    ],
)
def test_devices(call, processor, gpu, device):
    ia.env.processorType, ia.env.gpuId = processor, gpu
    assert call(**OUT).device == device


def test_a_gpu_id_without_a_gpu_is_said(call):
    ia.env.processorType, ia.env.gpuId = "CPU", 0
    with pytest.warns(UserWarning, match="gpuId has no effect"):
        assert call(**OUT).device == "cpu"


@pytest.mark.parametrize("name", ["processorType", "gpuId", "parallelProcessingFactor", "extent"])
@pytest.mark.parametrize("value", ["TPU", "1 2 3", "-1"])
def test_wrong_environments(call, name, value):
    setattr(ia.env, name, value)
    with pytest.raises(ArgumentError, match=f"env.{name}"):
        call(**OUT)


class Extent(SimpleNamespace):
    pass


@pytest.mark.parametrize(
    ("value", "bbox"),
    [
        ("1 2 3 4", (1, 2, 3, 4)),
        ("1 2 3 4 0 0 0 0", (1, 2, 3, 4)),
        ((1, 2, 3, 4), (1, 2, 3, 4)),
        (Extent(XMin=1, YMin=2, XMax=3, YMax=4), (1, 2, 3, 4)),
        ("MAXOF", None),
        (None, None),
    ],
)
def test_extent_chooses_features(call, value, bbox):
    ia.env.extent = value
    assert call(**OUT).bbox == bbox


def test_environments_that_cannot_be_honoured_stop(call):
    ia.env.mask = "something"
    with pytest.raises(ArgumentError, match="mask cannot be honoured"):
        call(**OUT)
    ia.env.mask, ia.env.outputCoordinateSystem = None, "EPSG:25832"
    for pixels in (OUT | {"use_pixelspace": "PIXELSPACE"}, OVERWRITE):
        with pytest.raises(ArgumentError, match="outputCoordinateSystem cannot be honoured"):
            call(**pixels)


@pytest.mark.parametrize(
    ("value", "crs"),
    [
        (None, None),
        ("", None),
        ("EPSG:25832", "EPSG:25832"),
        (25832, "EPSG:25832"),
        ("102100", "EPSG:102100"),
        (SimpleNamespace(factoryCode=3857), "EPSG:3857"),
    ],
)
def test_the_system_of_rectified_photos(call, value, crs):
    ia.env.outputCoordinateSystem = value
    assert call(**OUT).placing == Placing(crs=crs)


@pytest.mark.parametrize("value", [1, "somewhere"])
def test_a_system_that_is_not_known(call, value):
    ia.env.outputCoordinateSystem = value
    with pytest.raises(ArgumentError, match="there is no such coordinate system"):
        call(**OUT)


@pytest.mark.parametrize("value", ["0.5", 0.5])
def test_the_cells_of_rectified_photos(call, value):
    ia.env.cellSize = value
    assert call(**OUT).placing == Placing(resolution=0.5)
    with pytest.warns(UserWarning, match="env.cellSize has no effect: photos keep"):
        assert call(use_pixelspace=True, **OUT).placing == Placing()


@pytest.mark.parametrize(("name", "value"), [("cellSize", "dem.tif"), ("snapRaster", "dem.tif")])
def test_environments_without_meaning_warn(call, name, value):
    setattr(ia.env, name, value)
    with pytest.warns(UserWarning, match=f"env.{name} has no effect") as told:
        assert call(**OUT).placing == Placing()
    assert [warning.filename for warning in told] == [__file__]


@pytest.mark.parametrize("value", ["MAXOF", "MINOF", "#"])
def test_usual_cell_sizes_are_silent(call, value):
    ia.env.cellSize = value
    assert call(**OUT).placing == Placing()


def test_an_unknown_environment_is_an_error():
    with pytest.raises(ArgumentError, match="workspace is not an environment"):
        ia.env.workspace = "x"


@pytest.mark.parametrize(
    ("value", "count"), [("1", 1), (2, 2), ("0", 1), ("100%", None), ("900", 3)]
)
def test_cores(monkeypatch, value, count):
    import torch

    seen = []

    class Planned:
        output = "out.gpkg"

        def __init__(self, *_args, **_options): ...

        def __iter__(self):
            seen.append(torch.get_num_threads())
            raise ArgumentError("enough")

        def report(self, outcomes): ...

    monkeypatch.setattr(translate, "plan_translation", Planned)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    before = torch.get_num_threads()
    ia.env.processorType, ia.env.parallelProcessingFactor = "CPU", value
    with pytest.raises(ArgumentError, match="enough"):
        translate_pixels("in.gpkg", "m.emd", **OUT)
    assert seen == [count or 3]
    assert torch.get_num_threads() == before


def photos(path: Path, table: str = "valves__ATTACH") -> list[bytes]:
    with closing(sqlite3.connect(path)) as connection:
        return [data for (data,) in connection.execute(f'SELECT DATA FROM "{table}"')]


def test_append_then_save(fixture_copy, tmp_path):
    source, model = fixture_copy("esri_objectid.gpkg"), bicubic_x2(tmp_path / "m.emd")
    before = source.read_bytes()
    result = attachtrans.ia.TranslatePixelsUsingDeepLearning(
        str(source / "main.valves"),
        model,
        "padding 4;batch_size 2",
        out_featureclass=tmp_path / "out.gpkg" / "main.big",
        use_pixelspace="PIXELSPACE",
    )
    assert str(result) == f"{tmp_path / 'out.gpkg'}:big"
    assert result.path == tmp_path / "out.gpkg"
    assert result.report.counts == {"translated": 3}
    assert source.read_bytes() == before
    result.save(tmp_path / "copy.gpkg")
    assert photos(tmp_path / "copy.gpkg", "big__ATTACH") == photos(result.path, "big__ATTACH")
    with pytest.raises(OutputExistsError):
        result.save(tmp_path / "copy.gpkg")
    with pytest.raises(ArgumentError, match=r"\.gpkg"):
        result.save(tmp_path / "copy.tif")


def test_overwrite_in_place(fixture_copy, tmp_path):
    source, model = fixture_copy("esri_objectid.gpkg"), bicubic_x2(tmp_path / "m.emd")
    before = photos(source)
    result = translate_pixels(source / "hydrants", model, **OVERWRITE, use_pixelspace=True)
    assert str(result) == str(source)
    assert photos(source) == before
    assert result.report.counts["translated"] == 2


def test_photos_in_files_are_not_saved_by_half(fixture_copy, tmp_path):
    folder, model = fixture_copy("odk"), bicubic_x2(tmp_path / "m.emd")
    with pytest.warns(UserWarning, match="1714811600789"):
        result = translate_pixels(
            folder / "submissions.gpkg", model, **OVERWRITE, use_pixelspace=True
        )
    with pytest.raises(ArgumentError, match="copy the folder"):
        result.save(tmp_path / "copy.gpkg")


def test_a_missing_geopackage_is_a_source_error(tmp_path):
    with pytest.raises(SourceError, match="no such file"):
        translate_pixels(tmp_path / "none.gpkg", "sr-x2", **OUT)


def test_the_default_rectifies_photos_with_a_camera(tmp_path):
    source, model = survey(tmp_path / "in.gpkg", (0.0, None)), bicubic_x2(tmp_path / "m.emd")
    ia.env.outputCoordinateSystem, ia.env.cellSize = "EPSG:3857", 2
    result = translate_pixels(source, model, out_featureclass=tmp_path / "out.gpkg")
    assert result.report.counts == {"translated": 2}
    with closing(sqlite3.connect(result.path)) as connection:
        query = "SELECT CONTENT_TYPE, DATA FROM shots__ATTACH ORDER BY SRC_ATT"
        (kind, data), (other, _) = connection.execute(query).fetchall()
        systems = connection.execute("SELECT srs_id FROM gpkg_geometry_columns").fetchall()
    assert (kind, other, systems) == ("image/tiff", "image/jpeg", [(25832,)])
    with rasterio.MemoryFile(data) as file, file.open() as ortho:
        assert ortho.crs.to_epsg() == 3857
        assert ortho.res == (1.0, 1.0)  # the net enlarges by two


def test_the_default_does_not_put_an_ortho_in_a_photos_place(tmp_path):
    source, model = survey(tmp_path / "in.gpkg", (0.0, None)), bicubic_x2(tmp_path / "m.emd")
    before = photos(source, "shots__ATTACH")
    with pytest.warns(UserWarning, match="PIXELSPACE"):
        result = translate_pixels(source, model, **OVERWRITE)
    assert result.report.counts == {"refused": 1, "translated": 1}
    assert photos(source, "shots__ATTACH")[0] == before[0]
