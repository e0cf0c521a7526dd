"""Mappings as files: a mistake is refused with file, line and field."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from collectors.mapping import Mapping
from schemas.errors import Invalid
from schemas.yaml_file import Document, read_yaml


@dataclass(frozen=True, slots=True)
class MappingFile:
    """A mapping and where each of its declarations stands."""

    mapping: Mapping
    document: Document

    def mistake(self, reason: str, path: str) -> Invalid:
        """``path``: dotted, as ``events.0.keys.order``."""
        place = tuple(int(part) if part.isdigit() else part for part in path.split("."))
        return self.document.mistake(reason, place)

    def check_columns(self, columns: Iterable[str]) -> None:
        """Raises ``Invalid`` where the mapping reads a field that the source does not have."""
        known = set(columns)
        for name, path in self.mapping.fields():
            if name not in known and name.split(".")[0] not in known:
                there = ", ".join(sorted(known)[:40])
                raise self.mistake(f"the source has no field {name!r}; it has {there}", path)


def read_mapping(path: Path) -> MappingFile:
    """Raises ``Invalid`` with the first mistake, in the order of the file, and how many more there are."""
    document = read_yaml(path)
    mistakes = list(document.mistakes)
    if not isinstance(document.data, dict) or "mapping" not in document.data:
        raise document.mistake("is no mapping: it has no line `mapping: NAME`")
    try:
        mapping = Mapping.model_validate(document.data)
    except ValidationError as error:
        mistakes += document.faults(error)
    if mistakes:
        raise first_of(mistakes)
    return MappingFile(mapping, document)


def first_of(mistakes: list[Invalid]) -> Invalid:
    """The first in the order of the file, and how many more there are. What is missing comes last: it is often there under a
    misspelt name."""
    mistakes = _innermost(mistakes)
    mistakes.sort(key=lambda mistake: (mistake.reason == "is missing", mistake.line or 0))
    first = mistakes[0]
    more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
    return Invalid(first.reason + more, file=first.file, line=first.line, field=first.field)


def _innermost(mistakes: list[Invalid]) -> list[Invalid]:
    """Without those that only follow from one inside them: a list is called too short where its only item is bad."""
    fields = [mistake.field or "" for mistake in mistakes]
    return [one for one in mistakes if not any(field.startswith(f"{one.field}.") for field in fields)]
