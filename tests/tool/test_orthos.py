"""Orthos of photos: what they show, however photos are stored, and what may go wrong with some."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import rasterio
from PIL import Image, ImageOps

from attachtrans.errors import ArgumentError, LayoutError
from attachtrans.tool.orthos import plan_orthos
from attachtrans.tool.place.options import Placing
from attachtrans.tool.sources import Choice
from tests.stores.poses.photos import gps, jpeg, packet
from tests.tool.place import world


def read(path):
    with rasterio.open(path) as file:
        return file.read(), file.transform, file.crs


def status(run):
    return {one.key: one.status for one in run}


@pytest.fixture
def survey(tmp_path):
    return world.survey(tmp_path)


def off_pattern(path, spare=2):
    """Grey levels by which an ortho misses the pattern of the ground, edges left out."""
    array, grid, _ = read(path)
    shown = array[-1] > 0
    for axis in (0, 1):
        for step in (-spare, spare):
            shown &= np.roll(shown, step, axis)
    rows, cols = np.nonzero(shown)
    places = np.stack([grid.c + (cols + 0.5) * grid.a, grid.f + (rows + 0.5) * grid.e])
    return array[0][shown] - world.pattern(places), shown.mean()


def test_each_photo_and_all_in_one(survey, tmp_path):
    photos, placing, _ = survey
    out, mosaic = tmp_path / "out", tmp_path / "all.tif"
    placing |= {"resolution": 0.5, "cameras": tmp_path / "cameras"}
    run = plan_orthos(photos, out, mosaic=mosaic, placing=Placing(**placing))
    assert status(run) == {"0.png": "written", "1.png": "written"}
    for path in (out / "0.tif", out / "1.tif", mosaic):
        off, shown = off_pattern(path)
        assert shown > 0.3
        assert np.abs(np.median(off)) < 0.5
        assert np.percentile(np.abs(off), 95) < 8.0
        assert read(path)[2].to_epsg() == 32633
    assert sorted(path.name for path in (tmp_path / "cameras").iterdir()) == [
        "0.png.camera.json",
        "1.png.camera.json",
    ]
    assert any("2 photos in one raster" in note for note in run.notes)


@pytest.mark.slow
def test_threads_change_nothing(tmp_path):
    """Files byte for byte, outcomes, notes and their order; failures among them."""
    photos, placing, _ = world.survey(tmp_path, 5)
    for number in (1, 3):  # they lack poses
        (photos / f"{number}.png").rename(photos / f"{number}x.png")
    wish = Placing(**placing, resolution=1.0, occlusion=True)
    told = []
    for hands in (1, 4):
        out = tmp_path / str(hands)
        out.mkdir()
        run = plan_orthos(photos, out / "each", mosaic=out / "all.tif", placing=wish)
        run.hands = hands
        told.append(([one.to_dict() for one in run], run.notes))
    assert told[0] == told[1]
    assert [one["status"] for one in told[0][0]].count("failed") == 2
    serial, threaded = (
        {path.relative_to(tmp_path / hands): path for path in (tmp_path / hands).rglob("*.tif")}
        for hands in "14"
    )
    assert len(serial) == 4
    assert {name: path.read_bytes() for name, path in serial.items()} == {
        name: path.read_bytes() for name, path in threaded.items()
    }


def test_the_cameras_that_it_writes_place_the_same_photos(survey, tmp_path):
    """Of translated photos, twice as large, the ortho is the same, by the cameras alone."""
    photos, placing, _ = survey
    wish = placing | {"resolution": 1.0, "cameras": tmp_path / "cameras"}
    list(plan_orthos(photos, tmp_path / "a", placing=Placing(**wish)))
    large = tmp_path / "large"
    large.mkdir()
    for path in photos.iterdir():
        with Image.open(path) as picture:
            picture.resize((320, 240), Image.Resampling.NEAREST).save(large / path.name)
    by_cameras = Placing(poses=tmp_path / "cameras", dem=placing["dem"], resolution=1.0)
    list(plan_orthos(large, tmp_path / "b", placing=by_cameras))
    (one, grid, _), (two, other, _) = (read(tmp_path / name / "0.tif") for name in "ab")
    assert grid == other
    assert one.shape == two.shape
    both = (one[3] > 0) & (two[3] > 0)
    assert (one[3] != two[3]).mean() < 0.01
    assert np.percentile(np.abs(one[0].astype(int) - two[0])[both], 95) <= 6


@pytest.mark.slow
def test_however_a_photo_is_stored(tmp_path):
    """A compass speaks of the picture that is looked at."""
    photos, placing, views = world.survey(tmp_path, 1)
    upright = world.picture(views[0])
    placing.pop("camera")
    table = placing["poses"]
    head, line = table.read_text().splitlines()
    fov = float(np.degrees(2 * np.arctan(0.5 * 160 / 136)))
    table.write_text(f"{head},hfov\n{line},{fov!r}\n")
    columns = {"heading": "heading", "pitch": "pitch", "roll": "roll", "hfov": "hfov"}
    columns |= {"x": "x", "y": "y", "altitude": "z", "name": "name"}
    wish = Placing(**placing, columns=columns, resolution=1.0)
    assert status(plan_orthos(photos, tmp_path / "1", placing=wish)) == {"0.png": "written"}
    expected, grid, _ = read(tmp_path / "1" / "0.tif")
    for orientation in range(2, 9):
        path = world.save(photos / "0.png", upright, orientation)
        with Image.open(path) as picture:  # Pillow agrees that this is how it is stored
            assert np.array_equal(np.asarray(ImageOps.exif_transpose(picture)), upright)
        out = tmp_path / str(orientation)
        assert status(plan_orthos(photos, out, placing=wish)) == {"0.png": "written"}
        found, other, _ = read(out / "0.tif")
        assert grid == other
        assert (expected[3] != found[3]).mean() < 0.002
        both = (expected[3] > 0) & (found[3] > 0)
        assert np.abs(expected[0].astype(int) - found[0])[both].max() <= 2


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_camera_of_image_matching_speaks_of_stored_pixels(orientation, tmp_path):
    """However the tag tells viewers to turn the picture."""
    photos, placing, views = world.survey(tmp_path, 1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(world.picture(views[0])).save(photos / "0.png", exif=exif.tobytes())
    omega_phi_kappa(placing["poses"], views)
    list(plan_orthos(photos, tmp_path / "a", placing=Placing(**placing, resolution=0.5)))
    off, _ = off_pattern(tmp_path / "a" / "0.tif")
    assert np.percentile(np.abs(off), 95) < 8.0


def omega_phi_kappa(path, views):
    """The table anew, by omega, phi and kappa in the axes of the grid."""
    from attachtrans.geo.rotation import pose_angles

    rows = ["name,x,y,z,omega,phi,kappa"]
    for number, view in enumerate(views):
        angles = pose_angles("opk", view.eye.rotation)
        place = [repr(float(value)) for value in view.eye.position]
        rows.append(",".join([f"{number}.png", *place, *map(repr, map(float, angles))]))
    path.write_text("\n".join(rows))


def test_photos_that_fail_or_are_damaged_do_so_alone(survey, tmp_path):
    photos, placing, views = survey
    whole = (photos / "1.png").read_bytes()
    (photos / "1.png").write_bytes(whole[: len(whole) // 2])
    table = placing["poses"]
    head, first, second = table.read_text().splitlines()
    third = first.replace("0.png", "2.png")
    grey, deep = (first.replace("0.png", f"{name}.png") for name in "34")
    table.write_text(f"{head}\n{first}\n{second}\n{third}\n{grey}\n{deep}")
    (photos / "2.png").write_bytes((photos / "0.png").read_bytes())
    world.save(photos / "3.png", world.picture(views[0])[..., 0])
    Image.fromarray(world.picture(views[0])[..., 0].astype(np.uint16) * 256).save(photos / "4.png")
    (photos / "5.png").write_bytes((photos / "0.png").read_bytes())
    wish = Placing(**placing, resolution=2.0)
    run = plan_orthos(photos, tmp_path / "a", mosaic=tmp_path / "all.tif", placing=wish)
    found = {one.key: one for one in run}
    assert {key: one.status for key, one in found.items()} == {
        "0.png": "written",
        "1.png": "skipped",
        "2.png": "written",
        "3.png": "failed",
        "4.png": "failed",
        "5.png": "failed",
    }
    assert "1 bands of uint8, and the mosaic 3 of uint8" in found["3.png"].reason
    assert "1 bands of uint16" in found["4.png"].reason
    assert "no position and no direction" in found["5.png"].reason
    assert any("2 photos in one raster" in note for note in run.notes)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "0.tif",
        "2.tif",
        "3.tif",
        "4.tif",
    ]


def test_a_broken_photo_that_only_a_mosaic_would_decode(survey, tmp_path):
    photos, placing, _ = survey
    whole = (photos / "1.png").read_bytes()
    (photos / "1.png").write_bytes(whole[: len(whole) // 2])
    run = plan_orthos(photos, mosaic=tmp_path / "all.tif", placing=Placing(**placing))
    assert status(run) == {"0.png": "written", "1.png": "skipped"}
    assert (tmp_path / "all.tif").exists()


def test_photos_that_differ_by_their_endings_have_orthos_of_their_own(survey, tmp_path):
    photos, placing, _ = survey
    with Image.open(photos / "0.png") as picture:
        picture.save(photos / "0.jpg", quality=95)
    table = placing["poses"]
    table.write_text(table.read_text().replace("0.png", "0"))
    list(plan_orthos(photos, tmp_path / "a", placing=Placing(**placing, resolution=2.0)))
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "0.jpg.tif",
        "0.png.tif",
        "1.tif",
    ]


def test_nothing_is_written_on_a_dry_run(survey, tmp_path):
    photos, placing, _ = survey
    wish = Placing(**placing, resolution=1.0)
    out, mosaic = tmp_path / "a", tmp_path / "all.tif"
    run = plan_orthos(photos, out, mosaic=mosaic, placing=wish, dry_run=True)
    assert set(status(run).values()) == {"planned"}
    assert not out.exists()
    assert not mosaic.exists()
    (planned,) = (note for note in run.notes if "in one raster" in note)
    real = plan_orthos(photos, mosaic=mosaic, placing=wish)
    list(real)
    assert planned in real.notes


def test_an_interrupted_run_leaves_whole_files_only(survey, tmp_path, monkeypatch):
    from attachtrans.geo.rectify import Rectifier

    photos, placing, views = survey
    wish = Placing(**placing, resolution=0.5)
    original = Rectifier.window

    def interrupted(self, window, read):
        if np.allclose(self.georef.eye.position, views[1].eye.position, atol=1e-3):
            raise KeyboardInterrupt
        return original(self, window, read)

    monkeypatch.setattr(Rectifier, "window", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(plan_orthos(photos, tmp_path / "a", placing=wish))
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["0.tif"]
    assert off_pattern(tmp_path / "a" / "0.tif")[1] > 0.3


def panorama(tmp_path, crop=None):
    """An equirectangular photo whose columns are bearings: as bright as the column is far right."""
    width, height = 720, 360
    bearings = np.linspace(0, 255, width, endpoint=False).astype(np.uint8)
    picture = np.repeat(np.broadcast_to(bearings, (height, width))[..., None], 3, axis=2)
    attributes = {
        "GPano:ProjectionType": "equirectangular",
        "GPano:PoseHeadingDegrees": "90",
        "GPano:FullPanoWidthPixels": width,
        "GPano:FullPanoHeightPixels": height,
    }
    if crop is not None:
        picture = picture[:, slice(*crop)]
        attributes |= {
            "GPano:CroppedAreaLeftPixels": crop[0],
            "GPano:CroppedAreaTopPixels": 0,
            "GPano:CroppedAreaImageWidthPixels": crop[1] - crop[0],
            "GPano:CroppedAreaImageHeightPixels": height,
        }
    buffer = BytesIO()
    exif = Image.Exif()
    exif.get_ifd(0x8825).update(gps(15.0, 50.0, 100.0))
    Image.fromarray(np.ascontiguousarray(picture)).save(
        buffer, "JPEG", quality=98, exif=exif.tobytes(), xmp=packet(attributes)
    )
    (tmp_path / "pano.jpg").write_bytes(buffer.getvalue())
    return tmp_path / "pano.jpg"


@pytest.mark.parametrize("crop", [None, (180, 540)])
def test_panoramas_show_the_ground_all_around(crop, tmp_path):
    """Whole ones everywhere, cropped ones to their sides; the middle column looks east."""
    photo = panorama(tmp_path, crop)
    wish = Placing(resolution=0.05, far_m=10.0, height_m=2.0, crs="EPSG:32633")
    list(plan_orthos(photo, tmp_path / "a", placing=wish))
    array, grid, _ = read(tmp_path / "a" / "pano.tif")
    from pyproj import Transformer

    x, y = Transformer.from_crs(4326, 32633, always_xy=True).transform(15.0, 50.0)
    for east, north, brightness in ((5, 0, 127.5), (0, 5, 63.75), (0, -5, 191.25), (-5, 1, 7.0)):
        col, row = int((x + east - grid.c) / 0.05), int((grid.f - y - north) / 0.05)
        inside = 0 <= col < array.shape[2] and 0 <= row < array.shape[1]
        if crop is not None and east < 0:
            assert not inside or array[3, row, col] == 0
        elif east != 0 or crop is None:
            assert array[3, row, col] == 255
            assert array[0, row, col] == pytest.approx(brightness, abs=3)


def test_a_street_photo_ends_where_it_is_of_no_use(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg((640, 480), gps=gps(15.0, 50.0, 200.0, direction=90)))
    list(plan_orthos(tmp_path / "a.jpg", tmp_path / "o", placing=Placing(resolution=0.1)))
    array, grid, crs = read(tmp_path / "o" / "a.tif")
    assert crs.to_epsg() == 32633
    assert array.shape[2] * grid.a < 50.5
    list(
        plan_orthos(tmp_path / "a.jpg", tmp_path / "p", placing=Placing(resolution=0.1, far_m=9.0))
    )
    assert read(tmp_path / "p" / "a.tif")[0].shape[2] * 0.1 < 9.5


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, ArgumentError, "say where orthos go"),
        ({"mosaic": "all.jpg"}, ArgumentError, "name a GeoTIFF"),
        ({"mosaic": "none/all.tif"}, ArgumentError, "there is no folder"),
        ({"folder": "o", "placing": Placing(crs="nonsense")}, ArgumentError, "--crs: the coord"),
        ({"folder": "o", "choice": Choice(limit=0)}, ArgumentError, "--limit 0"),
        ({"folder": "o", "choice": Choice(where="a")}, ArgumentError, "--where concerns feature"),
    ],
)
def test_what_cannot_be_asked(arguments, error, words, survey, tmp_path):
    photos, _, _ = survey
    for name in ("mosaic", "folder"):
        if name in arguments:
            arguments = arguments | {name: tmp_path / arguments[name]}
    with pytest.raises(error, match=words):
        plan_orthos(photos, **arguments)


def test_a_table_is_no_photo(survey, tmp_path):
    _, placing, _ = survey
    with pytest.raises(LayoutError, match=r"poses\.csv: is no photo"):
        plan_orthos(placing["poses"], tmp_path / "a")


@pytest.mark.slow
def test_real_drone_frames_in_one_raster(shared, tmp_path):
    """Where two frames overlap, the ground is the same: their orthos agree."""
    data = shared / "data/geo/orthority/tests/data/odm"
    placing = Placing(
        poses=data / "opensfm/reconstruction.json",
        dem=data / "odm_dem/dsm.tif",
        occlusion=True,
        resolution=0.5,
    )
    run = plan_orthos(data / "images", tmp_path / "o", mosaic=tmp_path / "m.tif", placing=placing)
    assert set(status(run).values()) == {"written"}
    frames = [read(path) for path in sorted((tmp_path / "o").iterdir())]
    whole, grid, crs = read(tmp_path / "m.tif")
    assert crs.to_epsg() == 32651
    placed = []
    for array, own, _ in frames:
        col, row = round((own.c - grid.c) / 0.5), round((grid.f - own.f) / 0.5)
        canvas = np.zeros_like(whole)
        canvas[:, row : row + array.shape[1], col : col + array.shape[2]] = array
        placed.append(canvas)
    both = (placed[0][3] > 0) & (placed[1][3] > 0)
    assert both.sum() > 5000
    one, two = (canvas[:3, both].mean(axis=0) for canvas in placed)
    assert np.corrcoef(one, two)[0, 1] > 0.75
    shown = whole[3] > 0
    assert (shown != (placed[0][3] > 0) | (placed[1][3] > 0)).mean() < 1e-4
    same = [np.abs(whole[:3].astype(int) - canvas[:3]).max(axis=0) <= 8 for canvas in placed]
    assert (same[0] | same[1])[shown].mean() > 0.99
