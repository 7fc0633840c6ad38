# ruff: noqa: INP001, N801, N802, N803 - a raster function as people write them
"""A raster function of several rasters: a photo, a guide that is mixed in, and layers on top."""

import numpy as np


class helper:
    """No raster function: the class with the name of the file is."""


class mixed:
    def __init__(self):
        self.name = "Mixed"

    def getParameterInfo(self):
        return [
            {"name": "photo", "dataType": "raster", "value": None, "required": True},
            {
                "name": "guide",
                "dataType": "raster",
                "value": None,
                "required": True,
                "description": "What is mixed in",
            },
            {"name": "layers", "dataType": "rasters", "value": None, "required": False},
            {
                "name": "share",
                "dataType": "GPDouble",
                "value": 0.5,
                "required": False,
                "description": "Of the guide, 0..1",
            },
            {"name": "invert", "dataType": "boolean", "value": False, "required": False},
        ]

    def getConfiguration(self, **scalars):
        self.share = float(scalars["share"])
        self.invert = scalars["invert"] == "true"
        return {"padding": 2, "tx": 32, "ty": 32, "inheritProperties": 1 | 2 | 4 | 8}

    def updateRasterInfo(self, **kwargs):
        photo, guide = kwargs["photo_info"], kwargs["guide_info"]
        assert guide["extent"] == photo["extent"]
        assert guide["bandCount"] in (1, 3)
        self.layers = len(kwargs.get("layers_info", ()))
        kwargs["output_info"]["bandCount"] = photo["bandCount"]
        return kwargs

    def selectRasters(self, tlc, shape, props):
        return ("photo", "guide", "layers") if self.layers else ("photo", "guide")

    def updatePixels(self, tlc, shape, props, **pixelBlocks):
        assert ("layers_pixels" in pixelBlocks) == (self.layers > 0)
        photo, guide = (pixelBlocks[f"{name}_pixels"][:, 2:-2, 2:-2] for name in ("photo", "guide"))
        guide = 255 - guide if self.invert else guide
        result = photo * (1 - self.share) + guide * self.share
        layers = pixelBlocks.get("layers_pixels", ())
        for layer, mask in zip(layers, pixelBlocks.get("layers_mask", ()), strict=True):
            result = np.where(mask[2:-2, 2:-2], layer[:, 2:-2, 2:-2], result)
        return {"output_pixels": np.floor(result + 0.5).astype(props["pixelType"])}
