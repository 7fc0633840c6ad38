"""Where photos hang in a GeoPackage: one module per layout, all of them in `known`."""
