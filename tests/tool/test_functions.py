"""Raster functions through the tool and the command line."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from attachtrans import translate_pixels
from attachtrans.cli import main
from attachtrans.errors import ArgumentError, ModelError, UntrustedModelError
from attachtrans.report import Status
from tests.hosting.make import gone, packed, shipped, small
from tests.safety.world import contents, everything_else

PHOTOS = 19  # translatable ones in esri_globalid.gpkg


def command(*words):
    return [sys.executable, "-m", "attachtrans.cli", *map(str, words)]


@pytest.fixture
def cli(monkeypatch, capsys):
    """Runs the command line in this process: its exit code, what it prints and its errors."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["attachtrans", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, *capsys.readouterr()

    handler = signal.getsignal(signal.SIGTERM)
    yield run
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture(autouse=True)
def leaves_nothing_behind(tmp_path, monkeypatch):
    """Packages are unpacked below TMPDIR, and are gone afterwards."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield
    assert not list(temporary.glob("attachtrans-*"))


@pytest.mark.slow
def test_end_to_end_on_the_command_line(fixtures_dir, tmp_path, cli):
    package = packed(shipped("masked_negative", tmp_path / "f"))
    source, out = fixtures_dir / "esri_globalid.gpkg", tmp_path / "out.gpkg"
    common = ("translate", source, "--model", package, "-o", out, "--limit", 4)
    code, _, errors = cli(*common)
    assert code == 3
    assert "--trust-code" in errors
    code, _, errors = cli(*common, "--trust-code", "-a", "padding=5")
    assert code == 2
    assert '"padding" takes 0 or 3 or 7' in errors
    assert not out.exists()
    code, printed, errors = cli(*common, "--trust-code", "-a", "padding=7")
    assert code == 0, errors
    assert "4 translated" in printed
    assert "a block at" not in printed + errors
    code, printed, _ = cli(*common, "--trust-code", "-a", "padding=7")
    assert " already" in printed
    assert "translated," not in printed
    with closing(sqlite3.connect(out)) as connection:
        tables = [name for (name,) in connection.execute("SELECT table_name FROM gpkg_contents")]
    assert tables


def test_info_shows_the_arguments_of_the_script(tmp_path, cli):
    package = packed(shipped("mixed", tmp_path / "f"))
    code, _, errors = cli("info", package)
    assert code == 3
    assert "arguments are unknown without" in errors
    _, lines, _ = cli("model", "info", package, "--trust-code")
    assert "guide [chosen for you]: an image file" in lines
    assert "share [0.5]: a number" in lines
    assert "Of the guide, 0..1" in lines
    _, text, _ = cli("info", package, "--trust-code", "-a", "share=1", "--json")
    facts = json.loads(text)
    assert facts["margin_px"] == 2
    assert [argument["name"] for argument in facts["arguments"]] == [
        *("code_timeout", "code_memory", "guide", "layers", "share", "invert")
    ]


@pytest.mark.slow
def test_images_are_read_and_their_content_is_part_of_the_job(fixtures_dir, tmp_path):
    emd = shipped("mixed", tmp_path / "f")
    Image.new("L", (4, 4), 200).save(tmp_path / "guide.png")
    Image.new("RGBA", (2, 2), (9, 8, 7, 0)).save(tmp_path / "clear.png")
    arguments = {
        "guide": tmp_path / "guide.png",
        "layers": f"{tmp_path}/clear.png;{tmp_path}/clear.png",
    }

    def run(name, **more):
        return translate_pixels(
            fixtures_dir / "esri_globalid.gpkg",
            emd,
            tmp_path / f"{name}.gpkg",
            arguments=arguments | more,
            trust_code=True,
            limit=1,
            device="cpu",
        )

    first = run("a", share="1")
    assert first.counts[Status.TRANSLATED] == 1
    photo = stored_photo(tmp_path / "a.gpkg")
    assert np.abs(photo.astype(int) - 200).max() <= 2  # it is a JPEG
    Image.new("L", (4, 4), 100).save(tmp_path / "guide.png")
    assert run("b", share="1").fingerprint != first.fingerprint
    with pytest.raises(ArgumentError, match=r"-a guide=.*nowhere.png: the image cannot be read"):
        run("c", guide=tmp_path / "nowhere.png")
    with pytest.raises(ArgumentError, match='needs the image "guide"'):
        translate_pixels(
            fixtures_dir / "esri_globalid.gpkg", emd, tmp_path / "d.gpkg", trust_code=True
        )


def stored_photo(path):
    with closing(sqlite3.connect(path)) as connection:
        (table,) = connection.execute(
            "SELECT name FROM sqlite_master WHERE name LIKE '%ATTACH' AND type = 'table'"
        ).fetchone()
        (data,) = connection.execute(f'SELECT data FROM "{table}" LIMIT 1').fetchone()
    with Image.open(BytesIO(data)) as photo:
        return np.asarray(photo)


def test_transparent_parts_reach_the_function_as_its_mask(fixture_copy, tmp_path):
    gpkg = fixture_copy("esri_globalid.gpkg")
    random = np.random.default_rng(0)
    photo = random.integers(0, 256, (30, 50, 4), np.uint8)
    photo[..., 3] = 255
    photo[:10, :, 3] = 0
    buffer = BytesIO()
    Image.fromarray(photo).save(buffer, "PNG")
    with closing(sqlite3.connect(gpkg)) as connection:
        (table,) = connection.execute(
            "SELECT name FROM sqlite_master WHERE name LIKE '%ATTACH' AND type = 'table'"
        ).fetchone()
        connection.execute(
            f'UPDATE "{table}" SET data = ?, data_size = ?',
            (buffer.getvalue(), len(buffer.getvalue())),
        )
        connection.commit()
    report = translate_pixels(
        gpkg,
        shipped("masked_negative", tmp_path / "f"),
        overwrite_attachments=True,
        trust_code=True,
        arguments={"darkest": 0},
        limit=1,
        device="cpu",
    )
    assert report.counts[Status.TRANSLATED] == 1, report.outcomes
    expected = photo.copy()
    expected[10:, :, :3] = 255 - photo[10:, :, :3]
    with closing(sqlite3.connect(gpkg)) as connection:
        rows = connection.execute(f'SELECT data FROM "{table}"').fetchall()
    changed = [data for (data,) in rows if data != buffer.getvalue()]
    assert len(changed) == 1
    with Image.open(BytesIO(changed[0])) as result:
        assert np.array_equal(np.asarray(result), expected)


@pytest.mark.slow
def test_photos_are_enlarged_for_an_output_of_smaller_cells(fixtures_dir, tmp_path):
    emd = small(
        tmp_path / "f", info='kwargs["output_info"]["cellSize"] = (0.5, 0.5); return kwargs'
    )
    report = translate_pixels(
        fixtures_dir / "esri_globalid.gpkg",
        emd,
        tmp_path / "out.gpkg",
        trust_code=True,
        limit=1,
        device="cpu",
    )
    (done,) = [one for one in report.outcomes if one.status is Status.TRANSLATED]
    assert done.size_out == (2 * done.size_in.width, 2 * done.size_in.height)
    with pytest.raises(ArgumentError, match="--scale"):
        translate_pixels(
            fixtures_dir / "esri_globalid.gpkg",
            emd,
            tmp_path / "out.gpkg",
            trust_code=True,
            scale=2,
        )


@pytest.mark.slow
def test_a_function_that_fails_on_every_photo_is_given_up(fixtures_dir, tmp_path):
    crashing = small(tmp_path / "f", pixels="import os; os._exit(9)")
    with pytest.raises(ModelError, match="failed on 3 photos in a row"):
        translate_pixels(
            fixtures_dir / "esri_globalid.gpkg",
            crashing,
            tmp_path / "out.gpkg",
            trust_code=True,
            device="cpu",
        )
    raising = small(tmp_path / "g", pixels="raise ValueError('too green')")
    report = translate_pixels(
        fixtures_dir / "esri_globalid.gpkg",
        raising,
        tmp_path / "out.gpkg",
        trust_code=True,
        device="cpu",
    )
    assert report.counts[Status.FAILED] == PHOTOS
    assert all("too green" in one.reason for one in report.outcomes if one.reason.startswith("The"))


def test_python_callers_must_trust_too(fixtures_dir, tmp_path):
    canary = tmp_path / "canary"
    emd = small(tmp_path / "f", f"open({str(canary)!r}, 'w')")
    with pytest.raises(UntrustedModelError, match="trust_code=True"):
        translate_pixels(fixtures_dir / "esri_globalid.gpkg", emd, tmp_path / "out.gpkg")
    assert not canary.exists()


@pytest.mark.slow
@pytest.mark.parametrize("where", ["initialize", pytest.param("pixels", marks=pytest.mark.slow)])
def test_ctrl_c_leaves_no_worker_behind(fixture_copy, tmp_path, where):
    gpkg = fixture_copy("esri_globalid.gpkg")
    before = contents(gpkg), everything_else(gpkg)
    note = tmp_path / "pid"
    hang = f"open({str(note)!r}, 'w').write(str(__import__('os').getpid()))\nwhile True: pass"
    package = packed(small(tmp_path / "f", **{where: hang}))
    words = ("translate", gpkg, "--model", package, "--trust-code", "--overwrite-attachments")
    process = subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 60
    while not (note.exists() and note.read_text()) and time.monotonic() < end:
        time.sleep(0.05)
    pid = int(note.read_text())
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted" in errors
    assert gone(pid)
    assert (contents(gpkg), everything_else(gpkg)) == before
