"""Which files of a folder are rasters and which are photos, and where results go."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.control import GroundControlPoint
from rasterio.transform import Affine

from attachtrans.errors import ArgumentError, LayoutError, SinkError
from attachtrans.stores.rasterfolder import (
    default_output,
    is_raster,
    make_folder_for,
    member_path,
    result_path,
    sort_folder,
)
from tests.stores.mosaics.making import tile

WORLD = "1\n0\n0\n-1\n500000.5\n5000063.5\n"


def picture(path: Path, size: tuple[int, int] = (6, 4)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (9, 8, 7)).save(path)
    return path


def kinds(folder: Path, **more: object) -> tuple[list[str], list[str]]:
    """(rasters, photos) by their keys."""
    found = sort_folder(folder, **more)
    return [file.key for file in found.rasters], [item.key for item in found.photos or ()]


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Photos and rasters in one tree, with files beside them."""
    folder = tmp_path / "in"
    tile(folder / "maps/ortho.tif", 1)
    tile(folder / "maps/cog.tif", 1, driver="COG")
    tile(folder / "maps/scene.jp2", 1, driver="JP2OpenJPEG", QUALITY=100, REVERSIBLE="YES")
    tile(folder / "maps/old.img", 1, driver="HFA")
    (folder / "maps/ortho.tif.ovr").write_bytes((folder / "maps/ortho.tif").read_bytes())
    picture(folder / "photos/a.jpg")
    picture(folder / "photos/b.png")
    picture(folder / "photos/plain.tif")
    picture(folder / "photos/placed.tif")
    picture(folder / "photos/placed_too.jpg")
    for name in ("placed.tfw", "placed_too.jgw"):
        (folder / "photos" / name).write_text(WORLD)
    (folder / "notes.txt").write_text("nothing")
    (folder / ".hidden.tif").write_bytes((folder / "maps/ortho.tif").read_bytes())
    return folder


def test_rasters_say_where_they_lie_and_photos_are_all_other_pictures(mixed) -> None:
    rasters, photos = kinds(mixed)
    assert rasters == ["maps/cog.tif", "maps/old.img", "maps/ortho.tif", "maps/scene.jp2"]
    assert photos == [
        f"photos/{name}" for name in ("a.jpg", "b.png", "placed.tif", "placed_too.jpg", "plain.tif")
    ]


def test_gcps_and_rpc_make_rasters_of_tiffs(tmp_path) -> None:
    points = [GroundControlPoint(c, r, 9 + c / 9, 45 - r / 9) for c in (0, 4) for r in (0, 4)]
    shape = {"driver": "GTiff", "width": 4, "height": 4, "count": 1, "dtype": "uint8"}
    with rasterio.open(tmp_path / "g.tif", "w", gcps=points, crs="EPSG:4326", **shape) as file:
        file.write(np.zeros((1, 4, 4), np.uint8))
    assert is_raster(tmp_path / "g.tif")
    picture(tmp_path / "r.tif")
    assert not is_raster(tmp_path / "r.tif")
    assert not is_raster(tmp_path / "none.tif")
    (tmp_path / "broken.tif").write_bytes(b"II*\0 broken")
    assert not is_raster(tmp_path / "broken.tif")


@pytest.mark.parametrize("ending", [".jpg", ".png", ".tif", ".webp", ".bmp"])
def test_a_picture_too_large_to_be_held_is_a_raster(tmp_path, ending) -> None:
    path = picture(tmp_path / f"a{ending}", (20, 10))
    assert is_raster(path, 199)
    assert not is_raster(path, 200)


def test_patterns_limit_and_depth_are_for_both(mixed) -> None:
    assert kinds(mixed, patterns=["*.tif"]) == (
        ["maps/cog.tif", "maps/ortho.tif"],
        ["photos/placed.tif", "photos/plain.tif"],
    )
    assert kinds(mixed, limit=6)[1] == ["photos/a.jpg", "photos/b.png"]
    assert kinds(mixed, limit=2) == (["maps/cog.tif", "maps/old.img"], [])
    assert kinds(mixed, leave_out=[mixed / "maps"])[0] == []
    with pytest.raises(LayoutError, match="no photos and no rasters"):
        sort_folder(mixed, recursive=False)
    with pytest.raises(LayoutError, match=r"that match \*\.xyz"):
        sort_folder(mixed, patterns=["*.xyz"])
    with pytest.raises(ArgumentError, match="--limit 0"):
        sort_folder(mixed, limit=0)


def test_results_lie_in_the_same_tree_and_keep_apart(tmp_path) -> None:
    folder, output = tmp_path / "in", tmp_path / "out"
    tile(folder / "x/a.tif", 1)
    tile(folder / "x/a.img", 1, driver="HFA")
    tile(folder / "x/b.img", 1, driver="HFA")
    files = sort_folder(folder).rasters
    targets = [result_path(file, folder, output, ".tif") for file in files]
    names = [target.relative_to(output).as_posix() for target in targets]
    assert names == ["x/a.img.tif", "x/a.tif", "x/b.tif"]
    assert member_path("x/a_2", output, ".tif") == output / "x" / "a_2.tif"


def test_a_link_does_not_lead_results_out_of_the_output(tmp_path) -> None:
    output = tmp_path / "out"
    make_folder_for(output / "deep/er/a.tif", output)
    assert (output / "deep/er").is_dir()
    (output / "away").symlink_to(tmp_path)
    with pytest.raises(SinkError, match="leads out of"):
        make_folder_for(output / "away/a.tif", output)


def test_a_raster_behind_a_link_out_of_the_folder_is_listed_and_not_read(tmp_path) -> None:
    tile(tmp_path / "else/a.img", 1, driver="HFA")
    folder = tmp_path / "in"
    picture(folder / "b.jpg")
    (folder / "a.img").symlink_to(tmp_path / "else/a.img")
    (file,) = sort_folder(folder).rasters
    assert "leads out of its folder" in file.problem


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("photos/", "photos_translated"),
        ("index.gti.gpkg", "index_translated"),
        ("all.vrt", "all_translated"),
    ],
)
def test_the_default_folder_of_results_lies_beside_the_source(tmp_path, source, expected) -> None:
    if source.endswith("/"):
        (tmp_path / source).mkdir()
    assert default_output(tmp_path / source) == tmp_path / expected


def test_turned_rasters_are_rasters(tmp_path) -> None:
    turned = Affine(0.8, 0.6, 500_000, 0.6, -0.8, 5_000_000)
    assert is_raster(tile(tmp_path / "a.tif", 1, transform=turned))
