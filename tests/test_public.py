"""The public names: each is there, and importing the package costs nothing."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import attachtrans


@pytest.mark.parametrize("name", attachtrans.__all__)
def test_every_public_name_is_there(name):
    value = getattr(attachtrans, name)
    assert value is getattr(attachtrans, name)
    assert name in dir(attachtrans)
    assert isinstance(value, str) or inspect.getdoc(value)


def test_all_errors_are_public():
    errors = {
        name
        for name, value in vars(attachtrans.errors).items()
        if isinstance(value, type) and issubclass(value, attachtrans.AttachtransError)
    }
    assert errors <= set(attachtrans.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'TranslatePixels'"):
        _ = attachtrans.TranslatePixels


@pytest.mark.parametrize(
    ("code", "without"),
    [
        ("import attachtrans", ["torch", "numpy", "click", "attachtrans.errors"]),
        ("import attachtrans.ia", ["torch", "numpy", "rasterio", "geopandas", "cv2"]),
        ("from attachtrans import Report, ModelDefinition", ["torch", "rasterio", "geopandas"]),
        ("from attachtrans import extract_photos", ["torch", "rasterio", "geopandas"]),
        ("from attachtrans import translate_pixels", ["torch", "rasterio", "geopandas"]),
    ],
)
def test_names_bring_only_what_they_need(code, without):
    script = f"import sys; {code}; print([m for m in {without!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
