"""Translating rasters: files, mosaics, folders of them, services."""
