"""Rows: what a record of a mainframe file says, by its kind and by what stands above it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from collectors.formats.code_page import text_of_bytes
from collectors.formats.contract import Item
from collectors.formats.copybook_layout import Layout
from collectors.inputs.record import Row, Unreadable

ItemName = Annotated[str, Field(min_length=1, max_length=100)]


def _texts(value: Any) -> Any:
    """YAML reads 1 and true where a segment's value is meant."""
    if isinstance(value, dict):
        return {str(key): item for key, item in value.items()}
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else value


class Segments(BaseModel):
    """Records of several kinds in one file. ``field``: the item that says which, at the same place in all of them.

    ``values``: the group (or the record, where there are several) that a kind has; the other groups named here are not read of
    it. ``only``: kinds that are rows, others say nothing. ``levels``: kinds from the topmost down, as of companies and their
    contacts: rows have ``Seg_Id0`` and so on, the same for all that belong together, made of ``prefix`` and of the number of the
    topmost record. ``inherit``: rows have the fields of the records above them, under ``parents`` and the kind.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: ItemName
    values: Annotated[dict[str, ItemName], BeforeValidator(_texts)] = Field(default_factory=dict)
    only: Annotated[tuple[str, ...], BeforeValidator(_texts)] | None = None
    levels: Annotated[tuple[str, ...], BeforeValidator(_texts), Field(max_length=20)] = ()
    prefix: str = ""
    inherit: bool = False

    @model_validator(mode="after")
    def _coherent(self) -> Segments:
        if self.inherit and not self.levels:
            raise ValueError("inherit needs levels: [the kinds of records, from the topmost down]")
        if len(set(self.levels)) != len(self.levels):
            raise ValueError("a kind stands twice in levels")
        return self


class RowOptions(NamedTuple):
    """``longer``: a record may have more bytes than the copybook says. Else as for `CopybookFormat`."""

    code_page: str
    skip: int
    longer: bool
    record_id: bool
    segments: Segments | None


class RowReader:
    """Records to rows. Knows which records stand above: the number of the topmost, how many of each level came since, and the
    bytes of each, from which their fields are read again after a restart."""

    def __init__(self, layout: Layout, options: RowOptions, state: Mapping[str, Any]) -> None:
        self._layout, self._options, self._segments = layout, options, options.segments
        self.whole = layout.most + options.skip if layout.least == layout.most else None
        self.code_page = options.code_page
        self._place = self._layout.place(self._segments.field) if self._segments is not None else None
        self._top = int(state.get("top", -1))
        self._counts: list[int] = list(state.get("counts", ()))
        self._above: dict[str, bytes] = {kind: base64.b64decode(raw) for kind, raw in state.get("above", {}).items()}
        self._parents = {kind: self._fields(raw, kind) for kind, raw in self._above.items()}

    def state(self) -> dict[str, Any]:
        if self._top < 0:
            return {}
        above = {kind: base64.b64encode(raw).decode("ascii") for kind, raw in self._above.items()}
        return {"top": self._top, "counts": self._counts, **({"above": above} if above else {})}

    def items(self, data: bytes, number: int) -> tuple[Item, ...]:
        raw, data = data, data[self._options.skip :]
        kind = self._kind(data)
        segments = self._segments
        if segments is not None and segments.only is not None and kind not in segments.only:
            return ()
        if len(data) > self._layout.most and not self._options.longer:
            reason = f"a record of {len(data)} bytes, where the copybook has {self._layout.most}"
            return (Unreadable(number, reason, raw),)
        given: dict[str, Any] = {}
        if self._options.record_id:
            given = {"Record_Id": number - 1, "Record_Byte_Length": len(data)}
        given.update(self._levels(kind, data, number - 1))
        try:
            fields = self._fields(data, kind)
        except ValueError as error:
            return (Unreadable(number, str(error), raw),)
        return (Row(number, {**given, **fields}, raw),)

    def _kind(self, data: bytes) -> str | None:
        if self._place is None:
            return None
        at, field = self._place
        piece = data[at : at + field.size]
        if field.text:
            return text_of_bytes(piece, self._options.code_page).strip()
        try:
            return str(field.read(piece)) if len(piece) == field.size else ""
        except ValueError:
            return ""

    def _fields(self, data: bytes, kind: str | None) -> dict[str, Any]:
        values = self._segments.values if self._segments is not None else {}
        return self._layout.read(data, values.get(kind or "", "") if values else None)

    def _levels(self, kind: str | None, data: bytes, number: int) -> dict[str, Any]:
        """Which records this one belongs to, and what they say."""
        segments = self._segments
        if segments is None or not segments.levels:
            return {}
        level = segments.levels.index(kind) if kind in segments.levels else None
        if level is not None:
            self._enter(level, kind or "", data, number)
        if self._top < 0:
            return {}
        root = f"{segments.prefix}_{self._top}" if segments.prefix else str(self._top)
        depth = len(self._counts) if level is None else level + 1
        ids = {
            f"Seg_Id{n}": f"{root}_L{n}_{self._counts[n]}" if n else root for n in range(min(depth, len(self._counts)))
        }
        if not segments.inherit:
            return ids
        return {**ids, "parents": {name: self._parents[name] for name in self._parents if name != kind}}

    def _enter(self, level: int, kind: str, data: bytes, number: int) -> None:
        segments = self._segments
        assert segments is not None
        if level == 0:
            self._top, self._counts = number, [0]
        elif self._top >= 0:
            before = self._counts[level] if level < len(self._counts) else 0
            self._counts = [*self._counts[:level], *[0] * (level - len(self._counts)), before + 1]
        for below in segments.levels[level:]:
            self._above.pop(below, None)
            self._parents.pop(below, None)
        if segments.inherit and self._top >= 0:
            try:
                self._parents[kind] = self._fields(data, kind)
                self._above[kind] = data
            except ValueError:
                pass  # it is set aside itself, and those below it have no parent
