"""Definitions with scripts: which are run, which become nets of ours, what belongs to them."""

from __future__ import annotations

import json

import pytest

from attachtrans.errors import ModelError, UntrustedModelError
from attachtrans.models.definition import SCRIPT_TYPE, ModelDefinition
from attachtrans.models.job import job_fingerprint, require_runnable, resolve_arguments
from attachtrans.models.package import FileRef
from attachtrans.models.scripts import code_files, find_script, imports_arcgis
from tests.hosting.make import packed, shipped, small


def script(folder, text):
    path = folder / "f.py"
    path.write_text(text)
    return FileRef(path=path)


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("import arcgis", True),
        ("import numpy, arcgis.learn", True),
        ("from arcgis.learn.models._inferencing import _cyclegan", True),
        ("def initialize(self):\n    from arcgis import GIS", True),
        ("try:\n    import arcgis\nfinally:\n    pass", True),
        ("try:\n    pass\nexcept ImportError:\n    import arcgis", True),
        ("try:\n    import arcgis\nexcept (OSError, ImportError):\n    arcgis = None", False),
        ("try:\n    import arcgis\nexcept Exception:\n    arcgis = None", False),
        ("try:\n    if True:\n        import arcgis\nexcept:\n    arcgis = None", False),
        ("import arcgis_tools, arcpy\nfrom .arcgis import x\n# import arcgis", False),
        ('"import arcgis"; "\\d"', False),
        ("this is no Python", False),
        ("\0", False),
        ("(" * 100_000, False),
    ],
)
def test_what_counts_as_importing_arcgis(tmp_path, text, needs):
    assert imports_arcgis(script(tmp_path, text)) is needs


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"ModelType": "CycleGAN"}, "CycleGAN"),
        ({"ModelName": "SuperResolution", "ModelArch": "SR3"}, "SR3"),
        ({"ModelType": "ImageTranslation", "ModelConfiguration": "_pix2pix_hd"}, "Pix2PixHD"),
        ({"ModelType": "ImageTranslation", "ModelConfiguration": "mine"}, SCRIPT_TYPE),
        ({"ModelType": "ImageTranslation"}, SCRIPT_TYPE),
    ],
)
def test_scripts_that_import_arcgis_give_way_to_nets_of_ours(tmp_path, keys, expected):
    (tmp_path / "a.pth").touch()
    keys = {"ModelFile": "a.pth", **keys}
    path = small(tmp_path / "f", "import arcgis", keys={**keys, "ModelFile": "../a.pth"})
    definition = ModelDefinition.read(path)
    assert definition.model_type == expected
    if expected == SCRIPT_TYPE:
        for trust in (False, True):
            with pytest.raises(ModelError, match=r"Small\.py imports arcgis") as caught:
                require_runnable(definition, trust_code=trust)
            assert not isinstance(caught.value, UntrustedModelError)
    # Without the import it is the script that counts, whatever the keys say.
    plain = ModelDefinition.read(small(tmp_path / "g", keys={**keys, "ModelFile": "../a.pth"}))
    assert plain.model_type == SCRIPT_TYPE


def test_scripts_are_refused_without_trust(tmp_path):
    definition = ModelDefinition.read(packed(small(tmp_path / "f", "raise SystemExit")))
    with pytest.raises(UntrustedModelError, match=r"Small\.py.*--trust-code.*unknown without"):
        require_runnable(definition)
    with pytest.raises(UntrustedModelError):
        resolve_arguments(definition)
    require_runnable(definition, trust_code=True)
    assert [argument.name for argument in definition.arguments] == ["code_timeout", "code_memory"]


@pytest.mark.parametrize(
    "name",
    [
        "missing.py",
        "../outside.py",
        "[Functions]System\\DeepLearning\\Mine.py",
        "C:\\mine.py",
        "/etc/passwd",
    ],
)
def test_scripts_that_are_not_in_the_package_are_refused(tmp_path, name):
    (tmp_path / "outside.py").touch()
    emd = small(tmp_path / "f", keys={"InferenceFunction": name})
    definition = ModelDefinition.read(packed(emd))
    with pytest.raises(ModelError, match="InferenceFunction"):
        require_runnable(definition, trust_code=True)


def test_windows_separators_are_understood(tmp_path):
    (tmp_path / "f" / "code").mkdir(parents=True)
    emd = small(tmp_path / "f", keys={"InferenceFunction": ".\\code\\Small.py"})
    (tmp_path / "f" / "Small.py").rename(tmp_path / "f" / "code" / "Small.py")
    definition = ModelDefinition.read(emd)
    assert find_script(definition.file, definition.raw).path.name == "Small.py"


def test_json_text_may_name_a_script_by_its_path(tmp_path):
    path = small(tmp_path / "f").with_suffix(".py")
    text = json.dumps({"ModelType": "X", "InferenceFunction": str(path)})
    definition = ModelDefinition.read(text)
    assert [ref.path for ref in code_files(definition.file, definition.raw)] == [path]


@pytest.mark.parametrize("in_package", [False, True])
def test_everything_that_code_may_read_is_in_the_fingerprint(tmp_path, in_package):
    folder = tmp_path / "f"
    emd = shipped("mixed", folder)
    (folder / "weights.bin").write_bytes(b"1")
    keys = json.loads(emd.read_text())
    emd.write_text(json.dumps({**keys, "ModelFile": "weights.bin"}))

    def fingerprint():
        return ModelDefinition.read(packed(emd) if in_package else emd).fingerprint

    seen = {fingerprint()}
    for name in ("mixed.py", "negatives.py", "weights.bin", "mixed.emd"):
        content = (folder / name).read_text()
        changed = content.replace("{", '{"New": 1, ', 1) if name == "mixed.emd" else content + " "
        (folder / name).write_text(changed)
        seen.add(fingerprint())
        (folder / name).write_text(content)
    assert len(seen) == 5
    assert fingerprint() in seen


def test_own_arguments_make_other_jobs(tmp_path):
    definition = ModelDefinition.read(shipped("mixed", tmp_path / "f"))
    jobs = [
        job_fingerprint(definition, resolve_arguments(definition, pairs, trust_code=True))
        for pairs in ({}, {"share": "1"}, {"code_timeout": "9"}, {"code_memory": 3})
    ]
    assert jobs[0] == jobs[2] == jobs[3] != jobs[1]


def test_a_folder_of_thousands_of_modules_is_no_models_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("attachtrans.models.scripts._MAX_MODULES", 3)
    emd = shipped("mixed", tmp_path / "f")
    (emd.parent / "another.py").touch()
    with pytest.raises(ModelError, match="folder of its own"):
        assert ModelDefinition.read(emd).fingerprint
