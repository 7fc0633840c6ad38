"""The map that is drawn of footprints."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from attachtrans.errors import ArgumentError, GeorefError
from attachtrans.geo.footprint import footprint
from attachtrans.geo.ground import DemGround
from attachtrans.preview import draw_footprints
from tests.geo.footprint.scenes import flat, panorama, pinhole

VIEWS = {
    "low": flat(pinhole((0.0, 80.0, 0.0), height=20.0)),
    "all around": flat(panorama()),
}
FOOTPRINTS = {name: footprint(view) for name, view in VIEWS.items()}


def pixels(path):
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def is_drawn(path):
    """More than a frame on white: tinted areas."""
    return np.unique(pixels(path).astype(np.int32) @ (1 << 16, 1 << 8, 1)).size > 50


@pytest.fixture
def matplotlib():
    return pytest.importorskip("matplotlib")


@pytest.mark.usefixtures("matplotlib")
def test_it_is_a_png_with_outlines_cameras_and_names(tmp_path):
    bare, full = tmp_path / "bare.png", tmp_path / "full.png"
    draw_footprints(FOOTPRINTS, bare)
    draw_footprints(FOOTPRINTS, full, cameras=VIEWS)
    assert is_drawn(bare)
    assert (pixels(bare) != pixels(full)).any()


@pytest.mark.slow
@pytest.mark.usefixtures("matplotlib")
@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:2154"])
def test_any_coordinate_system_becomes_a_map_in_metres(tmp_path, crs):
    made = {name: one.to_crs(crs) for name, one in FOOTPRINTS.items()}
    draw_footprints(made, tmp_path / "map.png", cameras=VIEWS)
    assert is_drawn(tmp_path / "map.png")


@pytest.mark.slow
@pytest.mark.usefixtures("matplotlib")
def test_the_ground_lies_under_it(tmp_path):
    """A slope to the north-west is light, one to the south-east is dark."""
    asked = []

    def slope(way):
        def relief(crs, middle, reach_m):
            asked.append((crs, reach_m))
            heights = way * np.add.outer(np.arange(200.0), np.arange(200.0))
            heights[:50] = np.nan
            return DemGround(heights, (5.0, 0.0, middle[0] - 500, 0.0, -5.0, middle[1] + 500))

        return relief

    shades = []
    for way in (0.5, -0.5):
        draw_footprints(FOOTPRINTS, tmp_path / "map.png", relief=slope(way))
        shades.append(pixels(tmp_path / "map.png").mean())
    assert shades[0] > shades[1] + 10
    assert asked[0][0].to_epsg() == 32633
    assert asked[0][1] > 100

    def nothing(crs, middle, reach_m):
        raise GeorefError("no heights")

    draw_footprints(FOOTPRINTS, tmp_path / "none.png", relief=nothing)
    draw_footprints(FOOTPRINTS, tmp_path / "bare.png")
    assert np.array_equal(pixels(tmp_path / "none.png"), pixels(tmp_path / "bare.png"))


def test_without_matplotlib_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ArgumentError, match=r"pip install 'attachtrans\[preview\]'"):
        draw_footprints(FOOTPRINTS, tmp_path / "map.png")


def test_nothing_is_not_drawn(tmp_path):
    with pytest.raises(ArgumentError, match="no footprints"):
        draw_footprints({}, tmp_path / "map.png")
