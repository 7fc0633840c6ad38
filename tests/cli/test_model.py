"""`attachtrans model`, as a person or a script meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from attachtrans.cli import cli
from attachtrans.errors import ArgumentError, AttachtransError
from tests.cli import inprocess
from tests.models.nets import BicubicX2, cyclegan, write_torchscript


def call(*arguments: object) -> str:
    """stdout of a command in this process; its errors are raised."""
    done = CliRunner().invoke(cli, list(map(str, arguments)), standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.stdout


def test_both_doors_say_the_same():
    for flags in ([], ["--json"]):
        assert call("model", "info", "sr-x2", *flags) == call("info", "sr-x2", *flags)


def test_info_names_what_a_person_asks_for():
    lines = call("model", "info", "sr-x2").splitlines()
    facts = {line[2:14].strip(): line[15:] for line in lines if line.startswith("  ")}
    assert facts["bands"] == "3 -> 3"
    assert facts["values"] == "0..1 -> 0..1"
    assert facts["scale"] == "2"
    assert facts["parameters"] == "43,792"
    assert facts["licence"] == "Apache-2.0"
    assert facts["seams"].startswith("none")
    assert len(facts["fingerprint"]) == 64
    assert any(line.startswith("    padding [chosen for you]: a whole number") for line in lines)


def test_info_as_json_has_stable_keys_and_plain_values():
    about = json.loads(call("model", "info", "sr-x2", "--json"))
    assert {
        "name",
        "model_type",
        "in_bands",
        "out_bands",
        "in_range",
        "out_range",
        "scale",
        "tile_size",
        "arguments",
        "parameters",
        "receptive_field_px",
        "exact_seams",
        "licence",
        "fingerprint",
    } <= set(about)
    (tile,) = (entry for entry in about["arguments"] if entry["name"] == "tile_size")
    assert (tile["type"], tile["minimum"], tile["default"]) == ("int", 1, None)


def test_an_argument_decides_the_bands(tmp_path):
    emd = cyclegan(tmp_path / "m.emd", bands_a=1)
    assert "1 -> 3" in call("model", "info", emd)
    assert "3 -> 1" in call("model", "info", emd, "-a", "direction=BtoA")
    assert "3 -> 1" in call("info", emd, "-a", "direction=BtoA")
    assert "global" in call("info", emd)


def test_arguments_of_a_model_are_none_of_a_geopackage(fixture_copy):
    with pytest.raises(ArgumentError, match="-a"):
        call("info", fixture_copy("related_media.gpkg"), "-a", "direction=BtoA")


def weights(folder: Path) -> Path:
    emd = write_torchscript(BicubicX2(), folder / "net.emd")
    emd.unlink()
    return folder / "net.ts.pt"


def test_wrap_then_translate(fixture_copy, tmp_path):
    done = inprocess.call(
        "model", "wrap", weights(tmp_path), "-o", tmp_path / "x2.emd", "--licence", "MIT"
    )
    assert done.code == 0, done.err
    assert "0..1 -> 0..1" in done.out
    assert f"wrote {tmp_path / 'x2.emd'}" in done.out
    gpkg = fixture_copy("esri_globalid.gpkg")
    model, out = tmp_path / "x2.emd", tmp_path / "o.gpkg"
    said = call("translate", gpkg, "-m", model, "-o", out, "--limit", 2, "--device", "cpu")
    assert "2 translated" in said


def test_a_file_that_is_there_is_refused_with_the_flag_that_helps(tmp_path):
    (tmp_path / "x2.emd").write_text("mine", encoding="utf-8")
    done = inprocess.call("model", "wrap", weights(tmp_path), "-o", tmp_path / "x2.emd")
    assert done.code == 3
    assert "--overwrite" in done.err


def test_wrap_as_json(tmp_path):
    facts = json.loads(
        call(
            "model",
            "wrap",
            weights(tmp_path),
            "-o",
            tmp_path / "x2.dlpk",
            "--dry-run",
            "--json",
            "--key",
            "ImageHeight=128",
            "--description",
            "Doubles.",
        )
    )
    assert facts["output"] is None
    assert facts["definition"]["ImageHeight"] == 128
    assert facts["definition"]["Description"] == "Doubles."
    assert facts["ranges"]["source"] == "tried"
    assert facts["model"]["scale"] == 2


@pytest.mark.parametrize("given", ["1,0", "0", "a,b", "0,inf", "0,1,2", "nan,1"])
def test_a_range_is_two_numbers_or_raw(tmp_path, given):
    done = CliRunner().invoke(
        cli,
        ["model", "wrap", str(weights(tmp_path)), "-o", "x.emd", f"--input-range={given}"],
    )
    assert done.exit_code == 2
    assert "raw" in done.stderr


def test_negative_ranges_are_no_options(tmp_path):
    file = weights(tmp_path)
    common = ["model", "wrap", file, "-o", tmp_path / "x.emd", "--dry-run", "--json"]
    facts = json.loads(call(*common, "--input-range", "-1,1", "--output-range", "-1,1"))
    assert facts["definition"]["InputRange"] == [-1, 1]


def test_an_unknown_type_is_refused(tmp_path):
    with pytest.raises(AttachtransError, match="TorchScript"):
        call("model", "wrap", weights(tmp_path), "-o", tmp_path / "x.emd", "--type", "Torch")


@pytest.mark.parametrize("command", [["model"], ["model", "info"], ["model", "wrap"]])
def test_help_is_cheap(command):
    script = (
        "import sys\n"
        "from attachtrans.cli import main\n"
        f"sys.argv = ['attachtrans', *{command!r}, '--help']\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        "heavy = [name for name in ('torch', 'rasterio', 'fiona', 'cv2') if name in sys.modules]\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Usage: " in done.stdout
    assert command == ["model"] or "attachtrans model" in done.stdout
