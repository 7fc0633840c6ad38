"""Places that tests read from."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# A slow or busy machine is no bug, so no deadline per example.
settings.register_profile("attachtrans", deadline=None)
settings.load_profile("attachtrans")

REPOSITORY = Path(__file__).resolve().parents[1]


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
