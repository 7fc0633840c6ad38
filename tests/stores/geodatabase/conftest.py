"""Geodatabases that tests may change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stores.geodatabase.world import unzipped


@pytest.fixture
def gdb(fixture_copy: Callable[[str], Path]) -> Path:
    return unzipped(fixture_copy("inspections.gdb.zip"))


@pytest.fixture
def mobile(fixture_copy: Callable[[str], Path]) -> Path:
    return fixture_copy("inspections.geodatabase")
