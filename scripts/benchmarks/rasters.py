"""The raster jobs: speed beside the bare net and other tools, and memory of every shape."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.inputs import write_raster, write_virtual
from benchmarks.jobs import Bench, Finding, against, peer, peer_scripts, stages
from benchmarks.rounds import Contestant, Figures, NotHereError, in_process, race, table

OURS, BARE, PEERS_BARE = "attachtrans", "forward", "forward, tiles of 512 / 64"
MEGAPIXELS, CORNER = 36, 1500
# Tiles as the scripts of other tools ask for them: edge, and what two neighbours share.
PEER_TILE, PEER_OVERLAP = 512, 64
MEMORY_MEGAPIXELS, LONGER, VIRTUAL, FIRST_ROWS = 9, 10, 100_000, 2000
KINDS: Mapping[str, Mapping[str, Any]] = {
    "tiles, nodata": {},
    "strips, mask": {"strips": True, "masked": True},
}


def edge_of(megapixels: float) -> int:
    """The edge of a square raster of about so many megapixels, in tens."""
    return max(10, round(math.sqrt(megapixels * 1e6) / 10) * 10)


def raster(bench: Bench) -> Finding:
    """The whole job on a GeoTIFF, against the bare net and other tools."""
    edge = edge_of(bench.megapixels or MEGAPIXELS)
    home = bench.folder / "peers"
    data, out = home / "data", home / "out"
    data.mkdir(parents=True)
    out.mkdir()
    write_raster(data / "big.tif", (edge, edge))
    write_raster(data / "crop1500.tif", (min(edge, CORNER),) * 2)
    scripts = [] if bench.peers is None else peer_scripts(bench.peers)
    settings = bench.settings("raster", 1, (edge, edge), raster=str(data / "big.tif"))
    contestants = [
        Contestant(name=BARE, run=partial(in_process, "forward", settings)),
        ours(OURS, settings, out / "attachtrans_big.tif"),
    ]
    if scripts:
        told = settings | {"batches": peer_batches(edge), "layout": "contiguous_format"}
        contestants.append(
            Contestant(name=PEERS_BARE, run=partial(in_process, "forward_whole", told))
        )
    contestants += [
        Contestant(name=script.stem, run=partial(peer, bench, script, home, "big"))
        for script in scripts
    ]
    figures = race(contestants, bench.repeat, bench.say)
    parts = [against(figures, figures[BARE], edge**2)]
    if OURS in figures:
        run = min(figures[OURS].runs, key=lambda entry: entry["wall_s"])
        parts += [f"Stages of {OURS} ({run['wall_s']:.1f} s):", stages(run, run["wall_s"])]
    present = [script for script in scripts if script.stem in figures]
    parts += [
        "A corner, away from nodata, against one pass over the whole of it:",
        faults(bench, home, present),
    ]
    return Finding(
        title=f"A raster of {edge} x {edge}, {bench.net}, {bench.device}",
        text="\n\n".join(parts),
        ratios=compared(figures, edge**2 / 1e6),
        figures=figures,
    )


def ours(name: str, settings: Mapping[str, Any], result: Path, **more: Any) -> Contestant:
    """The whole job, with a result that is not there before."""
    told = {**settings, "result": str(result), **more}
    return Contestant(
        name=name,
        run=partial(in_process, "raster", told),
        prepare=partial(result.unlink, missing_ok=True),
    )


def peer_batches(edge: int) -> list[tuple[int, ...]]:
    """The batches that other tools make of a square raster."""
    tile = min(edge, PEER_TILE)
    along = 1 + math.ceil(max(edge - tile, 0) / (PEER_TILE - PEER_OVERLAP))
    return [(1, 3, tile, tile)] * along**2


def compared(figures: Mapping[str, Figures], megapixels: float) -> dict[str, float]:
    """What the whole job costs more than the net, and what others cost."""
    if OURS not in figures:
        return {}
    mine, bare = figures[OURS], figures[BARE]
    over = (mine.least("cpu_s") - bare.least("cpu_s")) / megapixels * 1000
    ratios = {
        "W": bare.runs[0]["computed_px"] / megapixels / 1e6,
        "E, wall": mine.least("wall_s") / bare.least("wall_s"),
        "E, CPU": mine.least("cpu_s") / bare.least("cpu_s"),
        "overhead, CPU ms per MP": over,
    }
    for name, entry in figures.items():
        if name in {OURS, BARE, PEERS_BARE}:
            continue
        ratios[f"CPU, {name} / ours"] = entry.least("cpu_s") / mine.least("cpu_s")
        ratios[f"peak memory, {name} / ours"] = entry.least("peak_mb") / mine.least("peak_mb")
        if name.startswith("monai") and PEERS_BARE in figures:
            net = figures[PEERS_BARE].least("cpu_s")
            theirs = (entry.least("cpu_s") - net) / megapixels * 1000
            ratios |= {
                f"overhead of {name}, CPU ms per MP": theirs,
                f"ours / {name}": over / theirs,
            }
    return ratios


def faults(bench: Bench, home: Path, scripts: list[Path]) -> str:
    """What everybody makes of the corner: a table of what is wrong with it."""
    source, out = home / "data" / "crop1500.tif", home / "out"
    settings = bench.settings("raster", 1, (CORNER, CORNER), raster=str(source))
    result = out / "attachtrans_crop.tif"
    in_process("raster", settings | {"result": str(result)})
    results = {OURS: str(result)}
    for script in scripts:
        before = set(out.glob("*_crop*.tif"))
        try:
            peer(bench, script, home, "crop")
        except NotHereError as reason:
            bench.say(f"{script.stem}, the corner, is left out: {reason}")
            continue
        for path in set(out.glob("*_crop*.tif")) - before:
            results[script.stem] = str(path)
    found = in_process("inspect", settings | {"results": results})["found"]
    rows = [
        (name, of["levels"], 100 * of["off"], "yes" if of["placed"] else "no", 100 * of["mask"])
        for name, of in found.items()
    ]
    columns = ("contestant", "levels off, most", "% off by > 2", "placed", "% of mask wrong")
    return table(columns, rows)


def raster_memory(bench: Bench) -> Finding:
    """Peak memory of square, wide and high rasters, and of a part of a virtual one."""
    edge = edge_of(bench.megapixels or MEMORY_MEGAPIXELS)
    shapes = {"square": (edge, edge), "wide": (LONGER * edge, edge), "high": (edge, LONGER * edge)}
    sizes: dict[str, tuple[int, int]] = {}
    contestants = []
    for kind, stored in KINDS.items():
        for shape, size in shapes.items():
            name = f"{shape}, {kind}"
            path = bench.folder / f"{name}.tif"
            write_raster(path, size, **stored)
            settings = bench.settings("raster-memory", 1, size, raster=str(path))
            contestants.append(ours(name, settings, bench.folder / "result.tif"))
            sizes[name] = size
    virtual = bench.folder / "virtual.vrt"
    whole, rows = VIRTUAL * edge // 3000, FIRST_ROWS * edge // 3000
    extent = write_virtual(virtual, (whole, whole), rows)
    name = f"first {rows} rows of {whole} x {whole}"
    settings = bench.settings("raster-memory", 1, (whole, rows), raster=str(virtual))
    contestants.append(ours(name, settings, bench.folder / "result.tif", extent=extent))
    sizes[name] = (whole, rows)
    figures = race(contestants, bench.repeat, bench.say)
    return Finding(
        title=f"Memory of rasters, {bench.net}, {bench.device}",
        text=memory_table(figures, sizes),
        ratios=memory_ratios(figures, list(shapes)[1:]),
        figures=figures,
    )


def memory_table(figures: Mapping[str, Figures], sizes: Mapping[str, tuple[int, int]]) -> str:
    """Peak memory and CPU time by raster."""
    rows = []
    for name, entry in figures.items():
        width, height = sizes[name]
        cost = entry.least("cpu_s") / (width * height / 1e6)
        rows.append((name, f"{width} x {height}", entry.middle("peak_mb"), cost))
    return table(("raster", "pixels", "peak MB", "CPU s per MP"), rows)


def memory_ratios(figures: Mapping[str, Figures], shapes: list[str]) -> dict[str, float]:
    """Peaks of long rasters, in those of the square one of their kind."""
    return {
        f"peak, {shape} / square, {kind}": figures[f"{shape}, {kind}"].middle("peak_mb")
        / figures[f"square, {kind}"].middle("peak_mb")
        for kind in KINDS
        for shape in shapes
        if {f"{shape}, {kind}", f"square, {kind}"} <= figures.keys()
    }
