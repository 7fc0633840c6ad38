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
