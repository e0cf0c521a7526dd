"""CSV files: one record a row, by the names in the header."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from collectors.inputs.record import Row, Unreadable
from collectors.inputs.text_file import TextFile, undecodable
from collectors.mapping import CsvFormat
from schemas.errors import Invalid


class _TooLong(Exception):  # noqa: N818  (never leaves this module)
    pass


class _Lines:
    """What the csv module reads from; remembers the lines since the last record, to keep them as they stood."""

    def __init__(self, file: TextFile):
        self._file = file
        self.taken: list[str] = []
        self.first = 1

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._file.next()
        if line is None:
            raise StopIteration
        self.taken.append(line.text)
        if not line.whole:
            raise _TooLong
        return line.text

    def start(self) -> None:
        self.taken.clear()
        self.first = self._file.number + 1


class CsvInput:
    """Reads a CSV file, plain or gzipped. Rows that have not as many fields as the header are unreadable: a torn row is
    never taken for a whole one."""

    def __init__(self, path: Path, dialect: CsvFormat | None = None, encoding: str = "utf-8"):
        """Raises ``Invalid`` where the file cannot be read or its header makes no sense."""
        dialect = dialect or CsvFormat()
        self.name = str(path)
        self._file = TextFile(path, encoding)
        self.drawn = self._file.written
        self._lines = _Lines(self._file)
        tab = path.name.lower().removesuffix(".gz").endswith(".tsv")
        delimiter = dialect.delimiter or ("\t" if tab else ",")
        # The module's own bound on a field (128 Ki characters) stays: an open quote cannot swallow the file.
        self._reader = csv.reader(self._lines, delimiter=delimiter, quotechar=dialect.quote, strict=True)
        header = self._header() if dialect.header else dialect.fields
        self.columns: tuple[str, ...] = dialect.fields or header or ()
        if dialect.header and dialect.fields and len(dialect.fields) != len(header or ()):
            reason = f"the header has {len(header or ())} columns, the mapping names {len(dialect.fields)}"
            raise Invalid(reason, file=self.name, line=1)

    def _header(self) -> tuple[str, ...]:
        try:
            names = tuple(name.strip() for name in next(self._reader))
        except StopIteration:
            raise Invalid("the file is empty; the first line has to name the columns", file=self.name) from None
        except (csv.Error, _TooLong) as error:
            raise Invalid(f"the header cannot be read: {error or 'too long'}", file=self.name, line=1) from None
        double = {name for name in names if names.count(name) > 1}
        if double:
            raise Invalid(f"the header names {sorted(double)[0]!r} twice", file=self.name, line=1)
        return names

    def __iter__(self) -> Iterator[Row | Unreadable]:
        width = len(self.columns)
        while True:
            self._lines.start()
            try:
                values = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield self._unreadable(f"not CSV: {error}")
                continue
            except _TooLong:
                yield self._unreadable("the line is too long")
                continue
            if not values:
                continue
            raw = "".join(self._lines.taken)
            if len(values) != width:
                yield self._unreadable(f"{len(values)} fields where {width} are expected")
            elif undecodable(raw):
                yield self._unreadable(f"bytes that are not {self._file.encoding.removesuffix('-sig')}")
            else:
                yield Row(self._lines.first, dict(zip(self.columns, values, strict=True)), self._file.raw(raw))

    def _unreadable(self, reason: str) -> Unreadable:
        return Unreadable(self._lines.first, reason, self._file.raw("".join(self._lines.taken)))

    def close(self) -> None:
        self._file.close()
