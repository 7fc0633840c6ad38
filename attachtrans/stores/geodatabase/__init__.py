"""Esri geodatabases: file geodatabases (.gdb) and mobile ones (.geodatabase).

Everything here reads a geodatabase as a GeoPackage: `mirror` makes a temporary one with its layers
and relations, in which the rest of the stores looks for photos, joins and chooses as in any other.
The photos themselves stay where they are; `contents` reads them there.
"""
