"""CSV: one record a row, by the names in the header; quoted fields may hold line ends."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from collectors.formats.contract import Decoder, Item, Record, whole
from collectors.formats.framing import MAX_LINE, TOO_LONG, Encoding, Framing
from collectors.inputs.record import MAX_RAW, Row, Unreadable
from collectors.mapping import CsvFormat as Dialect

MAX_HEADER = 32 * 1024
"""Characters of a header, since a saved position holds its names."""
MAX_FIELD = 128 * 1024
"""Characters; the csv module's own bound on a field, and ours on a row of several lines: an open quote swallows no file."""
_UNENDED = "unexpected end of data"


class CsvFormat(Dialect):
    """As `collectors.mapping.CsvFormat`, with the encoding. Rows that have not as many fields as the header are unreadable: a
    torn row is never taken for a whole one. Every message has a header of its own, or ``header: false``."""

    encoding: Encoding = "utf-8"

    def decoder(self, offset: int = 0, line: int = 1, state: Mapping[str, Any] | None = None) -> Decoder:
        return CsvDecoder(self, offset, line, state)

    def message(self, body: bytes, headers: Mapping[str, str]) -> list[Item]:  # noqa: ARG002  (the contract's)
        return whole(CsvDecoder(self, ended=True), body)


class CsvDecoder(Framing):
    """``columns``: names of the fields, None before the header. ``fault``: what is wrong with the header; then no row is
    readable."""

    def __init__(
        self,
        layout: CsvFormat,
        offset: int = 0,
        line: int = 1,
        state: Mapping[str, Any] | None = None,
        *,
        ended: bool = False,
    ) -> None:
        super().__init__(layout.encoding, offset, line, state, ended=ended)
        state = state or {}
        self._layout = layout
        self.columns: tuple[str, ...] | None = None if layout.header else layout.fields
        if state.get("columns"):
            self.columns = tuple(state["columns"])
        self.fault = str(state.get("fault", ""))
        self._given = _Lines()
        self._reader = csv.reader(self._given, delimiter=layout.delimiter or ",", quotechar=layout.quote, strict=True)
        self._open: _OpenRow | None = None

    def state(self) -> dict[str, Any]:
        state = super().state()
        if self._layout.header and self.columns is not None:
            state["columns"] = list(self.columns)
        if self.fault:
            state["fault"] = self.fault
        return state

    def _behind(self) -> int:
        return self._line if self._open is None else self._open.number

    def close(self) -> list[Record]:
        records = super().close()
        row, self._open = self._open, None
        if row is not None:
            records.append(self._record(row, f"not CSV: {_UNENDED}", ""))
        return records

    def _take_all(self, lines: list[bytes], records: list[Record]) -> None:
        # Rows of one line that are as they should be, which nearly all are; the rest goes the long way.
        for line in lines:
            columns = self.columns
            if self._open is not None or columns is None or len(columns) < 2 or len(line) > MAX_LINE:
                self._take(line, len(line), len(self._end), records)
                continue
            try:
                self._given.lines = iter((line.decode(self._encoding) + "\n",))
                found = next(self._reader)
            except (csv.Error, UnicodeError):
                found = []
            if len(found) != len(columns):
                self._take(line, len(line), len(self._end), records)
                continue
            begin, number = self._offset, self._line
            self._offset = end = begin + len(line) + len(self._end)
            self._line = number + 1
            row = Row(number, dict(zip(columns, found, strict=True)), line + self._end)
            records.append(Record(begin, end, number, (row,)))

    def _taken(self, line: bytes, begin: int, end: int, number: int, fault: str, records: list[Record]) -> None:
        raw = line + self._end if end - begin == len(line) + len(self._end) else line
        try:
            text, known = line.decode(self._encoding) + "\n", True
        except UnicodeError:
            text, known = line.decode(self._encoding, "replace") + "\n", False
        row = self._open
        if row is None:
            row = _OpenRow(begin, number)
        row.add(text, raw, end, known)
        found = fault if fault == TOO_LONG else self._values(row.lines) if len(row.lines) == 1 else self._continued(row)
        self._open = row if found is None else None
        if found is not None:
            records.append(self._record(row, found, fault))

    def _values(self, lines: Iterable[str]) -> list[str] | str | None:
        """A row's values, or what is wrong with it; None where a quote is still open."""
        self._given.lines = iter(lines)
        try:
            return next(self._reader)
        except csv.Error as error:
            told = str(error)
            return None if told == _UNENDED else f"not CSV: {told}"

    def _continued(self, row: _OpenRow) -> list[str] | str | None:
        """As `_values`, of a row whose quote was open before its last line: only that is looked at while it stays so."""
        if row.size > MAX_FIELD:
            return f"not CSV: field larger than field limit ({MAX_FIELD})"
        quote, last = self._layout.quote, row.lines[-1]
        if quote not in last or self._values([quote + last]) is None:
            return None
        return self._values(row.lines)

    def _record(self, row: _OpenRow, found: list[str] | str, fault: str) -> Record:
        reason = fault
        if not row.known:
            reason = f"bytes that are not {self._encoding}"
        if isinstance(found, str):
            reason, found = found, []
        elif row.known and not "".join(found).strip() and len(found) < 2:
            return Record(row.begin, row.end, row.number, ())
        columns = self.columns
        if columns is None:
            reason = self.fault or self._head(found, reason)
            items: tuple[Item, ...] = (self._unreadable(row, reason),) if reason else ()
        elif reason or len(found) != len(columns):
            items = (self._unreadable(row, reason or f"{len(found)} fields where {len(columns)} are expected"),)
        else:
            items = (Row(row.number, dict(zip(columns, found, strict=True)), b"".join(row.raws)),)
        return Record(row.begin, row.end, row.number, items)

    def _head(self, found: list[str], reason: str) -> str:
        """Reads the header, or says what is wrong with it."""
        names, given = tuple(name.strip() for name in found), self._layout.fields
        double = [name for name in names if names.count(name) > 1] if len(names) <= 10_000 else []
        if reason:
            self.fault = f"the header cannot be read: {reason}"
        elif len(names) + sum(map(len, names)) > MAX_HEADER:
            self.fault = f"the header is longer than {MAX_HEADER} characters"
        elif double:
            self.fault = f"the header names {double[0]!r} twice"
        elif given is not None and len(given) != len(names):
            self.fault = f"the header has {len(names)} columns, the mapping names {len(given)}"
        else:
            self.columns = given or names
        return self.fault

    @staticmethod
    def _unreadable(row: _OpenRow, reason: str) -> Unreadable:
        told = "".join(char if char.isprintable() else "?" for char in reason)
        return Unreadable(row.number, told, b"".join(row.raws)[:MAX_RAW])


class _Lines:
    """What the csv module reads from: lines that are given to it row by row."""

    lines: Iterator[str] = iter(())

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        return next(self.lines)


class _OpenRow:
    """Lines that are one row as far as they came."""

    __slots__ = ("begin", "end", "known", "lines", "number", "raws", "size")

    def __init__(self, begin: int, number: int) -> None:
        self.begin, self.end, self.number = begin, begin, number
        self.lines: list[str] = []
        self.raws: list[bytes] = []
        self.size = 0
        self.known = True

    def add(self, text: str, raw: bytes, end: int, known: bool) -> None:
        self.lines.append(text)
        self.raws.append(raw)
        self.size += len(text)
        self.end = end
        self.known = self.known and known
