"""The errors that attachtrans raises, as a tree.

    AttachtransError
    ├─ ArgumentError(ValueError)      a parameter or a combination that is not allowed
    ├─ SourceError(OSError)           an input that cannot be opened or read
    │  └─ LayoutError                 no photos found in it
    ├─ ImageError                     one photo's bytes cannot be decoded or encoded
    ├─ ModelError                     a model definition or its weights are wrong
    │  └─ UntrustedModelError         loading it would run code from the package
    ├─ InferenceError                 a net failed on one photo (NaN, wrong output size)
    │  └─ NoMemoryError               memory ran out, with the smallest tiles that were tried
    ├─ GeorefError                    pixel and map coordinates cannot be related
    │  ├─ HorizonError
    │  └─ CrsError
    └─ SinkError                      results cannot be written
       ├─ OutputExistsError
       ├─ SchemaError
       ├─ BusyError                   another program or another run holds the data
       └─ ChangedError                somebody else changed this photo during the run

A message says what is wrong, where, and what to do about it; it names the parameter or the flag.
`ImageError`, `InferenceError`, `GeorefError` and `ChangedError` concern one photo and become an
`Outcome`; the others end the run.
"""


class AttachtransError(Exception):
    """Base of every error that attachtrans raises on purpose."""


class ArgumentError(AttachtransError, ValueError):
    """A parameter or a combination of parameters that is not allowed."""


class SourceError(AttachtransError, OSError):
    """An input cannot be opened or read."""


class LayoutError(SourceError):
    """No photos were found in an input; says what was looked for."""


class ImageError(AttachtransError):
    """One photo's bytes cannot be decoded or encoded."""


class ModelError(AttachtransError):
    """A model definition or its weights are wrong."""


class UntrustedModelError(ModelError):
    """Loading the model would run code that comes with it."""


class InferenceError(AttachtransError):
    """A net failed on one photo."""


class NoMemoryError(InferenceError):
    """Memory ran out for one photo; for a part of a raster smaller tiles may still do."""


class GeorefError(AttachtransError):
    """Pixel and map coordinates of one image cannot be related."""


class HorizonError(GeorefError):
    """A ray does not meet the ground."""


class CrsError(GeorefError):
    """A coordinate reference system is missing or cannot be used."""


class SinkError(AttachtransError):
    """Results cannot be written."""


class OutputExistsError(SinkError):
    """The output is there already and would be replaced."""


class SchemaError(SinkError):
    """An existing output class does not fit; names the difference."""


class BusyError(SinkError):
    """Another program or another run of attachtrans holds the data."""


class ChangedError(SinkError):
    """Somebody else changed this photo while it was being translated."""
