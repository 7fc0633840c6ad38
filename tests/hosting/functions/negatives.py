# ruff: noqa: INP001 - a module as it lies in packages
"""A module that lies beside a raster function."""


def negative(pixels):
    return 255 - pixels
