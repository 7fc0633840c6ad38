"""The parameters that a raster function declares, and the values that it is given.

Values travel as text, as ArcGIS has it; what a user gives is checked here against the declared
type and domain, so that a script need not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from attachtrans.errors import ArgumentError, ModelError

Kind = Literal["raster", "rasters", "text", "boolean", "whole", "number"]

_KINDS: dict[str, Kind] = {
    "raster": "raster",
    "rasters": "rasters",
    "numeric": "number",
    "gpdouble": "number",
    "gpfloat": "number",
    "gplong": "whole",
    "long": "whole",
    "boolean": "boolean",
    "gpboolean": "boolean",
}
"""Kinds by dataType in small letters; anything else is text (string, GPString, ...)."""

_OURS = ("model", "device")
"""Parameters that the host gives a value: the definition's path, the device's number."""

_TRUE, _FALSE = {"true", "t", "yes", "y", "1", "on"}, {"false", "f", "no", "n", "0", "off", ""}
_IN_WORDS: dict[Kind, str] = {
    "raster": "an image file",
    "rasters": "image files, with ; between them",
    "text": "text",
    "boolean": "true or false",
    "whole": "a whole number",
    "number": "a number",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter as `getParameterInfo` declares it.

    default     None where it declares none
    domain      the values that are allowed; None = any of its kind
    """

    name: str
    kind: Kind
    default: str | None
    required: bool
    domain: tuple[str, ...] | None
    description: str

    @property
    def takes(self) -> str:
        """What may be given, in words."""
        return _IN_WORDS[self.kind] if self.domain is None else " or ".join(self.domain)

    @property
    def is_raster(self) -> bool:
        """Whether it takes images."""
        return self.kind in {"raster", "rasters"}

    @property
    def is_free(self) -> bool:
        """Whether a user may give it a value."""
        return self.name not in _OURS

    @property
    def example(self) -> str:
        """A value that is allowed."""
        if self.domain is not None:
            return self.domain[0]
        return {"whole": "1", "number": "1", "boolean": "false"}.get(self.kind, "")

    def checked(self, value: str) -> str:
        """A user's value as the script gets it.

        Raises:
            ArgumentError: it is of another type, or outside the domain.
        """
        text = value.strip()
        if self.domain is not None:
            for allowed in self.domain:
                if _same(text, allowed):
                    return allowed
        elif self.kind == "text":
            return value
        elif self.kind == "boolean" and text.casefold() in _TRUE | _FALSE:
            return "true" if text.casefold() in _TRUE else "false"
        elif self.kind in {"whole", "number"}:
            number = _number(text)
            if number is not None and (self.kind == "number" or number == int(number)):
                return text
        raise ArgumentError(
            f'-a {self.name}={value} is not allowed: "{self.name}" takes {self.takes}.'
        )


def read_parameters(rows: object) -> tuple[Parameter, ...]:
    """The parameters that a worker lists.

    Raises:
        ModelError: it is no list of parameters, or none of them is a raster.
    """
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ModelError(f"getParameterInfo gave {rows!r:.80}: it must give a list of dicts.")
    parameters = tuple(_parameter(row) for row in rows)
    if not any(parameter.is_raster for parameter in parameters):
        raise ModelError(
            "getParameterInfo lists no parameter of the dataType raster, so there is nothing to "
            "give a photo to."
        )
    return parameters


def scalars(parameters: Sequence[Parameter], given: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The value of every free parameter that is no raster: as given, else its default, else "".

    parameters  with a raster among them
    given       names and values of a user, each name once

    Raises:
        ArgumentError: a name that is not declared, a value that is not allowed, or a required
            value that is missing.
    """
    photo = next(p for p in parameters if p.is_raster)
    free = {p.name: p for p in parameters if p.is_free and not p.is_raster}
    values: dict[str, str] = {}
    chosen: dict[str, str] = {}
    for name, value in given:
        if name not in free:
            known = ", ".join(p.name for p in parameters if p.is_free and p is not photo)
            raise ArgumentError(
                f'This function takes no argument "{name}". It takes: {known or "none"} '
                "(-a NAME=VALUE)."
            )
        chosen[name] = free[name].checked(value)
    for name, parameter in free.items():
        if name in chosen or parameter.default is not None:
            values[name] = chosen.get(name, parameter.default or "")
        elif parameter.required:
            raise ArgumentError(
                f'This function needs the argument "{name}", {parameter.takes}: -a {name}=VALUE. '
                f"{parameter.description}".rstrip()
            )
        else:
            values[name] = ""
    return values


def _parameter(row: Mapping[str, Any]) -> Parameter:
    name = row.get("name")
    if not isinstance(name, str) or not name:
        raise ModelError(f"getParameterInfo lists a parameter without a name: {row!r:.80}.")
    kind = _KINDS.get(str(row.get("dataType", "")).casefold(), "text")
    domain = row.get("domain")
    texts = tuple(_text(entry) for entry in domain) if isinstance(domain, list) else ()
    return Parameter(
        name=name,
        kind=kind,
        default=None if row.get("value") is None else _text(row["value"]),
        required=bool(row.get("required")),
        domain=texts or None,
        description=" ".join(str(row.get("description") or row.get("displayName") or "").split()),
    )


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _same(text: str, allowed: str) -> bool:
    number = _number(text)
    if number is not None:
        return number == _number(allowed)
    return text.casefold() == allowed.strip().casefold()


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
