"""Layers of QGIS and of ArcGIS Pro as sources: what a layer file says its data are.

A layer file holds no data. It says which file or service a layer shows, which of its features
(subset string, definition query) and which of its bands; the other stores read that. Where a layer
leads is its author's choice, anywhere on this machine or on a network: naming a layer file means
naming what its layers lead to, as it does in QGIS and ArcGIS. So nothing is opened here but the
layer file itself, and a user sees what was taken from it.
"""

from attachtrans.stores.layers.base import LayerKind, LayerSource
from attachtrans.stores.layers.read import list_layers, read_layer, recognise, split_layer_name

__all__ = [
    "LayerKind",
    "LayerSource",
    "list_layers",
    "read_layer",
    "recognise",
    "split_layer_name",
]
