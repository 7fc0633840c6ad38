"""Raster functions as translators, over whole images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attachtrans import load_model, translate_array
from attachtrans.errors import ArgumentError, InferenceError, ModelError
from attachtrans.infer.adaptive import AdaptiveEngine
from attachtrans.models.arguments import Overlay
from tests.hosting.make import packed, shipped, small


def picture(bands=3, height=50, width=70, dtype="u1", seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, min(np.iinfo(dtype).max, 1 << 16), (bands, height, width), dtype)


def load(path, **arguments):
    return load_model(path, arguments=arguments, trust_code=True, device="cpu")


def run(translator, array, mask=None):
    engine = AdaptiveEngine[int](translator)
    ((_, result),) = (
        engine.submit(0, array) if mask is None else engine.submit_masked(0, array, mask)
    )
    if isinstance(result, InferenceError):
        raise result
    return result.array


@pytest.mark.parametrize("size", [(24, 40), (50, 70), (1, 1), (23, 113)])
def test_a_function_with_a_mask(tmp_path, size):
    translator = load(packed(shipped("masked_negative", tmp_path / "f")), darkest="60")
    array = picture(height=size[0], width=size[1])
    alpha = np.full(size, 255, np.uint8)
    alpha[: size[0] // 2] = 0
    kept = (alpha == 0) | (array.min(axis=0) < 60)
    expected = np.where(kept, array, 255 - array)
    result = run(translator, array, alpha)
    assert result.dtype == np.uint8
    assert np.array_equal(result, expected)
    opaque = np.where(array.min(axis=0) < 60, array, 255 - array)
    assert np.array_equal(translate_array(translator, array), opaque)


@pytest.mark.slow
@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize("padding", ["0", "3", "7"])
def test_a_function_sees_the_bands_that_a_photo_has(tmp_path, bands, padding):
    translator = load(shipped("masked_negative", tmp_path / "f"), padding=padding, darkest="0")
    assert translator.spec.margin_px == int(padding)
    array = picture(bands=bands)
    assert np.array_equal(run(translator, array), 255 - array)


def test_a_function_of_several_rasters(tmp_path):
    array, guide = picture(), picture(bands=1, seed=1)
    layer = picture(seed=2)
    mask = np.zeros(layer.shape[1:], np.uint8)
    mask[10:30, 20:60] = 1
    path = shipped("mixed", tmp_path / "f")
    plain = run(load(path, guide=guide, share="0.25"), array)
    half_up = np.floor(array * 0.75 + guide * 0.25 + 0.5)
    assert np.array_equal(plain, half_up)
    overlay = Overlay(pixels=layer, mask=mask)
    result = run(load(path, guide=guide, share=0.25, layers=overlay, invert="no"), array)
    assert np.array_equal(result, np.where(mask, layer, half_up))
    inverted = run(load(path, guide=guide, invert=True), array)
    assert np.array_equal(inverted, np.floor((array + (255.0 - guide)) / 2 + 0.5))


def test_an_image_is_laid_over_photos_of_any_size(tmp_path):
    translator = load(shipped("mixed", tmp_path / "f"), guide=picture(1, 2, 2), share="1")
    guide = picture(1, 2, 2)
    for size in ((50, 70), (2, 2), (3, 3), (1, 1)):
        result = run(translator, picture(height=size[0], width=size[1]))
        rows = ((np.arange(size[0]) + 0.5) * 2 // size[0]).astype(int)
        cols = ((np.arange(size[1]) + 0.5) * 2 // size[1]).astype(int)
        assert np.array_equal(result, np.repeat(guide[:, rows][:, :, cols], 3, axis=0))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, 'needs the image "guide".*What is mixed in'),
        ({"guide": "a.tif"}, '"guide" takes images.*array'),
        ({"guide": [picture(1), picture(1)]}, "takes one image, not 2"),
        ({"guide": picture(1)[0]}, r"an image is an array \(bands, height, width\)"),
        ({"guide": picture(1), "photo": picture()}, 'no image for "photo".*guide, layers'),
        ({"guide": picture(1), "share": "much"}, 'share=much is not allowed.*"share" takes a num'),
        ({"guide": picture(1), "padding": "3"}, 'no argument "padding".*guide, layers, share'),
        ({"guide": picture(1), "code_timeout": "0"}, "code_timeout=0 is not allowed"),
    ],
)
def test_arguments_are_checked(tmp_path, arguments, words):
    with pytest.raises(ArgumentError, match=words):
        load(shipped("mixed", tmp_path / "f"), **arguments)


def test_the_place_of_each_block_is_told(tmp_path):
    path = small(
        tmp_path / "f",
        "import numpy as np",
        parameters='return [{"name": "rasters", "dataType": "rasters"}]',
        configuration='return {"tx": 16, "ty": 8, "padding": 4}',
        info='kwargs["output_info"].update(bandCount=2, pixelType="f4"); return kwargs',
        pixels="""
            assert (props["width"], props["height"]) == (37, 21)
            assert props["extent"] == (0.0, -21.0, 37.0, 0.0), props
            assert props["cellSize"] == (1.0, 1.0) and props["pixelType"] == "f4"
            assert shape == (2, 8, 16) and blocks["rasters_pixels"][0].shape == (3, 16, 24)
            y, x = np.mgrid[:8, :16]
            return {"output_pixels": np.stack([tlc[0] + x, tlc[1] - y])}
        """,
    )
    result = run(load(path), picture(height=21, width=37))
    assert result.dtype == np.float32
    y, x = np.mgrid[:21, :37]
    assert np.array_equal(result, [x, -y])


def test_statistics_are_those_of_the_whole_photo(tmp_path):
    path = small(
        tmp_path / "f",
        "import numpy as np",
        configuration='return {"tx": 16, "ty": 8}',
        info="""
            self.told = kwargs["raster_info"]["statistics"]
            return kwargs
        """,
        pixels="""
            low = np.array([band["minimum"] for band in self.told])
            return {"output_pixels": (blocks["raster_pixels"] - low[:, None, None]).astype("u1")}
        """,
    )
    array = picture(height=21, width=37) // 2 + np.array([9, 99, 60], np.uint8)[:, None, None]
    result = run(load(path), array)
    assert np.array_equal(result, array - array.min(axis=(1, 2), keepdims=True))


def test_an_output_of_smaller_cells_means_enlarged_photos(tmp_path):
    path = small(
        tmp_path / "f",
        info='kwargs["output_info"]["cellSize"] = (0.25, 0.25); return kwargs',
        pixels="""
            assert props["cellSize"] == (0.25, 0.25) and props["width"] == 80
            assert props["extent"] == (0, -10, 20, 0)
            assert tlc[0] in (0, 6, 12) and -tlc[1] in (0, 2), tlc
            return {"output_pixels": blocks["raster_pixels"] // 2}
        """,
    )
    translator = load(path)
    assert translator.enlarge == 4
    enlarged = picture(height=40, width=80)
    assert np.array_equal(run(translator, enlarged), enlarged // 2)


@pytest.mark.parametrize(
    ("dtype", "kind", "out", "expected"),
    [
        ("u2", "u2", "", "uint16"),
        ("u1", "u1", "u2", "float32"),
        ("u2", "u2", "u1", "uint16"),
        ("i2", "i2", "", "int16"),
        ("u1", "u1", "f8", "float32"),
    ],
)
def test_types_are_those_of_the_photo_and_of_the_function(tmp_path, dtype, kind, out, expected):
    path = small(
        tmp_path / "f",
        info=f"""
            if kwargs["raster_info"]["pixelType"] != "{kind}": kwargs["output_info"]["x"] = 1
            if "{out}": kwargs["output_info"]["pixelType"] = "{out}"
            return kwargs
        """,
        pixels="""
            return {"output_pixels": blocks["raster_pixels"].astype(props["pixelType"])}
        """,
    )
    array = picture(dtype=dtype) % 200
    result = run(load(path), array)
    assert result.dtype == expected
    assert np.array_equal(result, array)


def test_values_beyond_the_type_are_clipped_and_never_wrap(tmp_path):
    path = small(
        tmp_path / "f", pixels='return {"output_pixels": blocks["raster_pixels"] * 2.5 - 100}'
    )
    array = picture()
    expected = np.clip(np.floor(array * 2.5 - 100 + 0.5), 0, 255)
    assert np.array_equal(run(load(path), array), expected)


def test_bands_are_extracted_and_the_data_range_is_kept(tmp_path):
    path = small(
        tmp_path / "f",
        configuration='return {"extractBands": (3, 0), "dataRange": (0, 1), "tx": 64, "ty": 64}',
        info='kwargs["output_info"].update(bandCount=2, pixelType="f4"); return kwargs',
    )
    translator = load(path)
    assert translator.spec.in_bands == 4
    array = picture(bands=4)
    assert np.allclose(run(translator, array), array[[3, 0]] / 255, atol=1e-7)
    grey = picture(bands=1)  # which has no other band than its last
    assert np.allclose(run(translator, grey), grey[[0, 0]] / 255, atol=1e-7)


def test_rasters_come_as_one_when_asked(tmp_path):
    path = small(
        tmp_path / "f",
        parameters="""
            return [{"name": "a", "dataType": "raster"}, {"name": "b", "dataType": "Raster"}]
        """,
        configuration='return {"compositeRasters": True}',
        info="""
            both = kwargs["compositeraster_info"]
            assert both["bandCount"] == 4 and both["pixelType"] == "u2", both
            kwargs["output_info"].update(bandCount=4, pixelType="u2")
            return kwargs
        """,
        pixels="""
            assert blocks["compositeraster_mask"].shape == shape[1:]
            return {"output_pixels": blocks["compositeraster_pixels"]}
        """,
    )
    array, other = picture(), picture(bands=1, dtype="u2")
    result = run(load(path, b=other), array)
    assert np.array_equal(result, np.concatenate([array, other]))


def test_no_data_fills_what_the_mask_leaves_out_of_other_kinds(tmp_path):
    path = small(
        tmp_path / "f",
        info="""
            kwargs["output_info"].update(pixelType="f4", noData=(-7.0, -7.0, -7.0))
            return kwargs
        """,
        pixels="""
            pixels = blocks["raster_pixels"]
            return {"output_pixels": pixels, "output_mask": (pixels > 99).astype("u1")}
        """,
    )
    array = picture()
    assert np.array_equal(run(load(path), array), np.where(array > 99, array, -7.0))


def test_called_directly_each_tile_is_an_image(tmp_path):
    translator = load(shipped("masked_negative", tmp_path / "f"), darkest="0")
    batch = torch.randint(0, 256, (2, 3, 30, 46)).float()
    result = translator(batch)
    assert torch.equal(result, 255 - batch[:, :, 3:-3, 3:-3])
    assert torch.equal(translator(batch.to(torch.uint8)), result)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bodies", "words"),
    [
        ({"configuration": "return {'tx': -1, 'ty': 3}"}, "tx of the function is -1"),
        ({"configuration": "return {'tx': 'wide', 'ty': 3}"}, "tx of the function is 'wide'"),
        ({"configuration": "return {'padding': 2.5}"}, "padding of the function is 2.5"),
        ({"configuration": "return None"}, "getConfiguration must return a dict, not NoneType"),
        ({"configuration": "return {'dataRange': (5, 5)}"}, "dataRange"),
        ({"configuration": "return {'extractBands': ('red',)}"}, "extractBands"),
        ({"info": "kwargs['output_info']['bandCount'] = 0; return kwargs"}, "bandCount"),
        ({"info": "kwargs['output_info']['pixelType'] = 'c8'; return kwargs"}, "complex64"),
        ({"info": "kwargs['output_info']['cellSize'] = (1, 2); return kwargs"}, "square"),
        ({"info": "kwargs['output_info']['cellSize'] = (9e9, 9e9); return kwargs"}, "enlarges by"),
        ({"info": "kwargs['output_info']['extent'] = (0, 0, 1, 1); return kwargs"}, "extent"),
        ({"info": "return {}"}, "KeyError: 'output_info'"),
        ({"parameters": "return []"}, "no parameter of the dataType raster"),
        ({"parameters": "return [{}]"}, "without a name"),
        ({"parameters": "return 3"}, "TypeError: 'int' object is not iterable"),
        ({"initialize": "raise RuntimeError('no weights')"}, r"no weights \(Small.py, line \d+\)"),
        ({"top": "import nothing_like_it"}, "No module named 'nothing_like_it'"),
    ],
)
def test_functions_that_make_no_sense_are_refused(tmp_path, bodies, words):
    path = small(tmp_path / "f", bodies.pop("top", ""), **bodies)
    with pytest.raises(ModelError, match=words):
        load(path)


@pytest.mark.parametrize(
    ("script", "found"),
    [("class A: pass", "none"), ("class A: updatePixels = print\nclass B(A): pass", "A, B")],
)
def test_a_script_holds_one_function(tmp_path, script, found):
    path = small(tmp_path / "f")
    path.with_suffix(".py").write_text(script)
    with pytest.raises(ModelError, match=f"named Small; found: {found}"):
        load(path)


def test_a_function_that_depends_on_the_photo_more_than_it_may_fails_on_that_photo(tmp_path):
    path = small(
        tmp_path / "f",
        info="""
            if kwargs["raster_info"]["extent"][2] == 70: kwargs["output_info"]["cellSize"] = (2, 2)
            return kwargs
        """,
    )
    translator = load(path)
    with pytest.raises(InferenceError, match="another cell size"):
        run(translator, picture(width=70))
    array = picture(width=71)
    assert np.array_equal(run(translator, array), array)
