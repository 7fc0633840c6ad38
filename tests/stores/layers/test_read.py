"""Which sources are layer files, and how their layers are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from attachtrans.errors import SourceError
from attachtrans.stores.layers import list_layers, recognise, split_layer_name


@pytest.mark.parametrize(
    ("source", "path", "layer"),
    [
        ("a.qgs", "a.qgs", None),
        ("d/a.QGZ:Trees 2026", "d/a.QGZ", "Trees 2026"),
        ("a.qgs:b.qgs:c", "a.qgs", "b.qgs:c"),
        ("C:/d/a.lyrx:x", "C:/d/a.lyrx", "x"),
        ("a.gpkg:trees", "a.gpkg:trees", None),
        ("a.lyrx.txt", "a.lyrx.txt", None),
    ],
)
def test_a_layer_may_be_named_behind_a_colon(source: str, path: str, layer: str | None) -> None:
    assert split_layer_name(source) == (Path(path), layer)
    assert recognise(source) == (Path(path).suffix.lower() in {".qgs", ".qgz", ".lyrx"})


def test_a_file_of_that_name_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "a.qgs:b").touch()
    assert split_layer_name(tmp_path / "a.qgs:b") == (tmp_path / "a.qgs:b", None)


def test_a_folder_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.qgs").mkdir()
    assert not recognise(tmp_path / "a.qgs")


@pytest.mark.parametrize("ending", [".lyr", ".lpk", ".lpkx", ".mxd"])
def test_other_layer_files_are_refused_with_a_way_out(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(b"\xd0\xcf\x11\xe0")
    assert recognise(path)
    with pytest.raises(SourceError, match=r"save the layer as a layer file \(\.lyrx\)"):
        list_layers(path)


def test_what_is_no_layer_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"is no layer file; their endings are \.qlr, \.qgs"):
        list_layers(tmp_path / "a.gpkg")
