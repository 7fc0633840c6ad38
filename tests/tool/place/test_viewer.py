"""Views of poses: over level ground and elevation models of every kind, and what cannot be."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from PIL import Image
from pyproj import CRS, Transformer

from attachtrans.errors import CrsError, GeorefError, SourceError
from attachtrans.geo.camera import PerspectiveCamera
from attachtrans.geo.footprint import footprint
from attachtrans.geo.frame import convergence_deg
from attachtrans.geo.ground import EARTH_RADIUS_M, FlatGround
from attachtrans.geo.pose import Accuracy, North, Pose
from attachtrans.geo.rotation import pose_matrix
from attachtrans.stores.poses.exif import QFIELD_HEIGHT
from attachtrans.tool.place.options import Placing
from attachtrans.tool.place.viewer import Viewer
from attachtrans.types import Size
from tests.geo import scene
from tests.tool.place import world

SIZE = Size(160, 120)
LENS = PerspectiveCamera(
    SIZE,
    focal_px=(136.0, 136.0),
    centre_px=(79.5, 59.5),
    rotation=np.eye(3),
    position=np.zeros(3),
)
GROUND = scene.dem(scene.relief())
FOOT = scene.CENTRE + np.array([0.0, -40.0])


def pose(away=(0.0, -40.0), z=300.0, *, pitch=30.0, heading=20.0, crs=scene.UTM, **more):
    x, y = scene.CENTRE + away
    place = Transformer.from_crs(scene.UTM, crs, always_xy=True).transform(x, y)
    known = {"rough_height": False, "lens": LENS, "source": "a test", **more}
    return Pose(
        name="a.jpg",
        xyz=(*map(float, place), z),
        crs=crs,
        rotation=pose_matrix("hpr", (heading, pitch, 0.0)),
        north=North.TRUE,
        **known,
    )


def view(known, size=SIZE, **placing):
    viewer = Viewer(Placing(**placing))
    try:
        return viewer.view(known, size)
    finally:
        viewer.close()


@pytest.fixture(scope="module")
def dem(tmp_path_factory):
    return world.write_dem(tmp_path_factory.mktemp("dem") / "dem.tif", GROUND)


def hits(seen, crs=scene.UTM):
    """Where nine pixels lie, in UTM."""
    cols, rows = np.meshgrid([10.0, 80.0, 150.0], [10.0, 60.0, 110.0])
    points, _ = seen.view.look(np.stack([cols.ravel(), rows.ravel()]))
    move = Transformer.from_crs(seen.view.world.crs, crs, always_xy=True)
    return np.stack([*move.transform(*points[:2]), points[2]])


def test_an_elevation_model_in_the_poses_zone_is_met_exactly(dem):
    seen = view(pose(), dem=dem)
    turn = convergence_deg(scene.UTM, scene.CENTRE)
    eye = LENS.posed(pose_matrix("hpr", (20.0 - turn, 30.0, 0.0)), (*FOOT, 300.0))
    expected = hits(type(seen)(**{**_fields(seen), "view": scene.view(GROUND, eye)}))
    assert np.abs(hits(seen) - expected).max() < 1e-3
    assert seen.crs == seen.view.crs == scene.UTM
    assert "dem.tif" in seen.ground


def _fields(seen):
    return {name: getattr(seen, name) for name in seen.__dataclass_fields__}


FEET = "+proj=tmerc +lat_0=48 +lon_0=15 +k=1 +x_0=0 +y_0=0 +datum=WGS84 +units=us-ft"


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:32632", FEET])
def test_elevation_models_of_other_systems_are_the_same_ground(crs, dem, tmp_path):
    """GDAL warps the model finely; what the camera meets is the same to a part of a cell."""
    from rasterio.warp import Resampling, reproject, transform_bounds

    other = tmp_path / "other.tif"
    with rasterio.open(dem) as source:
        target = rasterio.CRS.from_user_input(crs)
        left, bottom, right, top = transform_bounds(source.crs, target, *source.bounds)
        width, height = 2 * source.width, 2 * source.height
        across, down = (right - left) / width, (bottom - top) / height
        grid = rasterio.Affine(across, 0.0, left, 0.0, down, top)
        profile = source.profile | {
            "crs": target,
            "transform": grid,
            "width": width,
            "height": height,
            "nodata": -9999.0,
        }
        with rasterio.open(other, "w", **profile) as file:
            reproject(
                rasterio.band(source, 1),
                rasterio.band(file, 1),
                resampling=Resampling.bilinear,
                dst_nodata=-9999.0,
            )
    expected, found = hits(view(pose(), dem=dem)), hits(view(pose(), dem=other))
    assert np.abs(found - expected).max() < 0.2 * scene.CELL_M


@pytest.mark.parametrize(("unit", "metres"), [("ft", 0.3048), ("us-ft", 1200 / 3937), ("m", 1.0)])
def test_models_in_feet(unit, metres, dem, tmp_path):
    feet = world.write_dem(tmp_path / "feet.tif", GROUND, factor=metres, unit=unit)
    assert np.abs(hits(view(pose(), dem=feet)) - hits(view(pose(), dem=dem))).max() < 1e-2


def test_a_rough_height_is_counted_from_the_model(dem):
    (under,) = GROUND.height(FOOT[:, None])
    drone = view(pose(z=377.0, rough_height=True, above_ground_m=90.0), dem=dem)
    assert drone.view.eye.position[2] == pytest.approx(under + 90.0, abs=1e-4)
    hand = view(pose(z=None, pitch=85.0), dem=dem)
    assert hand.view.eye.position[2] == pytest.approx(under + 1.8, abs=1e-4)
    assert "camera 1.8 m above the ground" in hand.pose.assumed
    assert hand.view.far_m == 50.0
    assert drone.view.far_m == pytest.approx(900.0, abs=0.1)


def test_beside_the_model_its_nearest_heights_stand_for_the_ground(dem):
    away = (-160.0, 0.0)  # 20 m west of the westernmost cells
    known = pose(away, z=377.0, heading=90.0, rough_height=True, above_ground_m=90.0)
    seen = view(known, dem=dem)
    assert any("ground under the camera as high as" in text for text in seen.pose.assumed)
    near = GROUND.array[:, :15]
    assert np.nanmin(near) <= seen.view.eye.position[2] - 90.0 <= np.nanmax(near)
    sound = view(pose(away, z=300.0, heading=90.0), dem=dem)
    assert sound.view.eye.position[2] == 300.0
    assert sound.pose.assumed == ()


def test_off_the_model(dem):
    with pytest.raises(GeorefError, match=r"dem\.tif has no heights within"):
        view(pose((90_000.0, 0.0)), dem=dem)
    with pytest.raises(GeorefError, match="stands where the elevation model has no heights"):
        view(pose((90_000.0, 0.0), z=None, pitch=85.0), dem=dem)


def test_far_is_the_users_the_sources_or_by_the_height(dem):
    assert view(pose(far_m=77.0), dem=dem).view.far_m == 77.0
    assert view(pose(far_m=77.0), dem=dem, far_m=66.0).view.far_m == 66.0
    (under,) = GROUND.height(FOOT[:, None])
    assert view(pose(), dem=dem).view.far_m == pytest.approx(10 * (300.0 - under), abs=1e-3)
    assert view(pose(), ground_m=200.0).view.far_m == 1000.0
    assert view(pose(z=4000.0), ground_m=0.0).view.far_m == 40_000.0
    high = view(pose(z=300_000.0), ground_m=0.0).view.far_m
    assert high == pytest.approx(np.sqrt(2 * EARTH_RADIUS_M * 300_000.0))


def test_far_does_not_depend_on_what_was_looked_at_before(dem):
    """Where the model does not reach the camera, it is by the height of what the photo shows."""
    known = pose((-260.0, 0.0), heading=90.0, pitch=60.0)
    alone = view(known, dem=dem).view.far_m
    viewer = Viewer(Placing(dem=dem))
    viewer.view(pose((100.0, 60.0)), SIZE)
    assert viewer.view(known, SIZE).view.far_m == alone
    viewer.close()
    assert 850.0 < alone < 1100.0


def test_near_is_the_users_or_the_sources(dem):
    assert view(pose(), dem=dem).near_m is None
    assert view(pose(near_m=9.0), dem=dem).near_m == 9.0
    assert view(pose(near_m=9.0), dem=dem, near_m=3.0).near_m == 3.0
    assert view(pose(near_m=9.0), dem=dem, far_m=8.0).near_m is None
    assert view(pose(near_m=-9.0), dem=dem).near_m is None
    with pytest.raises(GeorefError, match=r"a\.jpg: --near 30 leaves nothing.*up to 20 m"):
        view(pose(far_m=20.0), dem=dem, near_m=30.0)


def test_a_camera_under_the_surface_looks_from_where_it_comes_out(tmp_path):
    """In a street of a surface model: the eye stands 4 m below the crown of a tree."""
    heights = np.full((101, 101), 100.0, dtype=np.float32)
    heights[48:53, 48:53] = 106.0
    tree = scene.dem(heights, cell_m=1.0)
    street = world.write_dem(tmp_path / "street.tif", tree)
    known = pose((0.0, 0.0), z=102.0, pitch=90.0, heading=90.0)
    seen = view(known, dem=street)
    assert seen.view.skip_m == 5.0
    assert "camera 4.0 m under the surface of the elevation model" in seen.pose.assumed[-1]
    shape = footprint(seen.view, near_m=seen.near_m, far_m=seen.view.far_m)
    level = footprint(scene.view(FlatGround(100.0), seen.view.eye, far_m=50.0))
    alike = shape.geometry.intersection(level.geometry).area
    assert alike > 0.9 * level.geometry.area
    with pytest.raises(GeorefError, match=r"a\.jpg stands 4\.0 m under the surface.*--camera-hei"):
        view(pose((0.0, 0.0), z=102.0, pitch=20.0), dem=street)


def test_qfields_heights_are_compared_with_the_model(tmp_path):
    """The Dead Sea lies 430 m below the sea; most photos are taken above it."""
    shore = world.write_dem(tmp_path / "shore.tif", scene.dem(scene.relief(height=-430.0)))
    for path, z_m in ((shore, -380.0), (world.write_dem(tmp_path / "land.tif"), 380.0)):
        known = pose(z=380.0, pitch=40.0, rough_height=True, assumed=(QFIELD_HEIGHT,))
        assert view(known, dem=path).view.eye.position[2] == z_m


def test_heights_of_two_datums_are_related_or_refused(tmp_path):
    compound = world.write_dem(tmp_path / "egm.tif", GROUND, crs="EPSG:32633+3855")
    ellipsoid = CRS.from_epsg(4979)
    with pytest.raises(CrsError, match=r"PROJ cannot transform.*projsync|PROJ cannot transform"):
        view(pose(crs=ellipsoid), dem=compound)
    # What is counted from the ground has the ground's datum: nothing is to be transformed.
    rough = pose(crs=ellipsoid, rough_height=True, above_ground_m=90.0)
    viewer = Viewer(Placing(dem=compound))
    seen = viewer.view(rough, SIZE)
    assert viewer.notes == ()
    assert seen.datum.sub_crs_list[1].to_epsg() == 3855
    viewer.close()
    same = view(pose(crs=CRS.from_string("EPSG:32633+3855")), dem=compound)
    assert same.view.eye.position[2] == 300.0
    assert same.datum.sub_crs_list[1].to_epsg() == 3855


def test_where_a_datum_is_not_said_it_is_noted(dem):
    viewer = Viewer(Placing(dem=dem))
    seen = viewer.view(pose(), SIZE)
    assert "one vertical datum: neither says which" in viewer.notes[0]
    assert seen.datum == scene.UTM
    viewer.close()
    viewer = Viewer(Placing(dem=dem))
    viewer.view(pose(z=None, pitch=85.0), SIZE)
    assert viewer.notes == ()
    viewer.close()
    assert Viewer(Placing(ground_m=3.0)).notes == ()


@pytest.mark.parametrize(
    ("crs", "wanted"),
    [
        ("EPSG:4326", "EPSG:32633"),
        ("EPSG:3857", "EPSG:32633"),
        ("EPSG:4258", "EPSG:25833"),
        ("EPSG:32633", "EPSG:32633"),
        ("+proj=tmerc +lon_0=15 +ellps=GRS80 +units=us-ft", None),
    ],
)
def test_orthos_are_in_a_system_that_people_know(crs, wanted):
    own = CRS.from_user_input(crs)
    seen = view(pose(crs=own), ground_m=200.0)
    assert seen.crs == (own if wanted is None else CRS.from_user_input(wanted))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lens": None}, r"no focal length \(a test\): name the lens \(--camera\)"),
        ({"rotation": None, "lens": None}, "no direction and no focal length"),
        ({"xyz": None, "rotation": None}, "no position and no direction"),
        ({"crs": None}, "no coordinate system"),
        ({"xyz": (15.0, 50.0, 1e300)}, "1e.300 m is no height of a camera"),
        ({"xyz": (1e300, 50.0, 10.0), "crs": CRS.from_epsg(4326)}, "no longitude"),
        ({"xyz": (15.0, 95.0, 10.0), "crs": CRS.from_epsg(4326)}, "a.jpg: 95 is no latitude"),
        ({"xyz": (1e300, 50.0, 300.0)}, r"\(1e.300, 50\) is no place in WGS 84 / UTM"),
        ({"xyz": (5e5, 1e300, 300.0)}, "is no place in"),
        ({"accuracy": Accuracy(), "xyz": (0.0, 0.0, -1e9)}, "no height of a camera"),
    ],
)
def test_what_lacks_is_named(change, words):
    from dataclasses import replace

    with pytest.raises(GeorefError, match=words):
        view(replace(pose(), **change), ground_m=200.0)


def test_a_model_that_cannot_be_read_any_more_fails_photo_by_photo(tmp_path):
    path = world.write_dem(tmp_path / "dem.tif", GROUND)
    viewer = Viewer(Placing(dem=path))
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(GeorefError, match=r"a\.jpg: "):
        viewer.view(pose(), SIZE)
    viewer.close()


def test_what_is_no_model_stops_the_run(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"no raster")
    with pytest.raises(SourceError, match="cannot be opened as a raster"):
        Viewer(Placing(dem=tmp_path / "a.tif"))
    Image.new("L", (4, 4)).save(tmp_path / "b.tif")
    with pytest.raises(CrsError, match="does not say where it lies"):
        Viewer(Placing(dem=tmp_path / "b.tif"))
