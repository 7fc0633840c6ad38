"""Which coordinate system footprints have, and that everything is closed."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from attachtrans.errors import SourceError
from attachtrans.stores.catalog import detect
from attachtrans.stores.folder import open_folder
from attachtrans.stores.photos import open_photos
from attachtrans.tool.place.open import layer_crs, open_finders, source_crs
from attachtrans.tool.place.options import Placing
from tests.stores.poses.photos import jpeg
from tests.tool import survey as surveys
from tests.tool.place import world


def test_the_layers_system(tmp_path):
    path = surveys.survey(tmp_path / "a.gpkg", epsg=25832)
    photos = open_photos(path, detect(path))
    assert source_crs(photos).to_epsg() == layer_crs(path, "shots").to_epsg() == 25832
    assert layer_crs(path, "nothing") is None
    photos.close()


def test_folders_have_none(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg())
    assert source_crs(open_folder(tmp_path)) is None
    assert source_crs(None) is None


def test_finders_are_closed_with_the_stack(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg())
    dem = world.write_dem(tmp_path / "dem.tif")
    with ExitStack() as stack:
        _, viewer = open_finders(Placing(dem=dem), open_folder(tmp_path), stack)
        assert viewer.notes == ()
    with pytest.raises(SourceError), ExitStack() as stack:
        open_finders(Placing(dem=tmp_path / "none.tif"), open_folder(tmp_path), stack)
