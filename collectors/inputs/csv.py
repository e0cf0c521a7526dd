"""CSV files: one record a row, by the names in the header."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from collectors.formats.csv import CsvDecoder, CsvFormat
from collectors.inputs.text_file import TextFile, readable
from collectors.mapping import CsvFormat as Dialect
from schemas.errors import Invalid


class CsvInput(TextFile):
    """Reads a CSV file, plain or gzipped. The delimiter of a ``.tsv`` file is a tab where none is declared."""

    def __init__(self, path: Path, dialect: Dialect | None = None, encoding: str = "utf-8"):
        """Raises ``Invalid`` where the file cannot be read or its header makes no sense."""
        declared = dialect.model_dump() if dialect is not None else {}
        if declared.get("delimiter") is None and path.name.lower().removesuffix(".gz").endswith(".tsv"):
            declared["delimiter"] = "\t"
        decoder = CsvDecoder(CsvFormat(**declared, encoding=readable(encoding, path)), ended=True)
        super().__init__(path, decoder)
        read = self._read
        first = next(read, None) if decoder.columns is None else None
        if decoder.columns is None:
            self.close()
            reason = decoder.fault or "the file is empty; the first line has to name the columns"
            raise Invalid(reason, file=self.name, line=first.line if first is not None else None)
        self.columns = decoder.columns
        if first is not None:
            self._read = chain((first,), read)
