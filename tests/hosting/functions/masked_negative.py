# ruff: noqa: INP001, N802, N803, T201 - a raster function as people write them
"""A raster function with a mask: a negative of what is opaque and not too dark.

Its class has another name than its file, as in many templates. It uses a module beside it.
"""

import arcpy
import negatives
import numpy as np


class MaskedNegative:
    def __init__(self):
        self.name = "Masked negative"
        self.description = "The negative of a photo, but of its dark parts."
        self.ready = False

    def initialize(self, **kwargs):
        if "model" not in kwargs:
            return  # some hosts call once more before they know the model
        arcpy.env.processorType = "CPU"
        self.ready = kwargs["device"] == -1 and kwargs["model"].endswith(".emd")

    def getParameterInfo(self):
        return [
            {
                "name": "raster",
                "dataType": "raster",
                "value": None,
                "required": True,
                "displayName": "Raster",
                "description": "Photo",
            },
            {"name": "model", "dataType": "string", "value": None, "required": True},
            {"name": "device", "dataType": "numeric", "value": 0, "required": False},
            {
                "name": "padding",
                "dataType": "GPLong",
                "value": 3,
                "required": False,
                "domain": (0, 3, 7),
                "displayName": "Padding",
                "description": "Pixels around a block",
            },
            {
                "name": "darkest",
                "dataType": "numeric",
                "value": 60,
                "required": False,
                "displayName": "Darkest",
                "description": "Values below stay as they are",
            },
        ]

    def getConfiguration(self, **scalars):
        assert all(isinstance(value, str) for value in scalars.values())
        self.padding = int(scalars["padding"])
        self.darkest = float(scalars["darkest"])
        return {"padding": self.padding, "tx": 40, "ty": 24, "fixedTileSize": 1, "inputMask": True}

    def updateRasterInfo(self, **kwargs):
        kwargs["output_info"]["bandCount"] = kwargs["raster_info"]["bandCount"]
        kwargs["output_info"]["statistics"] = ()
        return kwargs

    def updatePixels(self, tlc, shape, props, **pixelBlocks):
        assert self.ready
        inner = slice(self.padding, -self.padding or None)
        pixels = pixelBlocks["raster_pixels"][:, inner, inner]
        opaque = pixelBlocks["raster_mask"][inner, inner]
        assert pixels.shape == shape
        print("a block at", tlc)
        pixelBlocks["output_pixels"] = negatives.negative(pixels).astype(props["pixelType"])
        pixelBlocks["output_mask"] = (opaque & (pixels.min(axis=0) >= self.darkest)).astype("u1")
        pixelBlocks["raster_pixels"][:] = 0  # blocks may be written to
        return pixelBlocks

    def updateKeyMetadata(self, names, bandIndex, **keyMetadata):
        assert bandIndex == -1
        keyMetadata["datatype"] = "Processed"
        return keyMetadata

    def isLicensed(self, **productInfo):
        return {"okToRun": productInfo["productName"] == "attachtrans"}


def unused(values):
    return np.asarray(values)
