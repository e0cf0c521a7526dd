"""Collectors as files: input and format are found by their names, and a mistake is refused with file, line and field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from collectors.collector import Choice, Collector
from collectors.formats import FORMATS, MAKES_EVENTS
from collectors.formats.contract import Format
from collectors.inputs.live import INPUTS, InputSpec
from collectors.mapping_file import first_of
from schemas.errors import Invalid
from schemas.yaml_file import Document, read_yaml


@dataclass(frozen=True, slots=True)
class CollectorFile:
    """A collector, what its input and its format are, and where each of its declarations stands."""

    collector: Collector
    input: InputSpec
    format: Format
    document: Document
    path: Path

    @property
    def base(self) -> Path:
        """The folder from which relative paths count."""
        return self.path.absolute().parent

    @property
    def systems(self) -> tuple[str, ...]:
        """For whom it vouches."""
        if self.collector.vouch is not None:
            return self.collector.vouch
        return self.collector.systems() if getattr(self.input, "vouches", False) else ()

    def mistake(self, reason: str, path: str) -> Invalid:
        """``path``: dotted, as ``events.0.keys.order``."""
        place = tuple(int(part) if part.isdigit() else part for part in path.split("."))
        return self.document.mistake(reason, place)


def read_collector(path: Path) -> CollectorFile:
    """Raises ``Invalid`` with the first mistake, in the order of the file, and how many more there are."""
    document = read_yaml(path)
    data = document.data
    if not isinstance(data, dict) or "collector" not in data:
        raise document.mistake("is no collector: it has no line `collector: NAME`")
    mistakes = list(document.mistakes)
    collector: Collector | None = None
    try:
        collector = Collector.model_validate(data)
    except ValidationError as error:
        mistakes += document.faults(error, words=Collector.model_fields)
    chosen: dict[str, Any] = {}
    for word, table in (("input", INPUTS), ("format", FORMATS)):
        choice = _choice(data, word) if collector is None else getattr(collector, word)
        if choice is not None:
            chosen[word] = _chosen(choice, table, word, document, mistakes)
    if collector is not None:
        mistakes += _incoherent(collector, document)
    if mistakes or collector is None:
        raise first_of(mistakes)
    return CollectorFile(collector, chosen["input"], _told(chosen["format"], collector), document, path)


def _told(layout: Any, collector: Collector) -> Format:
    """A format that can read events as well as records reads records where the file says what they mean, and events otherwise."""
    if getattr(layout, "read", "") is None:
        layout = layout.model_copy(update={"read": "records" if collector.events else "events"})
    made: Format = layout
    return made


def _choice(data: dict[str, Any], word: str) -> Choice | None:
    """Of a file that has other mistakes: what can be said of this word already."""
    try:
        return Choice.model_validate(
            {"name": data[word]} if isinstance(data.get(word), str) else _only(data.get(word)),
        )
    except ValidationError:
        return None


def _only(value: Any) -> Any:
    if isinstance(value, dict) and len(value) == 1:
        ((name, options),) = value.items()
        return {"name": name, "options": options or {}}
    return None


def _chosen(choice: Choice, table: Mapping[str, str], word: str, document: Document, mistakes: list[Invalid]) -> Any:
    place = table.get(choice.name)
    if place is None:
        mistakes.append(
            document.mistake(f"no {word} is called {choice.name[:40]!r}; there are {', '.join(table)}", (word,))
        )
        return None
    words: Mapping[str, Any] = {}
    try:
        model = _load(place)
        words = model.model_fields
        # What a declaration names by a relative path (a copybook) stands beside the collector's file.
        return model.model_validate(choice.options, context={"base": Path(document.file).absolute().parent})
    except ValidationError as error:
        mistakes += document.faults(error, (word, choice.name), words)
    except ModuleNotFoundError as error:
        missing = (error.name or place).partition(".")[0]
        if missing == "collectors":
            mistakes.append(document.mistake(f"{word} {choice.name} does not come with this version", (word,)))
        else:
            reason = f"{word} {choice.name} needs the package {missing}, which is not installed (pip install 'lastseen[all]')"
            mistakes.append(document.mistake(reason, (word,)))
    return None


def _load(place: str) -> type[BaseModel]:
    module, _, name = place.partition(":")
    found: type[BaseModel] = getattr(import_module(module), name)
    return found


def _incoherent(collector: Collector, document: Document) -> list[Invalid]:
    found = []
    if not collector.events and collector.format.name not in MAKES_EVENTS:
        found.append(document.mistake("is missing", ("events",)))
    if collector.vouch is None or not collector.events:
        return found
    for index, system in enumerate(collector.vouch):
        if collector.systems() and system not in collector.systems() and not _open(collector):
            reason = (
                f"no event of this collector is of the system {system!r}; there are {', '.join(collector.systems())}"
            )
            found.append(document.mistake(reason, ("vouch", index)))
    return found


def _open(collector: Collector) -> bool:
    """Whether an event's system is read from the record, so that any may come."""
    return any(event.system.constant is None and event.system.map is None for event in collector.events)
