from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attachtrans.errors import ArgumentError, ImageError
from attachtrans.geo.mosaic import NO_FRAME, Frame, Mosaic
from attachtrans.geo.rectify import rectify
from attachtrans.geo.view import Grid
from attachtrans.types import Window
from tests.geo import scene

GRID = Grid(
    (1.0, 0.0, scene.CENTRE[0] - 110.0, 0.0, -1.0, scene.CENTRE[1] + 90.0), (220, 180), scene.UTM
)
ALL = Window(col=0, row=0, width=220, height=180)
PLACES = [(-40.0, -30.0, 330.0), (45.0, 10.0, 310.0), (0.0, 60.0, 380.0)]
GROUND = scene.dem(scene.relief(walls=12.0))
VIEWS = [
    scene.view(GROUND, scene.camera((200, 150), away=away, pitch=pitch, heading=heading))
    for away, pitch, heading in zip(PLACES, (5.0, 20.0, 0.0), (10.0, 250.0, 100.0), strict=True)
]


def photos(dtype=np.uint8):
    return [np.full((2, 150, 200), 50 * (number + 1), dtype=dtype) for number in range(len(VIEWS))]


def frames(images=None):
    return [
        Frame(view, lambda window, image=image: image[:, *window.slices])
        for view, image in zip(VIEWS, images or photos(), strict=True)
    ]


def centres():
    cols, rows = np.meshgrid(np.arange(220) + 0.5, np.arange(180) + 0.5)
    return GRID.pixel_to_map(np.stack([cols.ravel(), rows.ravel()]))


def masks(**options):
    return np.stack(
        [rectify(np.ones((1, 150, 200), np.uint8), view, GRID, **options)[1] > 0 for view in VIEWS]
    )


@pytest.mark.parametrize("occlusion", [False, True])
def test_each_pixel_is_from_the_nearest_camera_that_shows_it(occlusion):
    mosaic = Mosaic(frames=frames(), grid=GRID, occlusion=occlusion)
    values, mask, index = mosaic.window(ALL)
    seen = masks(occlusion=occlusion)
    surface = GROUND.surface
    level = 0.5 * (surface.lowest + surface.highest)
    points = np.stack([*centres(), np.full(220 * 180, level)])
    away = np.stack(
        [np.linalg.norm(points - view.eye.position[:, None], axis=0) for view in VIEWS]
    ).reshape(seen.shape)
    away[~seen] = np.inf
    assert np.array_equal(mask > 0, seen.any(axis=0))
    expected = np.where(seen.any(axis=0), away.argmin(axis=0), NO_FRAME)
    assert (index == expected).mean() > 0.999
    assert set(np.unique(index)) == {NO_FRAME, 0, 1, 2}
    assert np.array_equal(values[0], np.where(mask > 0, 50 * (index + 1), 0))


def test_sharpest_takes_the_image_with_most_pixels_there():
    mosaic = Mosaic(frames=frames(), grid=GRID, seam="sharpest")
    _, _, index = mosaic.window(ALL)
    seen = masks()
    surface = GROUND.surface
    level = 0.5 * (surface.lowest + surface.highest)
    cover = []
    for view in VIEWS:
        moved = [
            view.see(np.stack([*(centres() + np.array(step)[:, None]), np.full(220 * 180, level)]))
            for step in ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5))
        ]
        across, down = moved[1] - moved[0], moved[2] - moved[0]
        cover.append(np.abs(across[0] * down[1] - across[1] * down[0]))
    cover = np.where(seen, np.nan_to_num(np.stack(cover)).reshape(seen.shape), -1.0)
    expected = np.where(seen.any(axis=0), cover.argmax(axis=0), NO_FRAME)
    assert (index == expected).mean() > 0.98


def test_a_place_that_one_image_hides_is_filled_from_another():
    alone = Mosaic(frames=frames()[1:2], grid=GRID, occlusion=True).window(ALL)[1]
    _, mask, index = Mosaic(frames=frames(), grid=GRID, occlusion=True).window(ALL)
    hidden = masks()[1] & (alone == 0)
    assert hidden.any()
    assert (mask[hidden & masks(occlusion=True)[0]] > 0).all()
    assert not (index[hidden] == 1).any()


WHOLE = Mosaic(frames=frames(), grid=GRID, occlusion=True).window(ALL)


@pytest.mark.slow
@settings(max_examples=10)
@given(
    col=st.integers(0, 218),
    row=st.integers(0, 178),
    width=st.integers(1, 120),
    height=st.integers(1, 120),
)
def test_windows_are_parts_of_the_whole(col, row, width, height):
    window = Window(col=col, row=row, width=min(width, 220 - col), height=min(height, 180 - row))
    found = Mosaic(frames=frames(), grid=GRID, occlusion=True).window(window)
    for part, whole in zip(found, WHOLE, strict=True):
        assert np.array_equal(part, whole[..., *window.slices])


def test_the_order_of_the_images_does_not_matter():
    backwards = Mosaic(frames=frames()[::-1], grid=GRID, occlusion=True).window(ALL)
    assert np.array_equal(backwards[0], WHOLE[0])
    assert np.array_equal(backwards[2], np.where(WHOLE[2] == NO_FRAME, NO_FRAME, 2 - WHOLE[2]))


def test_of_equal_images_the_first_is_taken():
    _, _, index = Mosaic(frames=[frames()[0]] * 2, grid=GRID).window(ALL)
    assert set(np.unique(index)) == {NO_FRAME, 0}


def test_one_image_is_its_ortho():
    image = np.random.default_rng(1).integers(0, 255, (2, 150, 200), dtype=np.uint8)
    mosaic = Mosaic(frames=[Frame(VIEWS[0], lambda window: image[:, *window.slices])], grid=GRID)
    ortho = rectify(image, VIEWS[0], GRID, interpolation="cubic", antialias=True)
    for part, whole in zip(mosaic.window(ALL)[:2], ortho, strict=True):
        assert np.array_equal(part, whole)


def test_pixels_without_value_are_left_to_the_others():
    images = photos()
    images[0][:, 60:, :] = 9
    values, mask, index = Mosaic(frames=frames(images), grid=GRID, nodata=9).window(ALL)
    assert set(np.unique(values[:, mask == 0])) == {9}
    assert set(np.unique(values[:, mask > 0])) == {50, 100, 150}
    full = Mosaic(frames=frames(), grid=GRID).window(ALL)[2]
    assert (index == 0).sum() < (full == 0).sum()


def test_nothing_in_view_is_an_empty_raster_of_the_type():
    far = Grid((1.0, 0.0, 0.0, 0.0, -1.0, 0.0), (70, 60), scene.UTM)
    values, mask, index = Mosaic(frames=frames(photos(np.uint16)), grid=far).window(
        Window(col=3, row=4, width=50, height=40)
    )
    assert (values.shape, values.dtype) == ((2, 40, 50), np.uint16)
    assert not values.any()
    assert not mask.any()
    assert (index == NO_FRAME).all()


def test_errors_say_what_is_wrong():
    with pytest.raises(ArgumentError, match="none is given"):
        Mosaic(frames=[], grid=GRID)
    with pytest.raises(ArgumentError, match="nearest, sharpest"):
        Mosaic(frames=frames(), grid=GRID, seam="best")
    with pytest.raises(ArgumentError, match="Grid has no camera"):
        Mosaic(frames=[Frame(GRID, frames()[0].read)], grid=GRID)
    mixed = [photos()[0], photos(np.uint16)[1], photos()[2]]
    with pytest.raises(ImageError, match="bands"):
        Mosaic(frames=frames(mixed), grid=GRID).window(ALL)
