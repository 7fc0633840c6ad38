from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from attachtrans.errors import ModelError
from attachtrans.hosting.rasters import Configuration, OutputInfo, RasterInfo

INFO = RasterInfo(bands=3, pixel_type="u1", size=(40, 20), span=(40, 20))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


def test_the_prefilled_info_is_understood_as_it_is():
    output = OutputInfo.read(INFO.to_json(), INFO)
    assert output == OutputInfo(bands=3, pixel_type="u1", no_data=None, enlarge=1)
    assert OutputInfo.read({}, INFO) == output
    assert INFO.props()["extent"] == (0, -20, 40, 0)


@given(
    st.dictionaries(
        st.sampled_from(["bandCount", "pixelType", "cellSize", "extent", "noData"]), json_values
    )
    | json_values
)
def test_nonsense_about_the_output_is_refused(values):
    try:
        output = OutputInfo.read(values, INFO)
    except ModelError:
        return
    assert output.bands >= 1
    assert output.enlarge > 0


@given(
    st.dictionaries(
        st.sampled_from(
            ["tx", "ty", "padding", "extractBands", "dataRange", "compositeRasters", "byRef"]
        ),
        json_values,
    )
    | json_values
)
def test_nonsense_in_the_configuration_is_refused(values):
    try:
        configuration = Configuration.read(values)
    except ModelError:
        return
    assert configuration.padding >= 0
    assert configuration.block is None or min(configuration.block) >= 1


def test_numbers_may_come_as_text_and_as_floats():
    read = Configuration.read({"tx": "256", "ty": 256.0, "padding": "8", "extractBands": [2, 0]})
    assert read.block == (256, 256)
    assert read.padding == 8
    assert read.extract_bands == (2, 0)
    assert read.data_range is None
    assert not read.composite
