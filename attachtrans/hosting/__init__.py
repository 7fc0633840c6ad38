"""Python raster functions of others, run in a process of their own."""
