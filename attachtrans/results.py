"""What a call of `attachtrans.ia` gives back: a raster, a folder or a feature class of results."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from attachtrans.errors import ArgumentError, OutputExistsError, SinkError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from attachtrans.report import Report

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(ABC):
    """What became of a call; as text it is its output.

    path    the file or folder that holds the results
    report  what became of each raster or photo
    """

    path: Path
    report: Report

    def __str__(self) -> str:
        return str(self.path)

    def save(self, path: PathLike) -> None:
        """Copy the results to another path; nothing there is ever replaced.

        Raises:
            OutputExistsError: something is there already.
            ArgumentError: the path's ending does not suit what is copied.
            SinkError: the copy cannot be written.
        """
        target = Path(path)
        if target.exists():
            raise OutputExistsError(f"save({target}): it is there already; choose another name")
        if not target.absolute().parent.is_dir():
            raise SinkError(f"save({target}): there is no folder {target.parent}; make it first")
        self._copy(target)

    @abstractmethod
    def _copy(self, target: Path) -> None: ...

    def to_array(self) -> NDArray[np.generic]:
        """(bands, height, width) of a single raster, as stored.

        Raises:
            ArgumentError: there are several results, or it takes more than half of this machine's
                memory.
            SourceError: the raster is gone or damaged.
        """
        raise ArgumentError(
            f"to_array(): the results in {self.path} are not one raster; open the one you want"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterResult(Result):
    """One raster, a GeoTIFF. Without `out_translated_folder` it goes when the program ends."""

    def _copy(self, target: Path) -> None:
        from attachtrans.stores.raster.copying import copy_raster

        copy_raster(self.path, target)

    def to_array(self) -> NDArray[np.generic]:
        """See `Result`. Which pixels have no data is in the file: a mask, or its nodata value."""
        from attachtrans.hosting.function import half_the_memory_bytes
        from attachtrans.stores.raster import open_raster

        with open_raster(self.path) as image:
            width, height = image.size
            nbytes = image.bands * width * height * image.dtype.itemsize
            if nbytes > half_the_memory_bytes():
                raise ArgumentError(
                    f"to_array(): {image.bands} bands of {width} x {height} pixels take "
                    f"{nbytes / 1e9:.1f} GB, more than half of this machine's memory; read windows "
                    f"of {self.path}, with rasterio for example"
                )
            return image.read()


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderResult(Result):
    """A folder with a result for each raster or photo."""

    def _copy(self, target: Path) -> None:
        if target.resolve().is_relative_to(self.path.resolve()):
            raise ArgumentError(f"save({target}): that is inside of {self.path} itself")
        _copy_folder(self.path, target)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureClassResult(Result):
    """A feature class with photos; as text "OUT.gpkg:layer" where that is known.

    `save` copies all of its database.
    """

    def __str__(self) -> str:
        return self.report.output

    def _copy(self, target: Path) -> None:
        from attachtrans.stores.backup import BlobBackup
        from attachtrans.stores.catalog import inspect
        from attachtrans.stores.layouts.base import LayoutName
        from attachtrans.tool.sources import readable

        ending = self.path.suffix.lower()
        if any(table.layout is LayoutName.PATH for table in inspect(readable(self.path)).tables):
            raise ArgumentError(
                f"save({target}): photos of {self.path} are files beside it, which a copy of it "
                "alone would leave behind; copy the folder"
            )
        if target.suffix.lower() != ending:
            raise ArgumentError(f"save({target}): the result is {self.path.name}; name it {ending}")
        if self.path.is_dir():
            _copy_folder(self.path, target)
            return
        try:
            BlobBackup.make(self.path, target).close()
        except SinkError as error:
            raise SinkError(f"save({target}): {error.__cause__ or error}") from error


def _copy_folder(source: Path, target: Path) -> None:
    """Copy a folder; only a complete copy bears the target's name."""
    from attachtrans.stores.durable import temporary_for

    made = temporary_for(target)
    shutil.rmtree(made, ignore_errors=True)
    try:
        shutil.copytree(source, made)
        made.rename(target)
    except OSError as error:
        shutil.rmtree(made, ignore_errors=True)
        raise SinkError(f"save({target}): {error}") from error
