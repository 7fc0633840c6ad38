"""What wheels cannot do with file geodatabases: the narrowest binding to pyogrio's own GDAL.

pyogrio reads rows and photos, but loses M values and curves, and cannot update a row, write BLOBs
or make a relationship class; no wheel with GDAL's own Python bindings exists. So the few functions
of its C API that this takes are called by ctypes in the library that pyogrio has loaded. The C API
is stable within GDAL 3 (gdal.org/api/vector_c_api.html); `library` refuses any other.

Nothing here guards against a crash: `edition` has it work on a copy.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_int64, c_uint, c_void_p
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from attachtrans.errors import SinkError
from attachtrans.stores.geodatabase.specs import AttachmentRelation, LayerSpec

_OLDEST, _NEWEST = 3070000, 3999999
_VECTOR = 0x04 | 0x40  # GDAL_OF_VECTOR, GDAL_OF_VERBOSE_ERROR
_UPDATE_VECTOR = _VECTOR | 0x01  # GDAL_OF_UPDATE
_ONE_TO_MANY, _COMPOSITE = 1, 0  # GRC_ONE_TO_MANY, GRT_COMPOSITE
_INSTEAD = (
    "Write to a GeoPackage with --output out.gpkg (ogr2ogr makes one of a .gdb), or install "
    "pyogrio from its wheel"
)

_FEATURE, _LAYER, _DATASET, _STRINGS = c_void_p, c_void_p, c_void_p, POINTER(c_char_p)
_PROTOTYPES: dict[str, tuple[Any, Sequence[Any]]] = {
    "GDALVersionInfo": (c_char_p, [c_char_p]),
    "GDALGetDriverByName": (c_void_p, [c_char_p]),
    "GDALCreate": (_DATASET, [c_void_p, c_char_p, c_int, c_int, c_int, c_int, _STRINGS]),
    "GDALOpenEx": (_DATASET, [c_char_p, c_uint, _STRINGS, _STRINGS, _STRINGS]),
    "GDALClose": (c_int, [_DATASET]),
    "GDALDatasetGetLayerByName": (_LAYER, [_DATASET, c_char_p]),
    "GDALDatasetCreateLayer": (_LAYER, [_DATASET, c_char_p, c_void_p, c_int, _STRINGS]),
    "GDALDatasetAddRelationship": (c_int, [_DATASET, c_void_p, POINTER(c_char_p)]),
    "GDALRelationshipCreate": (c_void_p, [c_char_p, c_char_p, c_char_p, c_int]),
    "GDALDestroyRelationship": (None, [c_void_p]),
    "GDALRelationshipSetLeftTableFields": (None, [c_void_p, _STRINGS]),
    "GDALRelationshipSetRightTableFields": (None, [c_void_p, _STRINGS]),
    "GDALRelationshipSetType": (None, [c_void_p, c_int]),
    "GDALRelationshipSetRelatedTableType": (None, [c_void_p, c_char_p]),
    "GDALRelationshipSetForwardPathLabel": (None, [c_void_p, c_char_p]),
    "GDALRelationshipSetBackwardPathLabel": (None, [c_void_p, c_char_p]),
    "OSRNewSpatialReference": (c_void_p, [c_char_p]),
    "OSRRelease": (None, [c_void_p]),
    "OGR_Fld_Create": (c_void_p, [c_char_p, c_int]),
    "OGR_Fld_Destroy": (None, [c_void_p]),
    "OGR_Fld_SetSubType": (None, [c_void_p, c_int]),
    "OGR_Fld_SetWidth": (None, [c_void_p, c_int]),
    "OGR_Fld_SetNullable": (None, [c_void_p, c_int]),
    "OGR_L_GetGeomType": (c_uint, [_LAYER]),
    "OGR_L_ResetReading": (None, [_LAYER]),
    "OGR_L_GetNextFeature": (_FEATURE, [_LAYER]),
    "OGR_L_CreateField": (c_int, [_LAYER, c_void_p, c_int]),
    "OGR_L_GetLayerDefn": (c_void_p, [_LAYER]),
    "OGR_L_GetFeature": (_FEATURE, [_LAYER, c_int64]),
    "OGR_L_SetFeature": (c_int, [_LAYER, _FEATURE]),
    "OGR_L_CreateFeature": (c_int, [_LAYER, _FEATURE]),
    "OGR_F_Create": (_FEATURE, [c_void_p]),
    "OGR_F_Destroy": (None, [_FEATURE]),
    "OGR_F_GetFID": (c_int64, [_FEATURE]),
    "OGR_F_GetFieldIndex": (c_int, [_FEATURE, c_char_p]),
    "OGR_F_SetFieldNull": (None, [_FEATURE, c_int]),
    "OGR_F_SetFieldInteger64": (None, [_FEATURE, c_int, c_int64]),
    "OGR_F_SetFieldDouble": (None, [_FEATURE, c_int, c_double]),
    "OGR_F_SetFieldString": (None, [_FEATURE, c_int, c_char_p]),
    "OGR_F_SetFieldBinary": (None, [_FEATURE, c_int, c_int, c_char_p]),
    "OGR_F_SetGeometryDirectly": (c_int, [_FEATURE, c_void_p]),
    "OGR_F_IsFieldSetAndNotNull": (c_int, [_FEATURE, c_int]),
    "OGR_F_GetFieldAsBinary": (c_void_p, [_FEATURE, c_int, POINTER(c_int)]),
    "OGR_F_GetGeometryRef": (c_void_p, [_FEATURE]),
    "OGR_G_WkbSize": (c_int, [c_void_p]),
    "OGR_G_ExportToIsoWkb": (c_int, [c_void_p, c_int, c_char_p]),
    "OGR_G_CreateFromWkb": (c_int, [c_char_p, c_void_p, POINTER(c_void_p), c_int]),
    "CPLSetThreadLocalConfigOption": (None, [c_char_p, c_char_p]),
    "CPLPushErrorHandler": (None, [c_void_p]),
    "CPLPopErrorHandler": (None, []),
    "CPLQuietErrorHandler": (None, [c_int, c_int, c_char_p]),
    "CPLGetLastErrorMsg": (c_char_p, []),
}

Value = str | int | float | bytes | None


@cache
def library() -> ctypes.CDLL:
    """The GDAL of pyogrio's wheel, with its functions declared.

    Raises SinkError where the installed pyogrio brings none that fits.
    """
    import pyogrio

    gdal = _loaded()
    if gdal is None:
        raise SinkError(f"the installed pyogrio has no GDAL that could be called. {_INSTEAD}")
    version = int(gdal.GDALVersionInfo(b"VERSION_NUM"))
    if not _OLDEST <= version <= _NEWEST:
        raise SinkError(
            f"geodatabases (.gdb) need GDAL 3.7 or newer, below 4; the installed pyogrio "
            f"{pyogrio.__version__} has {pyogrio.__gdal_version_string__}. {_INSTEAD}"
        )
    return gdal


def _loaded() -> ctypes.CDLL | None:
    """The library that pyogrio's own code calls; None where it lacks a function.

    Through the extension module, dlopen finds what that is linked with: in a wheel, in conda, or of
    the system. Windows looks in one library only, which wheels keep beside the package.
    """
    spec = find_spec("pyogrio._io")
    places = [Path(spec.origin)] if spec is not None and spec.origin else []
    for place in places[:1]:
        places += sorted(place.parent.with_name("pyogrio.libs").glob("*gdal*.dll"))
    for place in places:
        try:
            gdal = ctypes.CDLL(str(place))
            for name, (result, arguments) in _PROTOTYPES.items():
                function = getattr(gdal, name)
                function.restype, function.argtypes = result, arguments
        except (OSError, AttributeError):
            continue
        return gdal
    return None


class GdbFile:
    """An open file geodatabase; made by `opened`, `created` and `open_to_read`."""

    def __init__(self, path: Path, handle: int) -> None:
        self._path = path
        self._gdal = library()
        self._handle = handle

    def make_layer(self, spec: LayerSpec) -> None:
        """Make a layer or table. Raises SinkError."""
        gdal = self._gdal
        types = ",".join(f"{f.name}=esriFieldType{f.esri}" for f in spec.fields if f.esri)
        options = _strings(
            f"FID={spec.key}", f"GEOMETRY_NAME={spec.geometry}", f"COLUMN_TYPES={types}"
        )
        srs = None if spec.wkt is None else gdal.OSRNewSpatialReference(spec.wkt.encode())
        try:
            layer = self._need(
                gdal.GDALDatasetCreateLayer(
                    self._handle, spec.name.encode(), srs, spec.geometry_type, options
                ),
                f"the layer {spec.name}",
            )
        finally:
            if srs is not None:
                gdal.OSRRelease(srs)
        for field in spec.fields:
            made = gdal.OGR_Fld_Create(field.name.encode(), field.type)
            try:
                gdal.OGR_Fld_SetSubType(made, field.subtype)
                gdal.OGR_Fld_SetWidth(made, field.width)
                gdal.OGR_Fld_SetNullable(made, field.nullable)
                self._check(gdal.OGR_L_CreateField(layer, made, 0), f"{spec.name}.{field.name}")
            finally:
                gdal.OGR_Fld_Destroy(made)

    def relate(self, relation: AttachmentRelation) -> None:
        """Register attachments as Esri does: a composite relationship class.

        Both tables were made before this file was opened. Raises SinkError.
        """
        gdal = self._gdal
        made = gdal.GDALRelationshipCreate(
            relation.name.encode(),
            relation.layer.encode(),
            relation.table.encode(),
            _ONE_TO_MANY,
        )
        try:
            gdal.GDALRelationshipSetLeftTableFields(made, _strings(relation.layer_column))
            gdal.GDALRelationshipSetRightTableFields(made, _strings(relation.column))
            gdal.GDALRelationshipSetType(made, _COMPOSITE)
            gdal.GDALRelationshipSetRelatedTableType(made, b"media")
            gdal.GDALRelationshipSetForwardPathLabel(made, b"attachment")
            gdal.GDALRelationshipSetBackwardPathLabel(made, b"object")
            why = c_char_p()
            if not gdal.GDALDatasetAddRelationship(self._handle, made, byref(why)):
                text = (why.value or b"").decode(errors="replace")
                raise SinkError(f"{self._path}: {relation.name} cannot be made: {text}")
        finally:
            gdal.GDALDestroyRelationship(made)

    def binary(self, layer: str, fid: int, field: str) -> bytes | None:
        """A binary value of a row, None for NULL. Raises SinkError when there is no such row."""
        gdal = self._gdal
        feature = self._need(gdal.OGR_L_GetFeature(self._layer(layer), fid), f"row {fid}")
        try:
            index = self._index(feature, layer, field)
            if not gdal.OGR_F_IsFieldSetAndNotNull(feature, index):
                return None
            size = c_int()
            start = gdal.OGR_F_GetFieldAsBinary(feature, index, byref(size))
            return ctypes.string_at(start, size.value) if start else b""
        finally:
            gdal.OGR_F_Destroy(feature)

    def geometry_type(self, layer: str) -> int:
        """The OGRwkbGeometryType of a layer. Raises SinkError."""
        return int(self._gdal.OGR_L_GetGeomType(self._layer(layer)))

    def shapes(self, layer: str) -> Iterator[tuple[int, bytes | None]]:
        """The object ids and geometries (well-known binary, ISO) of a layer, in its order.

        With their Z, M and curves. Raises SinkError.
        """
        gdal, handle = self._gdal, self._layer(layer)
        gdal.OGR_L_ResetReading(handle)
        while feature := gdal.OGR_L_GetNextFeature(handle):
            try:
                geometry, wkb = gdal.OGR_F_GetGeometryRef(feature), None
                if geometry:
                    buffer = ctypes.create_string_buffer(gdal.OGR_G_WkbSize(geometry))
                    little_endian = 1
                    failed = gdal.OGR_G_ExportToIsoWkb(geometry, little_endian, buffer)
                    self._check(failed, f"a geometry of {layer}")
                    wkb = buffer.raw
                yield int(gdal.OGR_F_GetFID(feature)), wkb
            finally:
                gdal.OGR_F_Destroy(feature)

    def insert(self, layer: str, values: Mapping[str, Value], shape: bytes | None = None) -> int:
        """Add a row; returns its object id. shape: well-known binary. Raises SinkError."""
        gdal, handle = self._gdal, self._layer(layer)
        feature = gdal.OGR_F_Create(gdal.OGR_L_GetLayerDefn(handle))
        try:
            self._shape(feature, layer, shape)
            self._set(feature, layer, values)
            self._check(gdal.OGR_L_CreateFeature(handle, feature), f"a row of {layer}")
            return int(gdal.OGR_F_GetFID(feature))
        finally:
            gdal.OGR_F_Destroy(feature)

    def update(
        self, layer: str, fid: int, values: Mapping[str, Value], shape: bytes | None = None
    ) -> None:
        """Change these values of a row, and its geometry where one is given. Raises SinkError."""
        gdal, handle = self._gdal, self._layer(layer)
        feature = self._need(gdal.OGR_L_GetFeature(handle, fid), f"row {fid} of {layer}")
        try:
            self._shape(feature, layer, shape)
            self._set(feature, layer, values)
            self._check(gdal.OGR_L_SetFeature(handle, feature), f"row {fid} of {layer}")
        finally:
            gdal.OGR_F_Destroy(feature)

    def close(self) -> None:
        """Write everything out. Raises SinkError."""
        handle, self._handle = self._handle, 0
        if handle:
            self._check(self._gdal.GDALClose(handle), "what was written")

    def _layer(self, name: str) -> int:
        found = self._gdal.GDALDatasetGetLayerByName(self._handle, name.encode())
        return self._need(found, f"the layer {name}")

    def _shape(self, feature: int, layer: str, shape: bytes | None) -> None:
        if shape is not None:
            geometry = c_void_p()
            made = self._gdal.OGR_G_CreateFromWkb(shape, None, byref(geometry), len(shape))
            self._check(made, f"a geometry of {layer}")
            self._gdal.OGR_F_SetGeometryDirectly(feature, geometry)

    def _set(self, feature: int, layer: str, values: Mapping[str, Value]) -> None:
        gdal = self._gdal
        for name, value in values.items():
            index = self._index(feature, layer, name)
            match value:
                case None:
                    gdal.OGR_F_SetFieldNull(feature, index)
                case int():
                    gdal.OGR_F_SetFieldInteger64(feature, index, value)
                case float():
                    gdal.OGR_F_SetFieldDouble(feature, index, value)
                case bytes():
                    gdal.OGR_F_SetFieldBinary(feature, index, len(value), value)
                case _:
                    gdal.OGR_F_SetFieldString(feature, index, value.encode("utf-8", "replace"))

    def _index(self, feature: int, layer: str, field: str) -> int:
        index = self._gdal.OGR_F_GetFieldIndex(feature, field.encode())
        if index < 0:
            raise SinkError(f"{self._path}: {layer} has no field {field}")
        return int(index)

    def _need(self, handle: int | None, what: str) -> int:
        if not handle:
            raise self._error(what)
        return handle

    def _check(self, failed: int, what: str) -> None:
        if failed:
            raise self._error(what)

    def _error(self, what: str) -> SinkError:
        why = (self._gdal.CPLGetLastErrorMsg() or b"").decode(errors="replace")
        return SinkError(f"{self._path}: {what} cannot be had: {why or 'GDAL gives no reason'}")


@contextmanager
def opened(path: Path) -> Iterator[GdbFile]:
    """An existing geodatabase, open for writing. Raises SinkError."""
    with quiet() as gdal:
        handle = gdal.GDALOpenEx(
            str(path).encode(), _UPDATE_VECTOR, _strings("OpenFileGDB"), None, None
        )
        with closing(_file(gdal, path, handle)) as file:
            yield file


def open_to_read(name: str) -> GdbFile:
    """A geodatabase, as GDAL calls it, to read from; close it after use. Raises SinkError."""
    with quiet() as gdal:
        handle = gdal.GDALOpenEx(name.encode(), _VECTOR, _strings("OpenFileGDB"), None, None)
        return _file(gdal, Path(name), handle)


@contextmanager
def created(path: Path) -> Iterator[GdbFile]:
    """A new, empty geodatabase, open for writing. Raises SinkError."""
    with quiet() as gdal:
        driver = gdal.GDALGetDriverByName(b"OpenFileGDB")
        handle = gdal.GDALCreate(driver, str(path).encode(), 0, 0, 0, 0, None)
        with closing(_file(gdal, path, handle)) as file:
            yield file


def _file(gdal: ctypes.CDLL, path: Path, handle: int | None) -> GdbFile:
    if not handle:
        why = (gdal.CPLGetLastErrorMsg() or b"").decode(errors="replace")
        raise SinkError(f"{path}: cannot be opened: {why}")
    return GdbFile(path, handle)


@contextmanager
def quiet() -> Iterator[ctypes.CDLL]:
    """GDAL with its messages kept for `CPLGetLastErrorMsg`, and GlobalIDs left as they are."""
    gdal = library()
    gdal.CPLPushErrorHandler(ctypes.cast(gdal.CPLQuietErrorHandler, c_void_p))
    gdal.CPLSetThreadLocalConfigOption(b"OPENFILEGDB_REGENERATE_GLOBALID", b"NO")
    try:
        yield gdal
    finally:
        gdal.CPLSetThreadLocalConfigOption(b"OPENFILEGDB_REGENERATE_GLOBALID", None)
        gdal.CPLPopErrorHandler()


def _strings(*texts: str) -> Any:
    """A list of strings as GDAL takes it: ended by NULL."""
    return (c_char_p * (len(texts) + 1))(*[text.encode() for text in texts], None)
