"""Folders of photos: what is listed, where results go, what is never touched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning

from attachtrans.errors import ArgumentError, ImageError, LayoutError, SourceError
from attachtrans.journal import JobDescription, Journal, digest_of
from attachtrans.stores.folder import FolderPhotos, open_folder
from attachtrans.stores.foldersink import (
    FolderOverwriteSink,
    FolderSink,
    prepare_results,
    results_journal,
)
from attachtrans.stores.overwrite import Safety, restore_originals
from attachtrans.types import Draft, Item, Size

SIZE = Size(24, 16)
FORMATS = {".jpg": "JPEG", ".png": "PNG", ".tif": "TIFF", ".webp": "WEBP"}


def picture(ending: str = ".jpg", size: Size = SIZE, shade: int = 0) -> bytes:
    content = BytesIO()
    Image.new("RGB", size, (shade, 80, 160)).save(content, FORMATS[ending])
    return content.getvalue()


def put(path: Path, data: bytes | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ending = path.suffix.lower()
    path.write_bytes(picture(ending if ending in FORMATS else ".jpg") if data is None else data)
    return path


def keys(photos: FolderPhotos) -> list[str]:
    return [item.key for item in photos]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with what field folders have in them."""
    root = tmp_path / "photos"
    put(root / "DCIM/b.JPG")
    put(root / "DCIM/a.jpg", picture(shade=1))
    put(root / "10.png")
    put(root / "notes.txt", b"hello")
    put(root / "DCIM/track.gpx", b"<gpx/>")
    put(root / "named as text", picture(shade=2))
    put(root / "broken.jpg", b"")
    put(root / ".hidden.jpg")
    put(root / ".thumbnails/x.jpg")
    put(root / "a.tif.ovr", picture(".tif"))
    return root


def test_photos_are_known_by_their_content(photos: Path) -> None:
    source = open_folder(photos)
    assert keys(source) == ["10.png", "DCIM/a.jpg", "DCIM/b.JPG", "broken.jpg", "named as text"]
    assert len(source) == 5
    items = {item.key: item for item in source}
    assert items["DCIM/b.JPG"].name == "b.JPG"
    assert source.read(items["10.png"]) == (photos / "10.png").read_bytes()
    assert source.read_head(items["10.png"], 4) == b"\x89PNG"
    assert items["10.png"].nbytes == (photos / "10.png").stat().st_size
    assert not items["10.png"].features


def test_patterns_depth_and_limit_choose(photos: Path) -> None:
    assert keys(open_folder(photos, patterns=["*.jpg"])) == [
        "DCIM/a.jpg",
        "DCIM/b.JPG",
        "broken.jpg",
    ]
    assert keys(open_folder(photos, patterns=["DCIM/*", "*.PNG"])) == [
        "10.png",
        "DCIM/a.jpg",
        "DCIM/b.JPG",
    ]
    assert "DCIM/a.jpg" not in keys(open_folder(photos, recursive=False))
    assert keys(open_folder(photos, limit=2)) == ["10.png", "DCIM/a.jpg"]
    with pytest.raises(ArgumentError, match="--limit 0"):
        open_folder(photos, limit=0)
    with pytest.raises(LayoutError, match=r"no photos that match \*\.gif"):
        open_folder(photos, patterns=["*.gif"])


def test_one_photo_is_a_source(photos: Path) -> None:
    source = open_folder(photos / "DCIM/a.jpg")
    assert keys(source) == ["a.jpg"]
    with pytest.raises(SourceError, match="no such file or folder"):
        open_folder(photos / "none.jpg")
    with pytest.raises(SourceError, match="has no photo"):
        source.read(Item(key="b", name="b", media_type="", nbytes=None, features=()))


def test_links_count_once_and_do_not_lead_out(photos: Path, tmp_path: Path) -> None:
    secret = put(tmp_path / "secret.jpg")
    (photos / "out.jpg").symlink_to(secret)
    (photos / "gone.jpg").symlink_to(photos / "nowhere.jpg")
    (photos / "again.png").symlink_to(photos / "10.png")
    os.link(photos / "DCIM/a.jpg", photos / "DCIM/z.jpg")
    (photos / "loop").symlink_to(photos)
    source = open_folder(photos)
    assert keys(source) == [
        "10.png",
        "DCIM/a.jpg",
        "DCIM/b.JPG",
        "broken.jpg",
        "gone.jpg",
        "named as text",
        "out.jpg",
    ]
    items = {item.key: item for item in source}
    with pytest.raises(SourceError, match="leads out"):
        source.read(items["out.jpg"])
    with pytest.raises(SourceError, match="not there"):
        source.read(items["gone.jpg"])
    assert {path.name for path in source.place(items["DCIM/a.jpg"]).files} == {"a.jpg", "z.jpg"}


def test_names_that_are_no_text_are_listed(tmp_path: Path) -> None:
    try:
        put(Path(os.fsdecode(os.fsencode(tmp_path) + b"/f\xffo.jpg")))
    except OSError:
        pytest.skip("this file system takes text only")
    source = open_folder(tmp_path)
    (item,) = source
    assert item.key == "f\\udcffo.jpg"
    assert source.read(item) == picture()
    with results(source, tmp_path / "out") as sink:
        sink.commit(draft(source, item))
        assert sink.holds(item, digest_of(source.read(item)))
    assert (tmp_path / "out" / os.fsdecode(b"f\xffo.jpg")).read_bytes() == draft(source, item).data


# --- results ------------------------------------------------------------------------------------


def draft(
    source: FolderPhotos, item: Item, *, ending: str = ".jpg", scale: int = 2, shade: int = 9
) -> Draft:
    """A result of the size that is asked for."""
    size = Size(SIZE.width * scale, SIZE.height * scale)
    data = picture(ending, size, shade)
    return Draft(
        item=item,
        data=data,
        media_type=f"image/{FORMATS[ending].lower()}",
        extension=ending,
        reformatted=not item.name.lower().endswith(ending),
        size_in=SIZE,
        size_out=size,
        digest_in=digest_of(source.read(item)),
        digest_out=digest_of(data),
    )


@contextmanager
def results(
    source: FolderPhotos, folder: Path, fingerprint: str = "f", *, again: bool = False
) -> Iterator[FolderSink]:
    prepare_results(folder, source.folder)
    journal = Journal(results_journal(folder))
    try:
        job = JobDescription(
            source="s", fingerprint=fingerprint, model="m", arguments="{}", version="0"
        )
        journal.begin(job, again=again)
        yield FolderSink(source, folder, journal, fingerprint=fingerprint)
    finally:
        journal.close()


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".attachtrans" not in path.name
    }


def test_the_tree_is_mirrored_and_done_once(photos: Path, tmp_path: Path) -> None:
    out, before = tmp_path / "out/deep", tree(photos)
    source = open_folder(photos, patterns=["DCIM/*", "10.png", "named*"])
    with results(source, out) as sink:
        for item in source:
            digest = digest_of(source.read(item))
            assert not sink.holds(item, digest)
            assert sink.objection(item, digest, ()) is None
            sink.keep(item, b"")
            sink.commit(draft(source, item, ending=".png" if item.key == "10.png" else ".jpg"))
            assert sink.holds(item, digest)
        assert sink.finish() == (f"4 translated photos were written to {out}",)
    assert list(tree(out)) == ["10.png", "DCIM/a.jpg", "DCIM/b.JPG", "named as text.jpg"]
    assert tree(photos) == before
    with results(source, out) as sink:
        assert all(sink.holds(item, digest_of(source.read(item))) for item in source)
        (out / "10.png").unlink()
        held = [sink.holds(item, digest_of(source.read(item))) for item in source]
        assert held == [False, True, True, True]
    with results(source, out, again=True) as sink:
        assert not any(sink.holds(item, digest_of(source.read(item))) for item in source)


def test_the_ending_follows_the_format(tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.jpg", "a.png", "b.JPEG", "c.tif"):
        put(root / name)
    source = open_folder(root)
    with results(source, out) as sink:
        for item in source:
            sink.commit(draft(source, item, ending=".tif"))
    assert list(tree(out)) == ["a.jpg.tif", "a.png.tif", "b.tif", "c.tif"]


def test_two_photos_never_share_a_result(tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    put(root / "a", picture(shade=1))
    put(root / "a.jpg", picture(shade=2))
    source = open_folder(root)
    first, second = source
    with results(source, out) as sink:
        sink.commit(draft(source, first))
        objection = sink.objection(second, digest_of(source.read(second)), ())
        assert objection is not None
        assert "is the result of a;" in objection.reason
        with pytest.raises(ImageError, match="is the result of a;"):
            sink.commit(draft(source, second))


def test_files_of_others_are_never_replaced(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    theirs = put(out / "DCIM/a.jpg", b"somebody's")
    source = open_folder(photos, patterns=["a.jpg"])
    (item,) = source
    with results(source, out) as sink:
        objection = sink.objection(item, "", ())
        assert objection is not None
        assert not objection.by_rule
        with pytest.raises(ImageError, match="no result of this model"):
            sink.commit(draft(source, item))
    assert theirs.read_bytes() == b"somebody's"
    theirs.unlink()
    with results(source, out) as sink:
        sink.commit(draft(source, item))
    with results(source, out, "another model") as sink:
        assert not sink.holds(item, digest_of(source.read(item)))
        objection = sink.objection(item, "", ())
        assert objection is not None
        assert "Name another --output" in objection.reason


def test_a_new_photo_of_an_old_name_replaces_its_result(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    source = open_folder(photos, patterns=["a.jpg"])
    (item,) = source
    with results(source, out) as sink:
        sink.commit(draft(source, item))
        put(photos / "DCIM/a.jpg", picture(shade=77))
        digest = digest_of(source.read(item))
        assert not sink.holds(item, digest)
        assert sink.objection(item, digest, ()) is None
        new = draft(source, item, shade=10)
        sink.commit(new)
        assert sink.holds(item, digest)
    assert (out / "DCIM/a.jpg").read_bytes() == new.data


def test_results_are_no_photos_of_the_folder_around_them(photos: Path) -> None:
    source = open_folder(photos)
    with results(source, photos / "translated") as sink:
        for item in source:
            sink.commit(draft(source, item))
    assert keys(open_folder(photos)) == keys(source)
    assert keys(open_folder(photos / "translated", limit=1)) == ["10.jpg"]
    elsewhere = photos / "elsewhere"
    put(elsewhere / "x.jpg")
    assert keys(open_folder(photos, leave_out=[elsewhere])) == keys(source)
    assert results_journal(elsewhere, photos).parent == photos


def test_places_that_cannot_take_results_are_refused(photos: Path, tmp_path: Path) -> None:
    source = open_folder(photos)
    with pytest.raises(ArgumentError, match="is a file"):
        prepare_results(photos / "10.png", source.folder)
    with pytest.raises(ArgumentError, match="folder of the photos"):
        prepare_results(photos, source.folder)
    out = tmp_path / "out"
    prepare_results(out, source.folder)
    (out / "DCIM").symlink_to(photos / "DCIM")
    before = tree(photos)
    with results(source, out) as sink:
        item = next(item for item in source if item.key == "DCIM/a.jpg")
        with pytest.raises(ImageError, match=r"is there|leads out"):
            sink.commit(draft(source, item))
    assert tree(photos) == before


def test_a_long_name_is_one_photos_trouble(photos: Path, tmp_path: Path) -> None:
    put(photos / ("x" * 245 + ".jpg"))
    source = open_folder(photos, patterns=["x*"])
    (item,) = source
    with (
        results(source, tmp_path / "out") as sink,
        pytest.raises(ImageError, match="too long"),
    ):
        sink.commit(draft(source, item))


# --- what lies beside ---------------------------------------------------------------------------

GEO = (2.0, 0.5, 1000.0, 0.25, -3.0, 2000.0)
CENTRES = "2.0\n0.25\n0.5\n-3.0\n1001.25\n1998.625\n"


@pytest.mark.filterwarnings(f"ignore::{NotGeoreferencedWarning.__module__}.NotGeoreferencedWarning")
@pytest.mark.parametrize("name", ["a.jgw", "a.JGW", "a.jpgw", "a.wld"])
@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_world_files_are_rescaled_as_gdal_reads_them(
    tmp_path: Path, name: str, ending: str
) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    put(root / "a.jpg")
    (root / name).write_text(CENTRES)
    (root / "a.prj").write_text("LOCAL")
    with rasterio.open(root / "a.jpg") as dataset:
        assert tuple(dataset.transform)[:6] == GEO
    source = open_folder(root)
    (item,) = source
    with results(source, out) as sink:
        sink.commit(draft(source, item, ending=ending, scale=4))
    with rasterio.open(out / f"a{ending}") as dataset:
        for corner in ((0, 0), (1, 0), (0, 1), (1, 1)):
            old = rasterio.Affine(*GEO) @ (corner[0] * SIZE.width, corner[1] * SIZE.height)
            new = dataset.transform @ (corner[0] * dataset.width, corner[1] * dataset.height)
            np.testing.assert_allclose(new, old, rtol=0, atol=1e-9)
    assert (out / "a.prj").read_text() == "LOCAL"


AUX = """<PAMDataset>
  <SRS>EPSG:32633</SRS>
  <GeoTransform> 1000, 2, 0.5, 2000, 0.25, -3</GeoTransform>
  <GCPList Projection="EPSG:4326"><GCP Id="1" Pixel="3.5" Line="4" X="10" Y="50" Z="1"/></GCPList>
  <Metadata><MDI key="Operator">Jane</MDI></Metadata>
  <PAMRasterBand band="1"><NoDataValue>7</NoDataValue>
    <Histograms><HistItem><HistMin>0</HistMin></HistItem></Histograms>
    <Metadata><MDI key="STATISTICS_MEAN">12</MDI><MDI key="Kept">yes</MDI></Metadata>
  </PAMRasterBand>
</PAMDataset>"""


def test_aux_files_keep_all_but_statistics(tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    put(root / "a.jpg")
    (root / "a.jpg.aux.xml").write_text(AUX)
    source = open_folder(root)
    (item,) = source
    with results(source, out) as sink:
        sink.commit(draft(source, item, ending=".png"))
    with rasterio.open(out / "a.png") as dataset:
        assert dataset.transform.almost_equals(rasterio.Affine(1, 0.25, 1000, 0.125, -1.5, 2000))
        assert dataset.tags()["Operator"] == "Jane"
        assert dataset.tags(1)["Kept"] == "yes"
        assert "STATISTICS_MEAN" not in dataset.tags(1)
        assert dataset.nodata == 7
    written = ET.fromstring((out / "a.png.aux.xml").read_text())
    (gcp,) = written.iter("GCP")
    assert (float(gcp.attrib["Pixel"]), float(gcp.attrib["Line"])) == (7.0, 8.0)
    assert not list(written.iter("Histograms"))


def test_what_cannot_be_rescaled_is_said(tmp_path: Path) -> None:
    root = tmp_path / "in"
    put(root / "a.jpg")
    (root / "a.jpg.aux.xml").write_text("<PAMDataset><GeodataXform/></PAMDataset>")
    (root / "a.jgw").write_text("nonsense")
    source = open_folder(root)
    (item,) = source
    with results(source, tmp_path / "out") as sink:
        sink.commit(draft(source, item))
        notes = sink.finish()
    assert "ArcGIS" in notes[1]
    assert "six numbers" in notes[2]
    assert list(tree(tmp_path / "out")) == ["a.jpg"]


def test_sidecars_of_others_are_not_replaced(tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    put(root / "a.jpg")
    (root / "a.jgw").write_text(CENTRES)
    theirs = put(out / "a.jgw", b"somebody's")
    source = open_folder(root)
    (item,) = source
    for _ in range(2):
        with results(source, out) as sink, pytest.raises(ImageError, match="not of this job"):
            sink.commit(draft(source, item))
    assert theirs.read_bytes() == b"somebody's"


# --- in place -----------------------------------------------------------------------------------


@contextmanager
def overwriting(
    source: FolderPhotos, *, secure: bool = False
) -> Iterator[tuple[FolderOverwriteSink, Journal, Safety]]:
    journal = Journal(source.path.with_name(f"{source.path.name}.attachtrans"))
    safety = Safety(folder=source.path.parent, secure=secure)
    try:
        job = JobDescription(source="s", fingerprint="f", model="m", arguments="{}", version="0")
        journal.begin(job, again=False)
        sink = FolderOverwriteSink(source, journal, safety, fingerprint="f")
        yield sink, journal, safety
        sink.close()
    finally:
        journal.close()


def test_photos_are_replaced_in_place_and_come_back(photos: Path, tmp_path: Path) -> None:
    os.link(photos / "DCIM/a.jpg", photos / "DCIM/z.jpg")
    before = tree(photos)
    source = open_folder(photos, patterns=["DCIM/*"])
    with overwriting(source) as (sink, _, _):
        made = {item.key: draft(source, item, shade=i) for i, item in enumerate(source)}
        for result in made.values():
            sink.commit(result)
        assert all(sink.holds(item, digest_of(source.read(item))) for item in source)
        assert str(tmp_path / "photos.bak") in sink.finish()[0]
    after = tree(photos)
    assert after["DCIM/a.jpg"] == after["DCIM/z.jpg"] == made["DCIM/a.jpg"].data
    assert (photos / "DCIM/z.jpg").samefile(photos / "DCIM/a.jpg")
    assert {key for key in before if before[key] != after[key]} == {
        "DCIM/a.jpg",
        "DCIM/b.JPG",
        "DCIM/z.jpg",
    }
    assert keys(open_folder(tmp_path)) == [f"photos/{key}" for key in keys(open_folder(photos))]
    with overwriting(source) as (_, journal, safety):
        assert restore_originals(source, journal, safety) == 2
    assert tree(photos) == before


def test_secure_deletes_the_originals(photos: Path, tmp_path: Path) -> None:
    source = open_folder(photos, patterns=["DCIM/a.jpg"])
    with overwriting(source, secure=True) as (sink, _, _):
        for item in source:
            sink.commit(draft(source, item))
        assert (tmp_path / "photos.bak").is_dir()
        sink.finish()
    assert not (tmp_path / "photos.bak").exists()


def test_a_placed_photo_is_not_resized_in_place(photos: Path) -> None:
    (photos / "DCIM/a.jgw").write_text(CENTRES)
    source = open_folder(photos, patterns=["DCIM/a.jpg"])
    (item,) = source
    with overwriting(source) as (sink, _, _):
        with pytest.raises(ImageError, match=r"a\.jgw beside it says"):
            sink.commit(draft(source, item))
        sink.commit(draft(source, item, scale=1))
