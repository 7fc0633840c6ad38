"""The README stays true: its script runs, and its tables name every option and key."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import attachtrans
from attachtrans.cli import cli
from attachtrans.models import facts
from attachtrans.models.catalog import MODEL_TYPES, NOT_YET

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_qa_script_runs_on_the_fixtures(fixture_copy, tmp_path):
    fixture_copy("esri_globalid.gpkg")
    folder = tmp_path / "fixtures"
    folder.mkdir()
    (tmp_path / "esri_globalid.gpkg").rename(folder / "esri_globalid.gpkg")
    script = re.search(r"<!-- script: qa -->\n```python\n(.*?)```", README, re.DOTALL).group(1)
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path), "TEMP": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "translated" in done.stdout
    assert list(tmp_path.glob("attachtrans-qa-*/findings.geojson"))


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_python_in_the_readme_is_python(block):
    compile(block, "README.md", "exec")


@pytest.mark.parametrize("command", ["translate", "extract", "footprint", "ortho", "pose fit"])
def test_every_option_is_in_the_readme(command):
    group, _, name = command.rpartition(" ")
    for option in (cli.commands[group] if group else cli).commands[name].params:
        names = [name for name in option.opts if name.startswith("--")]
        assert not names or any(name in README for name in names), names


def test_every_parameter_is_in_the_readme():
    for name in inspect.signature(attachtrans.plan_translation).parameters:
        assert f"`{name}" in README or f'"{name}' in README or f"{name}=" in README, name


def test_every_public_name_is_in_the_readme():
    functions = [name for name in attachtrans.__all__ if name[0].islower() and name != "ia"]
    assert [name for name in functions if f"`{name}" not in README] == []


def test_every_key_and_type_is_in_the_readme():
    keys = re.findall(r"^    ([A-Z]\w+(?:, [A-Z]\w+)*) {2,}", facts.__doc__, re.MULTILINE)
    assert len(keys) > 10
    for key in ", ".join(keys).split(", "):
        assert f"`{key}`" in README, key
    for name in [*MODEL_TYPES, *NOT_YET]:
        assert name.split("_")[0] in README, name


def test_every_test_that_is_named_exists() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in REPOSITORY.glob("tests/**/*.py"))
    named = set(re.findall(r"`(test_\w+)`", README))
    assert named
    assert not [name for name in named if f"def {name}(" not in text]
