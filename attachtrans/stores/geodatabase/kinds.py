"""Which paths are geodatabases, of which kind, and why one may not be written to."""

from __future__ import annotations

import zipfile
from enum import StrEnum
from pathlib import Path, PurePosixPath

from attachtrans.errors import ArgumentError, SinkError, SourceError

_COMPRESSED = (".cdf", ".sdc")


class Kind(StrEnum):
    """FILE: a folder of tables, which GDAL reads and writes. MOBILE: an SQLite database.

    ZIPPED: a file geodatabase inside a .zip, for reading only.
    """

    FILE = ".gdb"
    MOBILE = ".geodatabase"
    ZIPPED = ".zip"


def kind_of(path: Path) -> Kind | None:
    """The kind of geodatabase that a path names, whether or not it is there; else None."""
    suffix = path.suffix.lower()
    if suffix == Kind.FILE:
        return None if path.is_file() else Kind.FILE
    if suffix == Kind.MOBILE:
        return Kind.MOBILE
    if suffix == Kind.ZIPPED and path.is_file() and _inside(path) is not None:
        return Kind.ZIPPED
    return None


def is_geodatabase(path: Path) -> bool:
    """Whether a path names a geodatabase of any kind."""
    return kind_of(path) is not None


def _inside(path: Path) -> str | None:
    """The folder inside a .zip that is a geodatabase, the first one in the order of names."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return None
    found = set()
    for name in names:
        parts = PurePosixPath(name).parts
        ends = [i for i, part in enumerate(parts) if part.lower().endswith(Kind.FILE)]
        if ends:
            found.add("/".join(parts[: ends[0] + 1]))
    return min(found, default=None)


def gdal_name(path: Path) -> str:
    """What GDAL calls a file geodatabase. Raises SourceError where it cannot read it."""
    if path.suffix.lower() == Kind.ZIPPED:
        return f"/vsizip/{{{path.resolve().as_posix()}}}/{_inside(path) or ''}"
    if not path.is_dir():
        raise SourceError(f"{path}: there is no such geodatabase")
    packed = sorted(file.name for file in path.iterdir() if file.suffix.lower() in _COMPRESSED)
    if packed:
        raise SourceError(
            f"{path}: its tables are compressed ({packed[0]}), which only Esri's software reads. "
            "Uncompress it there (Uncompress File Geodatabase Data), or export it to a GeoPackage"
        )
    return str(path)


def refuse_writing(path: Path) -> None:
    """Raises SinkError where a geodatabase, as it stands now, may not be written to."""
    if kind_of(path) is Kind.ZIPPED:
        raise SinkError(
            f"{path} is zipped, so it can only be read. Unzip it first, or write to another file "
            "with --output out.gpkg"
        )
    if path.is_dir():
        locks = sorted(file.name for file in path.glob("*.lock"))
        if locks:
            raise SinkError(
                f"{path} is open in another program, which left {', '.join(locks[:3])} in it. "
                "Close it there (in ArcGIS, remove its layers from the map); if no program has it "
                "open, delete these files. Nothing was changed."
            )
        _refuse_wide_ids(path)


def refuse_output(path: Path, layout: str) -> None:
    """Raises ArgumentError where results cannot be appended to a geodatabase in this layout."""
    kind = kind_of(path)
    if kind is Kind.MOBILE and not path.exists():
        raise ArgumentError(
            f"--output {path}: there is no such file, and only Esri's software makes mobile "
            "geodatabases. Write to out.gpkg or out.gdb, or name one that is there and has the "
            "class"
        )
    if kind is not None and layout != "attach":
        raise ArgumentError(
            f"--output-layout {layout}: a geodatabase holds photos as attachments; leave it out, "
            "or write to a GeoPackage with --output out.gpkg"
        )


def _refuse_wide_ids(path: Path) -> None:
    """GDAL reads tables whose object ids have 64 bits, and writes none."""
    for table in sorted(path.glob("a*.gdbtable")):
        with table.open("rb") as file:
            if int.from_bytes(file.read(4), "little") == 4:
                raise SinkError(
                    f"{path}: {table.name} has object ids of 64 bits, which GDAL cannot write. "
                    "Write to a GeoPackage with --output out.gpkg"
                )
