"""The bench runs end to end on tiny photos; what it measures is not tested."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.models.nets import bicubic_x2

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
PEER = """
import json, os, sys
from pathlib import Path
photos = Path(os.environ["BENCH_DIR"], "data", "photos")
found = len(list(photos.glob("p??.jpg")))
# with Meter( is what marks such a script
ok = sys.argv[1:3] == ["tiny", "photos"] and found == int(sys.argv[3])
print("warning")
print(json.dumps({"wall": 2.0, "cpu": 4.0, "rss_mb": 100, "ok": ok}))
"""


@pytest.fixture
def jobs(monkeypatch):
    """The bench's jobs, with contestants in this process: no imports to wait for."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from benchmarks import contestant
    from benchmarks import jobs as found

    def here(kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        return contestant.KINDS[kind](settings) | {"peak_mb": contestant.peak_mb()}

    monkeypatch.setattr(found, "in_process", here)
    return found


@pytest.fixture
def bench(jobs, tmp_path):
    def build(**changes: Any):
        folder = tmp_path / "job"
        folder.mkdir()
        given = {
            "folder": folder,
            "net": "bicubic",
            "model": str(bicubic_x2(tmp_path / "x2.emd")),
            "device": "cpu",
            "count": 2,
            "megapixels": 0.02,
            "repeat": 1,
            "peers": None,
            "peers_python": sys.executable,
            "peer_net": "tiny",
            "others": (),
            "data": None,
            "oty": "no-such-program",
            "say": lambda _line: None,
        }
        return jobs.Bench(**(given | changes))

    return build


def test_the_photo_job_has_ratios_to_the_bare_net(jobs, bench):
    finding = jobs.photos(bench())
    assert set(finding.figures) == {"forward", "forward_whole", "overwrite", "append", "naive"}
    assert finding.ratios["W"] == 1
    assert {"E overwrite, wall", "E append, CPU"} <= set(finding.ratios)
    assert all(run["wall_s"] > 0 for entry in finding.figures.values() for run in entry.runs)
    assert "| commit |" in finding.text


def test_batches_are_those_of_the_engine(jobs):
    from benchmarks.contestant import computed, planned

    from attachtrans.models.translator import TranslatorSpec

    class Net:
        device = torch.device("cpu")
        spec = TranslatorSpec(
            in_bands=3,
            out_bands=3,
            in_range=(0, 1),
            out_range=(0, 1),
            scale=2,
            receptive_field_px=10,
        )

    batches = planned(Net(), {"count": 2, "size": (1008, 752)})
    assert len(batches) == 8
    assert computed(batches) > 2 * 1008 * 752


def test_peers_run_as_commands_and_a_broken_one_is_left_out(jobs, bench, tmp_path):
    peers = tmp_path / "peers"
    peers.mkdir()
    (peers / "good.py").write_text(PEER)
    (peers / "gone.py").write_text("# with Meter(\nimport no_such_tool")
    (peers / "common.py").write_text("")
    said: list[str] = []
    finding = jobs.peers(bench(peers=peers, say=said.append))
    assert set(finding.figures) == {"attachtrans (overwrite)", "naive loop", "good"}
    assert finding.figures["good"].runs[0]["cpu_s"] == 4
    assert any("gone is left out" in line and "no_such_tool" in line for line in said)


RASTER_PEER = """
import json, os, sys
from pathlib import Path
home = Path(os.environ["BENCH_DIR"])
# with Meter( is what marks such a script
work = sys.argv[2]
assert (home / "data" / {"big": "big.tif", "crop": "crop1500.tif"}[work]).is_file()
(home / "out" / f"peer_{work}.tif").write_bytes(
    (home / "out" / f"attachtrans_{work}.tif").read_bytes()
)
print(json.dumps({"wall": 2.0, "cpu": 4.0, "rss_mb": 100, "ok": True}))
"""


@pytest.fixture
def rasters(jobs, monkeypatch):
    """The raster jobs, in this process, with small scenes."""
    from benchmarks import inputs
    from benchmarks import rasters as found

    monkeypatch.setattr(found, "in_process", jobs.in_process)
    monkeypatch.setattr(inputs, "RASTER_TILE", 64)
    monkeypatch.setattr(inputs, "VIRTUAL_TILE", 100)
    monkeypatch.setattr(inputs, "CORNER_PX", 50)
    return found


def test_rasters_have_ratios_to_the_bare_net_and_to_others(jobs, rasters, bench, tmp_path):
    peers = tmp_path / "peers"
    peers.mkdir()
    (peers / "monai.py").write_text(RASTER_PEER)
    finding = jobs.raster(bench(megapixels=0.04, peers=peers))
    assert set(finding.figures) == {"forward", "attachtrans", rasters.PEERS_BARE, "monai"}
    assert finding.ratios["W"] == 1
    assert {"E, CPU", "ours / monai", "peak memory, monai / ours"} <= set(finding.ratios)
    assert finding.text.count("| 0 | yes | 0 |") == 2  # nothing is off, place and mask are right


def test_tiles_of_others_cover_the_raster(rasters):
    assert rasters.peer_batches(6000) == [(1, 3, 512, 512)] * 14**2
    assert rasters.peer_batches(500) == [(1, 3, 500, 500)]


def test_memory_of_rasters_of_all_shapes(jobs, rasters, bench, monkeypatch):
    monkeypatch.setattr(rasters, "LONGER", 2)
    monkeypatch.setattr(rasters, "VIRTUAL", 6000)
    finding = jobs.raster_memory(bench(megapixels=0.01))
    assert "first 66 rows of 200 x 200" in finding.figures
    assert set(finding.ratios) == {
        f"peak, {shape} / square, {kind}" for kind in rasters.KINDS for shape in ("wide", "high")
    }


def test_memory_compares_few_with_many(jobs, bench, monkeypatch):
    monkeypatch.setattr(jobs, "FEW", 1)
    finding = jobs.memory(bench(count=3))
    assert set(finding.ratios) == {
        "peak overwrite, 3 / 1 photos",
        "peak append, 3 / 1 photos",
    }


def test_codecs_are_compared(jobs, bench):
    finding = jobs.codec(bench(count=1))
    assert set(finding.ratios) == {"CPU, pillow / ours", "CPU, opencv / ours"}


@pytest.mark.slow
def test_what_a_tile_costs(jobs, bench, monkeypatch):
    from benchmarks import nets, zoo

    small = {"small": zoo.Kind(make=lambda: torch.nn.Conv2d(3, 5, 3, padding=1), edge=64)}
    monkeypatch.setattr(zoo, "ZOO", small)
    monkeypatch.setattr(nets, "ZOO", small)
    finding = jobs.nets(bench())
    assert set(finding.figures) == {"small", "bicubic"}
    (run,) = finding.figures["small"].runs
    assert run["parameters"] == 5 * 3 * 9 + 5
    assert run["flop"] == 2 * 64 * 64 * 5 * 3 * 9
    assert run["tile_mb"] >= 1
    assert run["fp32_ms"] > 0
    assert "| small | " in finding.text


@pytest.fixture
def mapping(jobs):
    """The map jobs; programs run in this process, without its start."""
    from benchmarks import mapping as found

    def here(command):
        script, arguments = command[2], command[3:]
        assert script == found.START
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["attachtrans", *arguments])
            with pytest.raises(SystemExit) as end:
                exec(script, {})
        if end.value.code:
            raise found.NotHereError("it failed")
        return {"wall_s": 2.0 + arguments.count("--pattern"), "cpu_s": 1.0, "peak_mb": 1.0}

    return found, here


@pytest.mark.slow
@pytest.mark.parametrize("job", ["ortho", "footprint"])
def test_surveys_are_mapped(jobs, mapping, bench, monkeypatch, job):
    found, here = mapping
    said: list[str] = []

    def run(command):
        if command[0] == "no-such-program":
            raise found.NotHereError("it is not installed")
        return here(command)

    monkeypatch.setattr(found, "program", run)
    finding = jobs.JOBS[job](bench(say=said.append))
    (first, *_) = finding.figures.values()
    assert first.runs[0]["wall_s"] == 3
    assert "| synthetic, " in finding.text
    if job == "ortho":
        assert set(finding.figures) == {"synthetic, attachtrans, 1", "synthetic, attachtrans, 2"}
        assert any("oty, 2 is left out: it is not installed" in line for line in said)
    else:
        assert set(finding.ratios) == {
            "synthetic, plane: photos/s in the process",
            "synthetic, model: photos/s in the process",
        }
        assert finding.ratios["synthetic, plane: photos/s in the process"] == 1


def test_a_photo_costs_what_many_cost_more_than_one(mapping, tmp_path):
    found, _ = mapping
    from benchmarks.rounds import Figures
    from benchmarks.survey import Survey

    survey = Survey(
        name="s",
        folder=tmp_path,
        photos=(tmp_path,) * 5,
        crs="EPSG:32633",
        resolution=0.1,
        pixels=1_000_000,
    )

    def figures(name, count, seconds):
        run = {"wall_s": seconds, "cpu_s": 2 * seconds}
        return {found.key(survey, name, count): Figures(name=name, runs=(run,))}

    raced = figures("attachtrans", 1, 2.0) | figures("attachtrans", 5, 4.0)
    raced |= figures("oty", 1, 3.0) | figures("oty", 5, 11.0)
    ratios = found.compared(raced, survey, 5)
    assert ratios["s, in process, wall: ours / oty"] == pytest.approx(0.5 / 2.0)
    assert ratios["s, whole process, CPU: ours / oty"] == pytest.approx(4.0 / 11.0)


def test_orthos_are_compared_where_both_have_pixels(mapping, tmp_path):
    found, _ = mapping
    import numpy as np
    from benchmarks.survey import write
    from rasterio import Affine

    values = np.random.default_rng(0).integers(0, 200, (3, 40, 50), np.uint8)
    for name, file, first, more in (("a", "f00.tif", 0, 2), ("b", "f00_ORTHO.tif", 3, 0)):
        (tmp_path / name).mkdir()
        write(
            tmp_path / name / file,
            values[:, first:, first:] + np.uint8(more),
            crs="EPSG:32633",
            transform=Affine(0.5, 0, 100 + first * 0.5, 0, -0.5, 200 - first * 0.5),
        )
    alike = found.same(tmp_path / "a", tmp_path / "b")
    assert alike["median difference of grey levels"] == 2
    assert alike["least correlation"] == pytest.approx(1)
    assert alike["share of oty's pixels that ours has"] == 1


def test_programs_are_timed_and_what_fails_says_why(jobs):
    from benchmarks.rounds import NotHereError, program

    run = program([sys.executable, "-c", "sum(range(10**6))"])
    assert 0 < run["cpu_s"] < 60
    assert run["peak_mb"] > 1
    with pytest.raises(NotHereError, match="boom"):
        program([sys.executable, "-c", "raise SystemExit('boom')"])
    with pytest.raises(NotHereError, match="no-such-program"):
        program(["no-such-program"])


LISTINGS = {
    "CycleGAN, 9 blocks": ("cyclegan_3band_9blocks", "G_B."),
    "Pix2Pix, U-Net": ("pix2pix_unet_3band", "G."),
    "Pix2PixHD, global": ("pix2pixhd_global_default", "G."),
    "Pix2PixHD, local": ("pix2pixhd_local_default", "G."),
    "SR3, per step": ("sr3_244_default_256", "denoise_fn."),
    "SR3_UViT, per step": ("sr3_uvit_default_128", "denoise_fn."),
    "SR3_Wavelet, per step": ("sr3_wavelet_244_default_256", "denoise_fn."),
}


@pytest.mark.parametrize("name", LISTINGS)
def test_the_nets_are_as_large_as_training_makes_them(jobs, shared, name):
    from benchmarks.zoo import ZOO

    listing, prefix = LISTINGS[name]
    keys = json.loads((shared / "arcgis" / "specs" / f"{listing}.json").read_text())["keys"]
    with torch.device("meta"):
        own = {key: list(value.shape) for key, value in ZOO[name].make().state_dict().items()}
    assert own == {key: keys[prefix + key][1] for key in own}


def test_bare_weights_become_a_model_with_all_facts(jobs, tmp_path):
    from benchmarks.inputs import with_facts

    from attachtrans.models.definition import ModelDefinition

    weights = bicubic_x2(tmp_path / "x2.emd").with_suffix(".ts.pt")
    folder = tmp_path / "scratch"
    folder.mkdir()
    model, seconds = with_facts(str(weights), folder)
    assert seconds > 0
    stated = ModelDefinition.read(model).raw
    assert (stated["Scale"], stated["ReceptiveField"], stated["InputBands"]) == (2, 2, 3)
    assert with_facts("sr-x2", folder) == ("sr-x2", 0.0)


@pytest.mark.slow
def test_the_command_runs_contestants_in_processes_of_their_own(tmp_path):
    model = bicubic_x2(tmp_path / "x2.emd")
    out = tmp_path / "out.json"
    arguments = ["--job", "codec", "--n", "1", "--megapixels", "0.01", "--repeat", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments, "--net", str(model), "--json", str(out)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=os.environ | {"PYTHONPATH": str(SCRIPTS)},
    )
    assert done.returncode == 0, done.stderr
    assert "## JPEG codec" in done.stdout
    (finding,) = json.loads(out.read_text())["findings"]
    assert finding["runs"]["ours"][0]["decode_cpu_s"] >= 0
