"""Nets and blocks for rasters."""

from __future__ import annotations

from pathlib import Path

import pytest

from attachtrans.infer import excerpts
from tests.models.nets import bicubic_x2, cyclegan


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rasters of a few hundred pixels have several blocks and panels."""
    monkeypatch.setattr(excerpts, "_EXACT_PX", 512)
    monkeypatch.setattr(excerpts, "_PANEL_PX", 512)
    monkeypatch.setattr(excerpts, "_PANEL_TILES", 2)


@pytest.fixture(scope="session")
def x2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bicubic enlargement, which looks two pixels far."""
    return bicubic_x2(tmp_path_factory.mktemp("x2") / "bicubic.emd")


@pytest.fixture(scope="session")
def gan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CycleGAN, whose instance norms see all of a tile: tiles are blended."""
    return cyclegan(tmp_path_factory.mktemp("gan") / "gan.emd")
