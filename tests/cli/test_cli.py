"""The command line as a person or a script meets it: its exit codes and what it prints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.inprocess import call
from tests.models.nets import bicubic_x2
from tests.safety.world import contents, judge

Copy = Callable[[str], Path]


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "attachtrans.cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return bicubic_x2(tmp_path / "bicubic.emd")


def test_a_whole_run_and_its_report(fixture_copy: Copy, model: Path, tmp_path: Path) -> None:
    gpkg, lines = fixture_copy("esri_objectid.gpkg"), tmp_path / "report.jsonl"
    command = ("translate", gpkg, "-m", model, "--overwrite-attachments", "--device", "cpu")
    process = start(*command, "--report", lines)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert "8 translated" in out
    items = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    translated = [item for item in items if item["status"] == "translated"]
    assert len(translated) == 8
    assert all(item["digest_in"] != item["digest_out"] for item in translated)
    assert all(len(item["size_out"]) == 2 for item in translated)


def test_some_failed_is_exit_1(fixture_copy: Copy, model: Path, tmp_path: Path) -> None:
    place = fixture_copy("odk")
    done = call(
        "translate",
        place / "submissions.gpkg",
        "-m",
        model,
        "-o",
        tmp_path / "o.gpkg",
        "--device",
        "cpu",
    )
    assert done.code == 1
    assert "failed: " in done.err
    assert "--base" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["translate"], 2, "Missing argument"),
        (["translate", "FILE", "-m", "sr-x2"], 2, "--overwrite-attachments"),
        (["translate", "FILE", "-m", "sr-x2", "-o", "x.gpkg", "-a", "x"], 2, "NAME=VALUE"),
        (["translate", "FILE", "-m", "no-such-model", "-o", "x.gpkg"], 3, "no-such-model"),
        (["translate", "missing.gpkg", "-m", "sr-x2", "-o", "x.gpkg"], 3, "no such file"),
        (["translate", "FILE", "-m", "sr-x2", "-o", "x.gpkg", "--report", "no/r"], 2, "--report"),
        (["extract", "FILE", "-o", "photos", "--report", "no/such/folder"], 2, "--report"),
        (["info", "missing.gpkg"], 3, "no such file"),
        (["frobnicate"], 2, "No such command"),
    ],
)
def test_what_is_wrong_is_said_without_a_traceback(
    arguments: list[str], code: int, said: str, fixture_copy: Copy
) -> None:
    gpkg = fixture_copy("esri_globalid.gpkg")
    done = call(*[gpkg if argument == "FILE" else argument for argument in arguments])
    assert done.code == code
    assert said in done.err
    assert "Traceback" not in done.err
    assert not done.out


@pytest.mark.slow
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_interrupting_is_exit_130_and_goes_on_later(
    number: signal.Signals, fixture_copy: Copy, model: Path
) -> None:
    gpkg = fixture_copy("esri_globalid.gpkg")
    before = contents(gpkg)
    command = ("translate", gpkg, "-m", model, "--overwrite-attachments", "--device", "cpu")
    process = start(*command)
    journal = gpkg.with_name(f"{gpkg.name}.attachtrans")
    while not journal.exists():
        time.sleep(0.01)
    time.sleep(0.4)
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (0, 130), err
    assert set(judge(before, contents(gpkg)).values()) <= {"original", "once"}
    if process.returncode == 130:
        assert "Run the same command again" in err
        assert "Traceback" not in err
    assert call(*command).code == 0
    assert list(judge(before, contents(gpkg)).values()).count("once") == 19


def test_info_as_json(fixture_copy: Copy) -> None:
    done = call("info", fixture_copy("related_media.gpkg"), "--json")
    facts = json.loads(done.out)
    assert facts["places"][0]["layout"] == "media"
    assert done.code == 0
    about = json.loads(call("info", "sr-x2", "--json").out)
    assert about["scale"] == 2
    assert about["fingerprint"]


def test_info_takes_the_folder_of_a_model(model: Path) -> None:
    done = call("info", model.parent)
    assert done.code == 0, done.err
    assert "scale        2\n" in done.out


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_behind_stdout_is_said_in_a_line(fixture_copy: Copy) -> None:
    command = [sys.executable, "-m", "attachtrans.cli", "info", fixture_copy("related_media.gpkg")]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 3
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dry_run_says_what_would_be_done(fixture_copy: Copy, model: Path) -> None:
    gpkg = fixture_copy("esri_globalid.gpkg")
    done = call("translate", gpkg, "-m", model, "--overwrite-attachments", "--dry-run")
    assert "19 planned" in done.out
    assert done.code == 0
    assert not list(gpkg.parent.glob("*.attachtrans"))
