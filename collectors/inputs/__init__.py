"""Inputs: files and tables, each a stream of records with their places."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from collectors.inputs.record import Input, Row, Unreadable
from collectors.mapping import Mapping as EventMapping
from schemas.errors import Invalid

__all__ = ["Input", "Row", "Unreadable", "open_input"]

_FORMATS = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}


def open_input(
    source: str, mapping: EventMapping, clock: Callable[[], int], env: Mapping[str, str] | None = None
) -> Input:
    """Open what a person named: a CSV or JSON Lines file (both also gzipped), an SQLite file, or a SQLAlchemy URL.

    Raises:
        Invalid: it is none of these, or cannot be read.
        Unavailable: the database is away.
    """
    from sqlalchemy import URL

    from collectors.inputs.table import TableInput, is_sqlite

    if "://" in source:
        return TableInput(source, table=mapping.table, query=mapping.query, clock=clock, env=env)
    path = Path(source)
    if is_sqlite(path):
        url = URL.create("sqlite", database=str(path.absolute()))
        return TableInput(url, table=mapping.table, query=mapping.query, clock=clock, env=env)
    return _open_file(path, mapping)


def _open_file(path: Path, mapping: EventMapping) -> Input:
    from collectors.inputs.csv import CsvInput
    from collectors.inputs.jsonl import JsonlInput

    if not path.is_file():
        raise Invalid("there is no such file", file=str(path))
    kind = mapping.format or _FORMATS.get(Path(path.name.lower().removesuffix(".gz")).suffix)
    if kind == "csv":
        return CsvInput(path, mapping.csv, mapping.encoding)
    if kind == "jsonl":
        return JsonlInput(path, mapping.encoding)
    reason = "its name tells no format; write `format: csv` or `format: jsonl` into the mapping"
    raise Invalid(reason, file=str(path))
