"""The directories (IFDs) of TIFF files and EXIF blocks: read, and edited without moving the rest.

Source: TIFF 6.0, section 2; BigTIFF (libtiff.gitlab.io/libtiff/specification/bigtiff.html).

An edit overwrites a value where it lies, or writes a changed directory at the end of the block and
points to it. All other bytes stay at their offsets. That matters: MakerNotes hold offsets that
count from the start of the block, and nobody but their maker knows which of their bytes they are.
Entries that are not edited are copied as raw bytes, so that damaged ones survive as they are.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeAlias

from attachtrans.errors import ImageError

SHORT, LONG, RATIONAL, UNDEFINED, ASCII, BYTE, DOUBLE = 3, 4, 5, 7, 2, 1, 12
IFD_POINTER = 13

# Bytes per value of each type, and the struct letter for those that are plain numbers.
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TYPE_BYTES |= {16: 8, 17: 8, 18: 8}
_LETTERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I"}
_LETTERS |= {16: "Q", 17: "q", 18: "Q"}

Value: TypeAlias = tuple[int | float | Fraction, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of a directory: `count` values of `kind`, in `nbytes` bytes at `at`."""

    tag: int
    kind: int
    count: int
    at: int
    nbytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A value to be written: count values of a type, encoded in the block's byte order."""

    kind: int
    count: int
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Ifd:
    """A directory at `at`. `link` is where the offset that leads to it is written.

    `next` is the offset of the following directory, 0 for none.
    """

    at: int
    link: int
    nbytes: int
    entries: Mapping[int, Entry]
    next: int


class Block:
    """A TIFF structure in memory: `data` is edited in place.

    Raises ImageError when it has no TIFF header.
    """

    __slots__ = ("big", "data", "order")

    def __init__(self, data: bytes | bytearray) -> None:
        self.data = bytearray(data)
        orders: dict[bytes, Literal["<", ">"]] = {b"II": "<", b"MM": ">"}
        order = orders.get(bytes(self.data[:2]))
        if order is None or len(self.data) < 8:
            raise ImageError("the TIFF header is damaged: it starts neither with II nor with MM")
        self.order: Literal["<", ">"] = order
        magic = self._unpack("H", 2)[0]
        if magic not in {42, 43}:
            raise ImageError(f"the TIFF header is damaged: 42 or 43 expected, {magic} found")
        self.big = magic == 43

    def _unpack(self, letters: str, at: int) -> tuple[int, ...]:
        try:
            return struct.unpack_from(self.order + letters, self.data, at)
        except struct.error as error:
            raise ImageError(f"the TIFF structure is cut off at byte {at}") from error

    @property
    def _offset_letter(self) -> str:
        return "Q" if self.big else "I"

    @property
    def _offset_bytes(self) -> int:
        return 8 if self.big else 4

    def first(self) -> Ifd:
        """The first directory. Raises ImageError when it is cut off."""
        return self.directory(8 if self.big else 4)

    def directory(self, link: int) -> Ifd:
        """The directory whose offset is written at `link`. Raises ImageError when it is cut off.

        Entries of unknown type, or whose value lies outside, are left out of `entries`.
        """
        at = self._unpack(self._offset_letter, link)[0]
        count = self._unpack("Q" if self.big else "H", at)[0]
        head, size = (8, 20) if self.big else (2, 12)
        end = at + head + count * size
        if end > len(self.data):
            raise ImageError(f"the TIFF directory at byte {at} is cut off")
        # Some cameras leave out the offset of the next directory when the block ends there.
        self.data += bytes(max(0, end + self._offset_bytes - len(self.data)))
        following = self._unpack(self._offset_letter, end)[0]
        entries: dict[int, Entry] = {}
        for start in range(at + head, end, size):
            entry = self._entry(start, size)
            if entry is not None:
                entries.setdefault(entry.tag, entry)
        nbytes = end + self._offset_bytes - at
        return Ifd(at=at, link=link, nbytes=nbytes, entries=entries, next=following)

    def _entry(self, start: int, size: int) -> Entry | None:
        tag, kind, count = self._unpack("HHQ" if self.big else "HHI", start)
        nbytes = count * _TYPE_BYTES.get(kind, 0)
        inline = start + size - self._offset_bytes
        at = inline
        if nbytes > self._offset_bytes:
            at = self._unpack(self._offset_letter, inline)[0]
        if nbytes == 0 or at + nbytes > len(self.data):
            return None
        return Entry(tag=tag, kind=kind, count=count, at=at, nbytes=nbytes)

    def child(self, parent: Ifd, tag: int) -> Ifd | None:
        """The directory that an entry of `parent` points to; None without it or when damaged."""
        entry = parent.entries.get(tag)
        if entry is None or entry.nbytes != self._offset_bytes:
            return None
        return self._tolerant(entry.at)

    def following(self, ifd: Ifd) -> Ifd | None:
        """The directory after `ifd` in its chain; None without one or when damaged."""
        if ifd.next == 0:
            return None
        return self._tolerant(ifd.at + ifd.nbytes - self._offset_bytes)

    def _tolerant(self, link: int) -> Ifd | None:
        try:
            return self.directory(link)
        except ImageError:
            return None

    def bytes_of(self, entry: Entry) -> bytes:
        """The encoded value."""
        return bytes(self.data[entry.at : entry.at + entry.nbytes])

    def text(self, ifd: Ifd | None, tag: int) -> str:
        """An ASCII value up to its NUL, "" without one."""
        entry = None if ifd is None else ifd.entries.get(tag)
        if entry is None:
            return ""
        return self.bytes_of(entry).split(b"\0")[0].decode("utf-8", "replace")

    def numbers(self, ifd: Ifd | None, tag: int) -> Value:
        """A numeric value, () without one; rationals with denominator 0 are left out."""
        entry = None if ifd is None else ifd.entries.get(tag)
        if entry is None:
            return ()
        if entry.kind in {5, 10}:
            letter = "I" if entry.kind == RATIONAL else "i"
            flat = self._unpack(f"{2 * entry.count}{letter}", entry.at)
            pairs = zip(flat[::2], flat[1::2], strict=True)
            return tuple(Fraction(top, bottom) for top, bottom in pairs if bottom)
        if entry.kind not in _LETTERS:
            return ()
        return self._unpack(f"{entry.count}{_LETTERS[entry.kind]}", entry.at)

    def integers(self, ifd: Ifd | None, tag: int) -> tuple[int, ...]:
        """`numbers` as integers."""
        return tuple(int(value) for value in self.numbers(ifd, tag))

    def field(self, kind: int, values: Sequence[int | float]) -> Field:
        """Encode plain numbers (types with one number per value) for this block."""
        payload = struct.pack(f"{self.order}{len(values)}{_LETTERS[kind]}", *values)
        return Field(kind=kind, count=len(values), payload=payload)

    def offsets(self, values: Sequence[int]) -> Field:
        """Encode offsets or byte counts: 32 bits wide, 64 in BigTIFF."""
        return self.field(16 if self.big else LONG, values)

    def rationals(self, values: Sequence[Fraction]) -> Field:
        """Encode unsigned rationals, rounded to what 32 bits over 32 bits hold."""
        pairs = [part for value in values for part in _as_pair(value)]
        payload = struct.pack(f"{self.order}{len(pairs)}I", *pairs)
        return Field(kind=RATIONAL, count=len(values), payload=payload)

    def set_unsigned(self, ifd: Ifd, tag: int, values: Sequence[int]) -> None:
        """Overwrite unsigned integers where they lie; nothing happens when the tag is absent.

        A SHORT that becomes too small is widened to LONG, which only fits when it stands alone.
        Raises ImageError for another count, type or for values that do not fit.
        """
        entry = ifd.entries.get(tag)
        if entry is None:
            return
        kind = entry.kind
        if kind == SHORT and max(values) > 0xFFFF and entry.count == 1:
            kind = LONG
            # An inline value follows its tag, type and count; the type is widened with it.
            start = entry.at - (12 if self.big else 8)
            self.data[start + 2 : start + 4] = struct.pack(self.order + "H", LONG)
        largest = {SHORT: 0xFFFF, LONG: 0xFFFFFFFF}.get(kind, -1)
        if len(values) != entry.count or max(values) > largest:
            raise ImageError(f"the EXIF tag 0x{tag:04x} cannot hold {list(values)}")
        payload = self.field(kind, values).payload
        self.data[entry.at : entry.at + len(payload)] = payload

    def set_rational(self, ifd: Ifd, tag: int, value: Fraction) -> None:
        """Overwrite one unsigned rational where it lies."""
        entry = ifd.entries[tag]
        self.data[entry.at : entry.at + 8] = self.rationals([value]).payload

    def point(self, link: int, at: int) -> None:
        """Write the offset `at` where a link to a directory lies."""
        struct.pack_into(self.order + self._offset_letter, self.data, link, at)

    def append(self, payload: bytes) -> int:
        """Put bytes at the end, on an even offset (TIFF 6.0 wants word alignment); their offset."""
        if len(self.data) % 2:
            self.data.append(0)
        at = len(self.data)
        self.data += payload
        if not self.big and len(self.data) > 0xFFFFFFFF:
            raise ImageError("the result exceeds the 4 GiB of a TIFF file")
        return at

    def rewrite(
        self, ifd: Ifd, *, put: Mapping[int, Field], drop: frozenset[int] = frozenset()
    ) -> Ifd:
        """Write a changed directory at the end of the block, and turn the old one into zeros.

        `put` adds or replaces entries, `drop` leaves them out; all others stay byte for byte.
        """
        head, size = (8, 20) if self.big else (2, 12)
        body = self.data[ifd.at + head : ifd.at + ifd.nbytes - self._offset_bytes]
        raw = [bytes(body[start : start + size]) for start in range(0, len(body), size)]
        tag_of = struct.Struct(self.order + "H").unpack_from
        kept = [entry for entry in raw if tag_of(entry)[0] not in drop | put.keys()]
        kept += [self._raw_entry(tag, field) for tag, field in put.items()]
        kept.sort(key=tag_of)
        self.data[ifd.at : ifd.at + ifd.nbytes] = bytes(ifd.nbytes)
        count = struct.pack(self.order + ("Q" if self.big else "H"), len(kept))
        following = struct.pack(self.order + self._offset_letter, ifd.next)
        at = self.append(count + b"".join(kept) + following)
        self.point(ifd.link, at)
        return self.directory(ifd.link)

    def _raw_entry(self, tag: int, field: Field) -> bytes:
        payload = field.payload
        if len(payload) > self._offset_bytes:
            at = self.append(payload)
            payload = struct.pack(self.order + self._offset_letter, at)
        head = struct.pack(
            self.order + ("HHQ" if self.big else "HHI"), tag, field.kind, field.count
        )
        return head + payload.ljust(self._offset_bytes, b"\0")


def empty(order: str = "<") -> Block:
    """A block with one directory without entries, in the byte order "<" or ">"."""
    mark = b"II" if order == "<" else b"MM"
    return Block(mark + struct.pack(f"{order}HIHI", 42, 8, 0, 0))


def _as_pair(value: Fraction) -> tuple[int, int]:
    limit = 0xFFFFFFFF
    if value.denominator > limit or value.numerator > limit:
        # What is beyond 32 bits means "infinite", and stays it.
        value = min(value, Fraction(limit))
        # The denominator that keeps the numerator in 32 bits, too.
        ceiling = min(limit, int(limit / max(value, Fraction(1))))
        value = value.limit_denominator(max(1, ceiling - 1))
    return value.numerator, value.denominator
