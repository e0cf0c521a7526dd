"""YAML of people's hand: plain data with the line of every field.

A YAML file is input like any other: it is bounded in size, depth and number of nodes (aliases count each time they are
used, so a small file cannot grow in memory), makes only text, numbers, true, false and null, and never an object. Plain
scalars are read by YAML 1.2's rules: ``no`` is text, ``1:30`` is text, and dates stay text for ``parse_time`` to judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from schemas.errors import Invalid

MAX_BYTES = 256 * 1024
MAX_DEPTH = 16
MAX_NODES = 20_000

Place = tuple[str | int, ...]
"""Path of a field: ``("steps", "paid", "within")``."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012  (PyYAML's own way to start without YAML 1.1's)


_CORE = "tag:yaml.org,2002:"
for _tag, _pattern, _first in (
    ("bool", r"^(?:true|false)$", "tf"),
    ("int", r"^[-+]?(?:0|[1-9][0-9]{0,17})$", "-+0123456789"),
    ("float", r"^[-+]?[0-9]{1,18}\.[0-9]{1,18}$", "-+0123456789"),
    ("null", r"^(?:~|null|)$", ["~", "n", ""]),
):
    _Loader.add_implicit_resolver(_CORE + _tag, re.compile(_pattern), list(_first))


@dataclass
class Document:
    """A YAML file's data. ``lines``: 1-based line of every field; ``mistakes``: duplicate keys and the like."""

    file: str
    data: Any = None
    lines: dict[Place, int] = field(default_factory=dict)
    mistakes: list[Invalid] = field(default_factory=list)

    def known(self, place: Iterable[str | int]) -> Place:
        """The longest beginning of ``place`` that stands in the file."""
        found = tuple(place)
        while found and found not in self.lines:
            found = found[:-1]
        return found

    def mistake(self, reason: str, place: Iterable[str | int] = ()) -> Invalid:
        place = tuple(place)
        return Invalid(reason, file=self.file, line=self.lines.get(self.known(place)), field=_dotted(place))

    def faults(self, error: ValidationError, under: Place = (), words: Iterable[str] = ()) -> list[Invalid]:
        """All that pydantic complains of, each with its line. ``words``: those that may stand at ``under``."""
        found = []
        for fault in error.errors(include_url=False, include_context=False, include_input=False):
            place = (*under, *(part for part in fault["loc"] if part != "[key]"))
            reason = _REASONS.get(fault["type"]) or fault["msg"].removeprefix("Value error, ")
            if fault["type"] not in ("missing", "extra_forbidden"):
                place = self.known(place)
            elif fault["type"] == "extra_forbidden" and words and len(place) == len(under) + 1:
                reason = f"{reason}; there are {', '.join(sorted(words))}"
            found.append(self.mistake(reason, place))
        return list({(fault.field, fault.reason): fault for fault in found}.values())


_REASONS = {"extra_forbidden": "is no word of this language", "missing": "is missing"}


def _dotted(place: Place) -> str | None:
    return ".".join(str(part) for part in place) or None


def read_yaml(path: Path) -> Document:
    """Raises ``Invalid`` with file and line for what is no YAML, or too much of it."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise Invalid(f"larger than {MAX_BYTES // 1024} KiB", file=str(path))
        content = path.read_bytes()
    except OSError as error:
        raise Invalid(f"cannot be read: {error.strerror}", file=str(path)) from None
    return parse_yaml(content, str(path))


def parse_yaml(content: bytes | str, file: str = "") -> Document:
    """As ``read_yaml``, of what is in hand."""
    if len(content) > MAX_BYTES:
        raise Invalid(f"larger than {MAX_BYTES // 1024} KiB", file=file)
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        loader = _Loader(text)
        node = loader.get_single_node()
    except UnicodeDecodeError as error:
        raise Invalid("not UTF-8", file=file, line=error.object[: error.start].count(b"\n") + 1) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Invalid(f"not YAML: {error.problem}", file=file, line=mark.line + 1 if mark else None) from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise Invalid(f"contains the character U+{int(error.character):04X}", file=file, line=line) from None
    except RecursionError:
        raise Invalid("nested too deeply", file=file) from None
    document = Document(file)
    if node is not None:
        document.data = _Builder(document).build(node, ())
    return document


class _Builder:
    def __init__(self, document: Document):
        self.document = document
        self.nodes = 0

    def build(self, node: Node, place: Place) -> Any:
        document = self.document
        line = node.start_mark.line + 1
        document.lines.setdefault(place, line)
        self.nodes += 1
        if self.nodes > MAX_NODES or len(place) > MAX_DEPTH:
            raise Invalid("holds too much, or is nested too deeply", file=document.file, line=line)
        if isinstance(node, MappingNode) and node.tag == _CORE + "map":
            return self._mapping(node, place)
        if isinstance(node, SequenceNode) and node.tag == _CORE + "seq":
            return [self.build(item, (*place, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, place)

    def _mapping(self, node: MappingNode, place: Place) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for name, value in node.value:
            line = name.start_mark.line + 1
            if not isinstance(name, ScalarNode):
                raise Invalid("a name has to be plain text", file=self.document.file, line=line, field=_dotted(place))
            here = (*place, name.value)
            if name.value in data:
                self.document.mistakes.append(
                    Invalid(
                        f"stands here twice (first in line {self.document.lines[here]})",
                        file=self.document.file,
                        line=line,
                        field=_dotted(here),
                    )
                )
                continue
            self.document.lines[here] = line
            data[name.value] = self.build(value, here)
        return data

    def _scalar(self, node: Node, place: Place) -> Any:
        kind, value = node.tag.removeprefix(_CORE), node.value
        if kind == "str":
            return value
        try:
            if kind == "bool":
                return {"true": True, "false": False}[value]
            if kind == "int":
                return int(value)
            if kind == "float":
                return float(value)
            if kind == "null":
                return None
        except (ValueError, KeyError, TypeError):
            pass
        raise self.document.mistake(f"{node.tag[:60]} is not read here", place)


_M = TypeVar("_M", bound=BaseModel)


def parse_model(model: type[_M], document: Document) -> _M | None:
    """The model that a document holds; what is wrong is added to the document's ``mistakes``."""
    if not isinstance(document.data, dict):
        document.mistakes.append(document.mistake("holds no fields"))
        return None
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        document.mistakes.extend(document.faults(error))
        return None
