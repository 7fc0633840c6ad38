"""What tests of services share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from pyproj import CRS

from attachtrans.geo.gridding import Gridding
from attachtrans.stores.services import Access
from tests.stores.services.loopback import CELL, Reply, Request, Server, bounds, scene_once, serving


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[Request], Reply]], Server]]:
    """Starts servers on loopback that end with the test."""
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(serving(answer))


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine says of proxies, loopback is asked directly."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("ATTACHTRANS_HEADER", raising=False)
    monkeypatch.delenv("ATTACHTRANS_TOKEN", raising=False)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other fast; the waits themselves have their own test."""
    monkeypatch.setattr("attachtrans.stores.services.client._FIRST_WAIT_S", 0.001)


@pytest.fixture
def fast() -> Access:
    return Access(rate=None, retries=2, timeout_s=5.0)


@pytest.fixture
def whole() -> Gridding:
    """All of the scene, on its own cells."""
    pixels, transform = scene_once()
    box = bounds(transform, pixels.shape[2], pixels.shape[1])
    return Gridding(extent=box, cell_size=(CELL, CELL), crs=CRS.from_epsg(3857))
