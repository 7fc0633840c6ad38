"""The jobs of the bench: who runs against whom on what, and the tables that come of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.codecs import CODECS
from benchmarks.inputs import photo, size_of, write_files, write_geopackage
from benchmarks.rounds import (
    Contestant,
    Figures,
    NotHereError,
    Run,
    in_process,
    last_json,
    race,
    table,
)

FEW, MANY = 100, 2000  # photos of the memory job
# A process counts its peak memory on from the one that started it: a small shell comes between.
SHELL = ("/bin/sh", "-c", '"$@"; exit $?', "sh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What the command line says, and a scratch folder.

    model        what attachtrans is given; net is how the user named it
    others       further nets of the same run, (net, model) each
    count        photos, None = the job's own number
    megapixels   of a photo, None = the job's own
    peers        folder of scripts, see `peer`; peers_python runs them; peer_net is their word
                 for the net
    data         folder with real surveys for the map jobs, see `survey`; None: a synthetic one
    oty          orthority's program
    """

    folder: Path
    net: str
    model: str
    device: str
    count: int | None
    megapixels: float | None
    repeat: int
    peers: Path | None
    peers_python: str
    peer_net: str
    others: tuple[tuple[str, str], ...]
    data: Path | None
    oty: str
    say: Callable[[str], None]

    def settings(self, job: str, count: int, size: tuple[int, int], **more: Any) -> dict[str, Any]:
        """What a contestant is told."""
        return {
            "job": job,
            "model": self.model,
            "device": self.device,
            "count": count,
            "size": size,
        } | more


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One job's outcome: a title, Markdown, ratios by name, and every run."""

    title: str
    text: str
    ratios: Mapping[str, float]
    figures: Mapping[str, Figures] = field(default_factory=dict)


def over_package(
    bench: Bench, kind: str, pristine: Path, settings: Mapping[str, Any], name: str = ""
) -> Contestant:
    """A contestant that gets a fresh copy of a GeoPackage in an empty folder each time."""
    work = bench.folder / "work"
    package = work / "photos.gpkg"

    def prepare() -> None:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        shutil.copyfile(pristine, package)

    told = dict(settings) | {"package": str(package)}
    return Contestant(name=name or kind, run=partial(in_process, kind, told), prepare=prepare)


def against(figures: Mapping[str, Figures], base: Figures, pixels: int) -> str:
    """The table that all races share, with ratios to one contestant."""
    rows = [
        (
            entry.name,
            entry.least("wall_s"),
            entry.middle("wall_s"),
            entry.least("cpu_s"),
            entry.middle("cpu_s"),
            pixels / 1e6 / entry.least("wall_s"),
            entry.least("peak_mb") if "peak_mb" in entry.runs[0] else "",
            entry.least("wall_s") / base.least("wall_s"),
            entry.least("cpu_s") / base.least("cpu_s"),
        )
        for entry in figures.values()
    ]
    columns = (
        "contestant",
        "wall s, least",
        "median",
        "CPU s, least",
        "median",
        "MP/s in",
        "peak MB",
        f"wall / {base.name}",
        f"CPU / {base.name}",
    )
    return table(columns, rows)


def stages(run: Run, wall: float) -> str:
    """How busy each stage of one run was."""
    rows = [
        (name, seconds, run["stages_cpu_s"][name], seconds / wall)
        for name, seconds in run["stages_wall_s"].items()
    ]
    return table(("stage", "wall s", "CPU s of its thread", "share of the run"), rows)


def photos(bench: Bench) -> Finding:
    """The whole job on a GeoPackage, against the bare net and a naive loop."""
    count, size = bench.count or 4, size_of(bench.megapixels or 3)
    pristine, files = bench.folder / "photos.gpkg", bench.folder / "photos"
    write_geopackage(pristine, count, size)
    write_files(files, (photo(number, size) for number in range(1, count + 1)))
    settings = bench.settings("photos", count, size, files=str(files))
    nets = ("forward", "forward_whole") if bench.device == "cpu" else ("forward",)
    contestants = [
        *(Contestant(name=kind, run=partial(in_process, kind, settings)) for kind in nets),
        over_package(bench, "overwrite", pristine, settings),
        over_package(bench, "append", pristine, settings),
        Contestant(name="naive", run=partial(in_process, "naive", settings)),
    ]
    figures = race(contestants, bench.repeat, bench.say)
    bare = min(
        (figures[kind] for kind in nets if kind in figures), key=lambda entry: entry.least("wall_s")
    )
    pixels = count * size[0] * size[1]
    work = bare.runs[0]["computed_px"] / pixels
    ratios = {"W": work}
    parts = [against(figures, bare, pixels)]
    for kind in ("overwrite", "append"):
        if kind in figures:
            ratios[f"E {kind}, wall"] = figures[kind].least("wall_s") / bare.least("wall_s")
            ratios[f"E {kind}, CPU"] = figures[kind].least("cpu_s") / bare.least("cpu_s")
            run = min(figures[kind].runs, key=lambda entry: entry["wall_s"])
            parts.append(f"Stages of {kind} ({run['wall_s']:.1f} s):")
            parts.append(stages(run, run["wall_s"]))
    return Finding(
        title=f"{count} photos of {size[0]} x {size[1]}, {bench.net}, {bench.device}",
        text="\n\n".join(parts),
        ratios=ratios,
        figures=figures,
    )


def engine(bench: Bench) -> Finding:
    """The tile engine on images in memory, against the bare net. Needs no codec and no store."""
    count, size = bench.count or 4, size_of(bench.megapixels or 3)
    settings = bench.settings("engine", count, size)
    nets = ("forward", "forward_whole") if bench.device == "cpu" else ("forward",)
    contestants = [
        Contestant(name=kind, run=partial(in_process, kind, settings)) for kind in (*nets, "engine")
    ]
    figures = race(contestants, bench.repeat, bench.say)
    bare = min((figures[kind] for kind in nets), key=lambda entry: entry.least("wall_s"))
    pixels = count * size[0] * size[1]
    return Finding(
        title=f"{count} images of {size[0]} x {size[1]} in memory, {bench.net}, {bench.device}",
        text=against(figures, bare, pixels),
        ratios={
            "W": bare.runs[0]["computed_px"] / pixels,
            "engine / net, wall": figures["engine"].least("wall_s") / bare.least("wall_s"),
        },
        figures=figures,
    )


def peers(bench: Bench) -> Finding:
    """The whole job against other tools' scripts, on the same photos with the same net."""
    if bench.peers is None:
        raise NotHereError("no --peers folder was named")
    count, size = bench.count or 8, size_of(bench.megapixels or 3)
    home = bench.folder / "peers"
    write_files(home / "data" / "photos", (photo(number, size) for number in range(count)))
    pristine = bench.folder / "peers.gpkg"
    write_geopackage(pristine, count, size)
    settings = bench.settings("peers", count, size, files=str(home / "data" / "photos"))
    scripts = peer_scripts(bench.peers)
    contestants = [
        over_package(bench, "overwrite", pristine, settings, "attachtrans (overwrite)"),
        Contestant(name="naive loop", run=partial(in_process, "naive", settings)),
        *(
            Contestant(name=path.stem, run=partial(peer, bench, path, home, "photos", str(count)))
            for path in scripts
        ),
    ]
    figures = race(contestants, bench.repeat, bench.say)
    mine = figures["attachtrans (overwrite)"]
    others = {name: entry for name, entry in figures.items() if entry is not mine}
    return Finding(
        title=f"{count} photos of {size[0]} x {size[1]} against other tools, {bench.net}",
        text=against(figures, mine, count * size[0] * size[1]),
        ratios={
            f"CPU, {name} / attachtrans": entry.least("cpu_s") / mine.least("cpu_s")
            for name, entry in others.items()
        },
        figures=figures,
    )


def peer_scripts(folder: Path) -> list[Path]:
    """Those of the --peers folder that run a tool."""
    return [path for path in sorted(folder.glob("*.py")) if "with Meter(" in path.read_text()]


def peer(bench: Bench, script: Path, home: Path, *work: str) -> Run:
    """One script of the --peers folder, run as `SCRIPT NET photos COUNT`, or `SCRIPT NET big`.

    It reads $BENCH_DIR/data (photos/pNN.jpg, big.tif, crop1500.tif), writes below $BENCH_DIR/out,
    and prints a line of JSON with wall, cpu (seconds) and rss_mb; ok says whether it came to its
    end.
    """
    command = [*SHELL, bench.peers_python, str(script.resolve()), bench.peer_net, *work]
    found = last_json(command, {"BENCH_DIR": str(home)}, home)
    if not found.get("ok"):
        raise NotHereError("it did not come to its end")
    return {"wall_s": found["wall"], "cpu_s": found["cpu"], "peak_mb": found["rss_mb"]}


def memory(bench: Bench) -> Finding:
    """Peak resident memory with few and with many photos."""
    size = size_of(bench.megapixels or 0.5)
    counts = (FEW, bench.count or MANY)
    contestants = []
    for count in counts:
        pristine = bench.folder / f"memory-{count}.gpkg"
        write_geopackage(pristine, count, size)
        settings = bench.settings("memory", count, size)
        contestants += [
            over_package(bench, kind, pristine, settings, f"{kind}, {count} photos")
            for kind in ("overwrite", "append")
        ]
    figures = race(contestants, bench.repeat, bench.say)
    ratios, rows = {}, []
    for kind in ("overwrite", "append"):
        few, many = (figures[f"{kind}, {count} photos"].middle("peak_mb") for count in counts)
        ratios[f"peak {kind}, {counts[1]} / {counts[0]} photos"] = many / few
        slope = (many - few) / (counts[1] - counts[0]) * 1000
        rows.append((kind, few, many, many / few, slope))
    columns = (
        "job",
        f"peak MB, {counts[0]} photos",
        f"{counts[1]} photos",
        "ratio",
        "MB per 1,000 photos",
    )
    return Finding(
        title=f"Memory: photos of {size[0]} x {size[1]}, {bench.net}, {bench.device}",
        text=table(columns, rows),
        ratios=ratios,
        figures=figures,
    )


def codec(bench: Bench) -> Finding:
    """JPEG decoding and encoding against Pillow and OpenCV, CPU seconds of one thread."""
    count, size = bench.count or 8, size_of(bench.megapixels or 12)
    files = bench.folder / "codec"
    write_files(files, (photo(number, size) for number in range(count)))
    contestants = [
        Contestant(
            name=name,
            run=partial(
                in_process,
                "codec",
                bench.settings("codec", count, size, files=str(files), codec=name),
            ),
        )
        for name in CODECS
    ]
    figures = race(contestants, bench.repeat, bench.say)
    megapixels = count * size[0] * size[1] / 1e6
    rows = [
        (
            name,
            megapixels / entry.least("decode_cpu_s"),
            megapixels / entry.least("encode_cpu_s"),
            entry.least("cpu_s") / figures["ours"].least("cpu_s"),
        )
        for name, entry in figures.items()
    ]
    return Finding(
        title=f"JPEG codec: {count} photos of {size[0]} x {size[1]}",
        text=table(("codec", "decode MP/s", "encode MP/s", "CPU / ours"), rows),
        ratios={
            f"CPU, {name} / ours": entry.least("cpu_s") / figures["ours"].least("cpu_s")
            for name, entry in figures.items()
            if name != "ours"
        },
        figures=figures,
    )


def nets(bench: Bench) -> Finding:
    """What a tile costs the nets of every ArcGIS type and all nets of this run."""
    from benchmarks.nets import COLUMNS, row
    from benchmarks.zoo import ZOO

    models = dict([*((name, name) for name in ZOO), (bench.net, bench.model), *bench.others])
    contestants = [
        Contestant(
            name=name,
            run=partial(
                in_process,
                "net",
                {"model": model, "device": bench.device, "count": bench.count or 4},
            ),
        )
        for name, model in models.items()
    ]
    figures = race(contestants, bench.repeat, bench.say)
    return Finding(
        title=f"What a tile costs, {bench.device}",
        text=table(
            COLUMNS, [row(name, entry.runs[0], entry.least) for name, entry in figures.items()]
        ),
        ratios={
            f"bf16, {name}": entry.least("fp32_ms") / entry.least("bf16_ms")
            for name, entry in figures.items()
        },
        figures=figures,
    )


def ortho(bench: Bench) -> Finding:
    """Orthos of a survey, see `benchmarks.mapping`."""
    from benchmarks.mapping import ortho as job

    return job(bench)


def footprint(bench: Bench) -> Finding:
    """Footprints of a survey, see `benchmarks.mapping`."""
    from benchmarks.mapping import footprint as job

    return job(bench)


def raster(bench: Bench) -> Finding:
    """A raster, see `benchmarks.rasters`."""
    from benchmarks.rasters import raster as job

    return job(bench)


def raster_memory(bench: Bench) -> Finding:
    """Memory that rasters take, see `benchmarks.rasters`."""
    from benchmarks.rasters import raster_memory as job

    return job(bench)


JOBS: dict[str, Callable[[Bench], Finding]] = {
    "photos": photos,
    "engine": engine,
    "peers": peers,
    "memory": memory,
    "codec": codec,
    "nets": nets,
    "ortho": ortho,
    "footprint": footprint,
    "raster": raster,
    "raster-memory": raster_memory,
}
NETLESS = frozenset({"nets", "ortho", "footprint"})
"""Jobs that run once for all --net: their one table has all, or needs none."""
