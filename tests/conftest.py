"""Places that tests read from."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A slow or busy machine is no bug, so no deadline per example. Few examples keep the default run
# short; `--hypothesis-profile thorough` tries as many as hypothesis itself would.
settings.register_profile("quick", deadline=None, max_examples=25)
settings.register_profile("thorough", deadline=None, max_examples=100)
settings.load_profile("quick")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Modules and tests stay to the end, so the garbage collector need not walk them each time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def fixtures_dir() -> Path:
    """The shipped fixtures; never written to."""
    return REPOSITORY / "fixtures"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data beside the checkout; skips the test where there is none."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the real data beside the checkout")
    return folder


@pytest.fixture
def fixture_copy(fixtures_dir: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Copies a shipped file or folder, such as "esri_globalid.gpkg", to where it may be changed."""

    def copy(name: str) -> Path:
        source, target = fixtures_dir / name, tmp_path / name
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy2(source, target)
        return target

    return copy
