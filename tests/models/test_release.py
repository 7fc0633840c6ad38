from __future__ import annotations

import pytest

from attachtrans.errors import ModelError
from attachtrans.models.release import learn_version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("2.4.4", (2, 4, 4)),
        ("2.1.0.3", (2, 1, 0, 3)),
        (" 2.10", (2, 10)),
        ("2.4.1rc1", (2, 4, 1)),
        ("", ()),
        (None, ()),
    ],
)
def test_versions(text, version):
    assert learn_version({"ArcGISLearnVersion": text}) == version


def test_numbers_are_compared_as_numbers():
    assert learn_version({"ArcGISLearnVersion": "2.10.0"}) > (2, 4, 4)
    assert learn_version({"ArcGISLearnVersion": "2.4.4.1"}) >= (2, 4, 4)
    assert learn_version({}) < (1,)


@pytest.mark.parametrize("value", ["new", 2.4, ["2.4"], "9" * 40, "٢.٤"])
def test_what_is_no_version(value):
    with pytest.raises(ModelError, match="ArcGISLearnVersion"):
        learn_version({"ArcGISLearnVersion": value})
