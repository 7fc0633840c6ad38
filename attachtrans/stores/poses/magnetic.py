"""Magnetic declination, with the extra attachtrans[magnetic].

The World Magnetic Model and its coefficients come from the package pygeomag: models of five years
each from 2010 on. It is good to half a degree, except near the magnetic poles.
"""

from __future__ import annotations

import importlib
from datetime import datetime
from functools import lru_cache
from typing import Any

FIRST_YEAR, LAST_YEAR = 2010, 2029
_PERIOD = 5


def declination_deg(longitude: float, latitude: float, z_m: float, time: str) -> float | None:
    """True bearing less magnetic bearing, degrees; east is positive.

    Args:
        longitude: degrees on WGS 84.
        latitude: the same.
        z_m: height in metres; a few hundred metres are of no account.
        time: ISO 8601.

    Returns:
        None without the extra, and for years that it has no model of.
    """
    moment = datetime.fromisoformat(time)
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        return None
    model = _model(moment.year // _PERIOD * _PERIOD)
    if model is None:
        return None
    start = datetime(moment.year, 1, 1, tzinfo=moment.tzinfo)
    length = datetime(moment.year + 1, 1, 1, tzinfo=moment.tzinfo) - start
    year = moment.year + (moment - start) / length
    return float(model.calculate(glat=latitude, glon=longitude, alt=z_m / 1000.0, time=year).d)


@lru_cache(maxsize=4)
def _model(year: int) -> Any | None:
    try:
        library = importlib.import_module("pygeomag")
    except ImportError:
        return None
    return library.GeoMag(base_year=year)
