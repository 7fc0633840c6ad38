"""What a job reads: which kind of source a path is, and which options go with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from attachtrans.errors import ArgumentError, LayoutError, SourceError
from attachtrans.stores.folder import FolderPhotos
from attachtrans.stores.photos import Photos
from attachtrans.tool.sources import Choice, is_geopackage, open_source
from tests.stores.appending import append

from .survey import picture, survey


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "photos"
    for key in ("a.jpg", "DCIM/b.JPG", "DCIM/c.png"):
        (path / key).parent.mkdir(parents=True, exist_ok=True)
        (path / key).write_bytes(picture(1, kind="PNG" if key.endswith("png") else "JPEG"))
    return path


def keys(path: Path, choice: Choice, **results: tuple[Path, str | None]) -> list[str]:
    photos, _ = open_source(path, choice, **results)
    try:
        return [item.key for item in photos]
    finally:
        photos.close()


def test_what_a_path_is(folder: Path, tmp_path: Path) -> None:
    gpkg = survey(tmp_path / "IN.GPKG")
    named = folder.rename(tmp_path / "folder.gpkg")
    assert is_geopackage(gpkg)
    assert not is_geopackage(named)
    for path, kind in ((gpkg, Photos), (named, FolderPhotos), (named / "a.jpg", FolderPhotos)):
        photos, tables = open_source(path, Choice())
        assert isinstance(photos, kind)
        assert bool(tables) == (kind is Photos)
        photos.close()


def test_files_of_a_folder_are_chosen(folder: Path) -> None:
    assert keys(folder, Choice()) == ["DCIM/b.JPG", "DCIM/c.png", "a.jpg"]
    assert keys(folder, Choice(patterns=("*.JPG",))) == ["DCIM/b.JPG", "a.jpg"]
    assert keys(folder, Choice(patterns=("DCIM/*",), limit=1)) == ["DCIM/b.JPG"]
    assert keys(folder / "a.jpg", Choice()) == ["a.jpg"]


@pytest.mark.parametrize(
    ("choice", "flag"),
    [
        (Choice(layout="attach"), "--layout"),
        (Choice(layer="trees"), "--layer"),
        (Choice(photo_column="x"), "--photo-column"),
        (Choice(base=Path()), "--base"),
        (Choice(remap=(("a", "b"),)), "--remap"),
        (Choice(where="1"), "--where"),
        (Choice(bbox=(0, 0, 1, 1)), "--bbox"),
    ],
)
def test_options_of_feature_classes_do_not_go_with_files(
    choice: Choice, flag: str, folder: Path
) -> None:
    for path in (folder, folder / "a.jpg"):
        with pytest.raises(ArgumentError, match=f"^{flag} concerns feature classes"):
            open_source(path, choice)


def test_patterns_do_not_go_with_a_geopackage(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="--pattern concerns folders"):
        open_source(survey(tmp_path / "in.gpkg"), Choice(patterns=("*.jpg",)))


def test_a_choice_of_features(tmp_path: Path) -> None:
    gpkg = survey(tmp_path / "in.gpkg", (0.0,) * 3)
    assert keys(gpkg, Choice(where="fid > 1", limit=1)) == ["shots__ATTACH.DATA/2"]
    with pytest.raises(LayoutError, match="no photos found"):
        open_source(gpkg, Choice(layout="path"))


def test_own_results_in_the_same_file_are_left_out(tmp_path: Path) -> None:
    gpkg = survey(tmp_path / "in.gpkg", (0.0,) * 2)
    append(gpkg, gpkg, to="sharp")
    assert len(keys(gpkg, Choice())) == 4
    assert len(keys(gpkg, Choice(), results=(gpkg, "sharp"))) == 2
    assert len(keys(gpkg, Choice(), results=(tmp_path / "other.gpkg", None))) == 4


@pytest.mark.parametrize("name", ["none.gpkg", "none", "empty"])
def test_what_is_not_there_or_holds_nothing(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=name):
        open_source(tmp_path / name, Choice())


@pytest.mark.parametrize("name", ["a.gdb", "b.geodatabase"])
def test_geodatabases_are_no_folders_and_no_photos(name: str, tmp_path: Path) -> None:
    if name.endswith(".gdb"):
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_bytes(b"something")
    with pytest.raises(SourceError, match=r"a\.gdb: cannot be read|not an SQLite file"):
        open_source(tmp_path / name, Choice())
