"""The map jobs: orthos and footprints of a survey, as programs, beside orthority's `oty`.

orthority is AGPL and is never imported: what a photo costs inside the process is what `count`
photos cost more than one, for both tools alike.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import rasterio

from benchmarks.jobs import Bench, Finding
from benchmarks.rounds import Contestant, Figures, NotHereError, Run, program, race, table
from benchmarks.survey import Survey, surveys

OURS, OTY = "attachtrans", "oty"
FRAMES, FOOTPRINTS = 8, 80  # of a survey, for orthos and for footprints
MEGAPIXELS = 1.25
START = "import sys; from attachtrans.cli import main; sys.argv[0] = 'attachtrans'; main()"


def ortho(bench: Bench) -> Finding:
    """Orthos over an elevation model, deflated, by both tools."""
    parts, ratios, figures = [], {}, {}
    for survey in found(bench, FRAMES):
        tools = {OURS: partial(our_orthos, survey), OTY: partial(oty_orthos, bench.oty, survey)}
        contestants = []
        for name, command in tools.items():
            for photos in (survey.photos[:1], survey.photos):
                out = bench.folder / f"{survey.name}-{name}-{len(photos)}"
                contestants.append(contestant(survey, name, len(photos), command(photos, out), out))
        raced = race(contestants, bench.repeat, bench.say)
        figures |= raced
        count = len(survey.photos)
        rows = [row for name in tools if (row := costs(raced, survey, name, count)) is not None]
        parts.append(table(("orthos", *COLUMNS), rows))
        ratios |= compared(raced, survey, count)
        ours, theirs = (bench.folder / f"{survey.name}-{name}-{count}" for name in (OURS, OTY))
        if key(survey, OTY, count) in raced:
            ratios |= {f"{survey.name}: {k}": v for k, v in same(ours, theirs).items()}
    return Finding(
        title=f"Orthos of {bench.count or FRAMES} photos of each survey",
        text="\n\n".join(parts),
        ratios=ratios,
        figures=figures,
    )


def footprint(bench: Bench) -> Finding:
    """Footprints on a plane and over an elevation model. `oty` has none to compare with."""
    parts, ratios, figures = [], {}, {}
    for survey in found(bench, FOOTPRINTS):
        contestants = []
        grounds = {"plane": ("--ground", "60"), "model": ("--dem", str(survey.dem))}
        for ground, words in grounds.items():
            for photos in (survey.photos[:1], survey.photos):
                out = bench.folder / f"{survey.name}-{ground}-{len(photos)}"
                command = our_footprints(survey, words, photos, out)
                contestants.append(contestant(survey, ground, len(photos), command, out))
        raced = race(contestants, bench.repeat, bench.say)
        figures |= raced
        count = len(survey.photos)
        rows = [row for name in grounds if (row := costs(raced, survey, name, count)) is not None]
        parts.append(table(("footprints", *COLUMNS), rows))
        ratios |= {f"{row[0]}: photos/s in the process": float(row[3]) for row in rows}
    return Finding(
        title=f"Footprints of {bench.count or FOOTPRINTS} photos of each survey",
        text="\n\n".join(parts),
        ratios=ratios,
        figures=figures,
    )


COLUMNS = (
    "photos/s, whole process",
    "MP/s",
    "photos/s, in process",
    "MP/s",
    "CPU s a photo, whole process",
    "in process",
    "start, wall s",
)


def found(bench: Bench, count: int) -> list[Survey]:
    """The surveys of a run; `count` photos in each unless it says another number."""
    count, megapixels = bench.count or count, bench.megapixels or MEGAPIXELS
    if count < 2:
        raise NotHereError("what a photo costs more than none takes two: --n 2 or more")
    return surveys(bench.folder / "surveys", count, megapixels, bench.data)


def contestant(
    survey: Survey, name: str, count: int, command: Sequence[str], out: Path
) -> Contestant:
    """A program that writes into an empty folder each time."""

    def prepare() -> None:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()

    def run() -> Run:
        return program(command)

    return Contestant(name=key(survey, name, count), run=run, prepare=prepare)


def key(survey: Survey, name: str, count: int) -> str:
    """What a contestant is called."""
    return f"{survey.name}, {name}, {count}"


def our_orthos(survey: Survey, photos: Sequence[Path], out: Path) -> list[str]:
    """Our program on these photos of a survey."""
    return [
        *(sys.executable, "-c", START, "ortho", str(survey.folder / "photos"), "-o", str(out)),
        *(word for photo in photos for word in ("--pattern", photo.name)),
        *("--poses", str(survey.poses), "--poses-crs", survey.crs),
        *("--camera", str(survey.camera), "--dem", str(survey.dem)),
        *("--crs", survey.crs, "--resolution", str(survey.resolution)),
    ]


def our_footprints(
    survey: Survey, ground: Sequence[str], photos: Sequence[Path], out: Path
) -> list[str]:
    """Our program on these photos of a survey."""
    return [
        *(sys.executable, "-c", START, "footprint", str(survey.folder / "photos")),
        *("-o", str(out / "footprints.geojson")),
        *(word for photo in photos for word in ("--pattern", photo.name)),
        *("--poses", str(survey.poses), "--poses-crs", survey.crs),
        *("--camera", str(survey.camera), *ground),
    ]


def oty_orthos(oty: str, survey: Survey, photos: Sequence[Path], out: Path) -> list[str]:
    """Their program on the same: the same lattice and compression, a mask, and no overviews.

    Ours makes them where an ortho is so large that viewers need them.
    """
    return [
        *(oty, "frame", "--dem", str(survey.dem), "--int-param", str(survey.camera)),
        *("--ext-param", str(survey.poses), "--crs", survey.crs),
        *("--res", str(survey.resolution), "--aligned-pixels", "--compress", "deflate"),
        *("--no-build-ovw", "--write-mask", "--overwrite", "--out-dir", str(out)),
        *map(str, photos),
    ]


def costs(
    figures: dict[str, Figures], survey: Survey, name: str, count: int
) -> tuple[object, ...] | None:
    """A contestant's row of the table; None when it was left out."""
    if key(survey, name, count) not in figures:
        return None
    one, many = (figures[key(survey, name, number)] for number in (1, count))
    wall, wall_in = per_photo(one, many, count, "wall_s")
    cpu, cpu_in = per_photo(one, many, count, "cpu_s")
    megapixels = survey.pixels / 1e6
    start = one.least("wall_s") - wall_in
    return (
        f"{survey.name}, {name}",
        *(1 / wall, megapixels / wall, 1 / wall_in, megapixels / wall_in),
        *(cpu, cpu_in, start),
    )


def per_photo(one: Figures, many: Figures, count: int, what: str) -> tuple[float, float]:
    """Seconds a photo: of the whole process, and of each photo after the first."""
    more = many.least(what) - one.least(what)
    return many.least(what) / count, max(more / (count - 1), 1e-4)


def compared(figures: dict[str, Figures], survey: Survey, count: int) -> dict[str, float]:
    """Our seconds over oty's."""
    if key(survey, OTY, count) not in figures:
        return {}
    ratios = {}
    for what, word in (("wall_s", "wall"), ("cpu_s", "CPU")):
        ours, theirs = (
            per_photo(figures[key(survey, n, 1)], figures[key(survey, n, count)], count, what)
            for n in (OURS, OTY)
        )
        for index, where in enumerate(("whole process", "in process")):
            ratios[f"{survey.name}, {where}, {word}: ours / oty"] = ours[index] / theirs[index]
    return ratios


def same(ours: Path, theirs: Path) -> dict[str, float]:
    """How alike the two tools' orthos are where both have pixels, over all photos."""
    differences, pairs, shares = [], [], []
    for path in sorted(ours.glob("f??.tif")):
        one, two = lattice(path), lattice(theirs / f"{path.stem}_ORTHO.tif")
        (a, seen_a), (b, seen_b) = overlapping(one, two)
        both = seen_a & seen_b
        shares.append(both.sum() / max(seen_b.sum(), 1))
        differences.append(np.abs(a[:, both] - b[:, both]).ravel())
        pairs.append(np.corrcoef(a[:, both].ravel(), b[:, both].ravel())[0, 1])
    return {
        "median difference of grey levels": float(np.median(np.concatenate(differences))),
        "least correlation": float(min(pairs)),
        "share of oty's pixels that ours has": float(np.mean(shares)),
    }


Lattice = tuple[np.ndarray, np.ndarray, tuple[int, int]]


def lattice(path: Path) -> Lattice:
    """Colours (3, height, width), where they are valid, and the place in whole pixels."""
    with rasterio.open(path) as opened:
        colours = opened.read([1, 2, 3]).astype(np.int16)
        seen = opened.dataset_mask() > 0
        t = opened.transform
    return colours, seen, (round(t.c / t.a), round(t.f / t.e))


def overlapping(
    one: Lattice, two: Lattice
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The parts of two rasters of one lattice that lie on each other."""
    left, top = (max(one[2][axis], two[2][axis]) for axis in (0, 1))
    right, bottom = (
        min(raster[2][axis] + raster[1].shape[1 - axis] for raster in (one, two)) for axis in (0, 1)
    )

    def part(raster: Lattice) -> tuple[np.ndarray, np.ndarray]:
        colours, seen, (col, row) = raster
        rows, cols = slice(top - row, bottom - row), slice(left - col, right - col)
        return colours[:, rows, cols], seen[rows, cols]

    return part(one), part(two)
