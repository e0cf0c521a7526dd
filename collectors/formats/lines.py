"""Lines: a record is a line, or several of them, for every format whose records are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from collectors.formats.contract import Decoder, Item, Record, whole
from collectors.formats.framing import MAX_LINE, TOO_LONG, TORN, Encoding, Framing
from collectors.formats.multiline import Group, Multiline
from collectors.inputs.record import MAX_RAW, Unreadable
from collectors.words import several

Texts = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(several), Field(max_length=100)]


class LineFormat(BaseModel):
    """A format whose records are lines. A subclass says what a record's text is.

    ``contains``: texts of which a record has one, or it says nothing, as most lines of a log; asked before it is read, and much
    cheaper.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Whether a record that was cut short cannot be taken for a whole one, as JSON cannot: then a last line needs no end.
    self_ending: ClassVar[bool] = False

    encoding: Encoding = "utf-8"
    multiline: Multiline | None = None
    contains: Texts = ()

    @abstractmethod
    def items(self, text: str, raw: bytes, line: int) -> tuple[Item, ...]:
        """What a record says. ``text``: without the end of its last line, not blank; ``raw``: the same as it stood."""

    def decoder(self, offset: int = 0, line: int = 1, state: Mapping[str, Any] | None = None) -> Decoder:
        return LineDecoder(self, offset, line, state, ended=self.self_ending)

    def message(self, body: bytes, headers: Mapping[str, str]) -> list[Item]:  # noqa: ARG002  (the contract's)
        return whole(LineDecoder(self, ended=True), body)


class LineDecoder(Framing):
    """Hands each line, or each group of them, to its format. Holds at most one record, or its beginning."""

    def __init__(
        self,
        layout: LineFormat,
        offset: int = 0,
        line: int = 1,
        state: Mapping[str, Any] | None = None,
        *,
        ended: bool = False,
    ) -> None:
        super().__init__(layout.encoding, offset, line, state, ended=ended)
        self._items = layout.items
        self._contains = layout.contains
        self._multiline = layout.multiline
        self._group: Group | None = None

    def _behind(self) -> int:
        return self._line if self._group is None else self._group.number

    def close(self) -> list[Record]:
        records = super().close()
        if self._group is not None:
            records.append(self._grouped(self._group))
            self._group = None
        return records

    def _take_all(self, lines: list[bytes], records: list[Record]) -> None:
        # The common case without a call for each step: 1 µs a line less of 3.
        if self._multiline is not None:
            super()._take_all(lines, records)
            return
        offset, number, width, carriage = self._offset, self._line, len(self._end), self._return
        encoding, items_of, contains = self._encoding, self._items, self._contains
        for line in lines:
            begin, offset = offset, offset + len(line) + width
            raw = line.removesuffix(carriage)
            try:
                text = raw.decode(encoding) if len(line) <= MAX_LINE else None
            except UnicodeError:
                text = None
            if text is None:
                records.append(self._record(begin, offset, number, raw, TOO_LONG if len(line) > MAX_LINE else ""))
            else:
                says = text and not text.isspace() and (not contains or any(one in text for one in contains))
                items = items_of(text, raw, number) if says else ()
                records.append(Record(begin, offset, number, items))
            number += 1
        self._offset, self._line = offset, number

    def _taken(self, line: bytes, begin: int, end: int, number: int, fault: str, records: list[Record]) -> None:
        bounds, group = self._multiline, self._group
        if bounds is None:
            records.append(self._record(begin, end, number, line.removesuffix(self._return), fault))
        elif group is None or bounds.begins(self._utf8(line), fault):
            if group is not None:
                records.append(self._grouped(group))
            self._group = Group(begin, end, number, line, fault)
        else:
            group.add(line, end, fault, bounds)

    def _utf8(self, line: bytes) -> bytes:
        line = line.removesuffix(self._return)
        if self._encoding == "utf-8":
            return line
        return line.decode(self._encoding, "replace").encode("utf-8", "replace")

    def _grouped(self, group: Group) -> Record:
        raw = self._end.join(group.lines).removesuffix(self._return)
        return self._record(group.begin, group.end, group.number, raw, group.fault)

    def _record(self, begin: int, end: int, number: int, raw: bytes, fault: str) -> Record:
        if fault:
            blank = fault == TORN and not raw.strip()
            return Record(begin, end, number, () if blank else (Unreadable(number, fault, raw[:MAX_RAW]),))
        try:
            text = raw.decode(self._encoding)
        except UnicodeError:
            return Record(begin, end, number, (Unreadable(number, f"bytes that are not {self._encoding}", raw),))
        if not text or text.isspace():
            return Record(begin, end, number, ())
        if self._contains and not any(one in text for one in self._contains):
            return Record(begin, end, number, ())
        if self._group is not None:
            text = text.replace("\r\n", "\n")
        return Record(begin, end, number, self._items(text, raw, number))
