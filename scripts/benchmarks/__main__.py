"""`python -m benchmarks`: the command line of the bench."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.inputs import with_facts
from benchmarks.jobs import JOBS, NETLESS, Bench, Finding
from benchmarks.rounds import NotHereError, table

EPILOGUE = """
jobs:
  photos   a GeoPackage of photos, overwritten and appended, against the bare net on the same tiles
           and a naive loop; E = time of the job / time of the net, W = pixels computed / pixels
  engine   the tile engine on images in memory, against the bare net; needs only torch, numpy,
           pillow and OpenCV besides the net's own library:
           PYTHONPATH=scripts:. python3 -m benchmarks --job engine --device cuda --net NET.ts.pt
  peers    the same photos through other tools' scripts (--peers), each in a fresh process
  memory   peak memory with 100 and with 2,000 photos (--n: instead of 2,000)
  codec    JPEG decoding and encoding against Pillow and OpenCV
  nets     parameters, FLOP, time and memory of a tile: a net of every ArcGIS type in the size that
           training makes by default, with random weights, and all of --net; --n: tiles to time.
           Needs what the engine job needs
  ortho    orthos of oblique photos over an elevation model, beside orthority's program (--oty): of
           a synthetic survey, or of those in --data; --n photos and one, so that the start of a
           process can be told from the work; says how alike the two tools' orthos are
  footprint  footprints of the same photos, on a plane and over the model
  raster   a GeoTIFF of 6,000 x 6,000 (--megapixels) against the bare net on the same tiles and
           other tools' scripts (--peers); then what each makes of a corner of it, compared with
           one pass of the net over the whole corner: seams, place, mask
  raster-memory  peak memory of a square GeoTIFF of 3,000 x 3,000 (--megapixels), of one ten times
           as wide and one ten times as high, in tiles with nodata and in strips with a mask; and of
           the first 2,000 rows of a virtual raster of 100,000 x 100,000

Contestants take turns, --repeat times, each in a fresh process; the clock starts after imports (for
the net, the naive loop and other tools also after loading the net). Compare ratios within one run,
and CPU seconds on a busy machine. All photos are made on the spot from seeds.
"""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=__doc__,
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--job", choices=[*JOBS, "all"], default="all")
    parser.add_argument(
        "--net",
        nargs="+",
        default=["sr-x2"],
        help="models: definitions, built-in names, or bare TorchScript and ONNX files that map "
        "0..1 to 0..1 (default: sr-x2)",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:N, mps (default: cpu)")
    parser.add_argument("--n", type=int, help="photos (default: each job's own number)")
    parser.add_argument("--megapixels", type=float, help="of a photo (default: each job's own)")
    parser.add_argument("--repeat", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--peers", type=Path, help="folder of other tools' scripts")
    parser.add_argument("--peers-python", default=sys.executable, help="Python that has the tools")
    parser.add_argument("--peer-net", default="tiny", help="what their scripts call the net")
    parser.add_argument(
        "--data", type=Path, help="folder with ngi, odm and io: orthority's tests/data"
    )
    parser.add_argument("--oty", default="oty", help="orthority's program (default: oty)")
    parser.add_argument("--json", type=Path, help="write everything to this file")
    parser.add_argument("--scratch", type=Path, help="folder for photos and results")
    return parser.parse_args(arguments)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    libraries = ("torch", "numpy", "pillow", "attachtrans")
    found: dict[str, Any] = {
        "system": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    for name in libraries:
        try:
            found[name] = version(name)
        except ModuleNotFoundError:  # a checkout that is not installed
            found[name] = "not installed"
    return found


def processor() -> str:
    """The processor's name."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def say(line: str) -> None:
    """Progress, apart from the tables."""
    print(line, file=sys.stderr, flush=True)


def as_json(finding: Finding) -> dict[str, Any]:
    """A finding with every run."""
    runs = {name: entry.runs for name, entry in finding.figures.items()}
    return {"title": finding.title, "ratios": dict(finding.ratios), "runs": runs}


def run_jobs(options: argparse.Namespace, folder: Path) -> list[Finding]:
    """Every job asked for with every net; tables are printed as they come."""
    findings = []
    names = list(JOBS) if options.job == "all" else [options.job]
    models = []
    for net in options.net:
        model, seconds = with_facts(net, folder)
        if seconds:
            say(f"{net}: the net's facts were measured once, in {seconds:.1f} s")
        models.append((Path(net).name, model))
    for position, (net, model) in enumerate(models):
        bench = Bench(
            folder=folder / "job",
            net=net,
            model=model,
            device=options.device,
            count=options.n,
            megapixels=options.megapixels,
            repeat=options.repeat,
            peers=options.peers,
            peers_python=options.peers_python,
            peer_net=options.peer_net,
            others=tuple(models[1:]),
            data=options.data,
            oty=options.oty,
            say=say,
        )
        for name in names:
            if name in NETLESS and position:
                continue
            bench.folder.mkdir()
            try:
                finding = JOBS[name](bench)
            except NotHereError as reason:
                say(f"{name}: left out: {reason}")
                continue
            finally:
                shutil.rmtree(bench.folder)
            findings.append(finding)
            print(f"\n## {finding.title}\n\n{finding.text}\n")
            print(table(("ratio", "value"), list(finding.ratios.items())), flush=True)
    return findings


def main() -> None:
    """Run, print, write."""
    options = parse(sys.argv[1:])
    here = machine()
    print(f"{here['processor']}, {here['cores']} cores, torch {here['torch']}", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.scratch) as folder:
        findings = run_jobs(options, Path(folder))
    if options.json:
        content = {"machine": here, "findings": [as_json(finding) for finding in findings]}
        options.json.write_text(json.dumps(content, indent=1), encoding="utf-8")
    raise SystemExit(0 if findings else 3)


if __name__ == "__main__":
    main()
