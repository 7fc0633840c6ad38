"""Releases of arcgis.learn: by which one a model was written, and so by what rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attachtrans.errors import ModelError

Version = tuple[int, ...]

_VERSION = re.compile(r"\s*(\d{1,6}(?:\.\d{1,6}){0,5})(?!\d)", re.ASCII)


def learn_version(raw: Mapping[str, Any]) -> Version:
    """ArcGISLearnVersion of a definition as numbers, "2.4.4" as (2, 4, 4).

    Absent is () and thus older than any: old definitions lack the key.

    Raises:
        ModelError: it is no version.
    """
    value = raw.get("ArcGISLearnVersion")
    if value is None or value == "":
        return ()
    found = _VERSION.match(value) if isinstance(value, str) else None
    if found is None:
        raise ModelError(
            f"ArcGISLearnVersion of the model definition is {value!r:.60}: it must be a version "
            'such as "2.4.4".'
        )
    return tuple(int(part) for part in found.group(1).split("."))
