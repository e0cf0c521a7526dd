"""Flow files: YAML to ``Flow``, every mistake with file, line, field and reason.

A folder's flow files are its ``*.yaml`` and ``*.yml``; its ``landscape.yaml``, mappings and collectors may lie beside them. What
is none of these is a mistake: a flow that is silently not read is a process that is silently not watched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from schemas.errors import Invalid
from schemas.flow import Flow, Flows, KeyRole, Step
from schemas.flow_check import Mistake, check_flow, check_references, check_roles
from schemas.landscape import Landscape
from schemas.landscape_file import FILE_NAME, SHIPPED_FLOWS, load_landscape
from schemas.yaml_file import MAX_BYTES, Document, parse_model, parse_yaml, read_yaml

__all__ = ["SHIPPED_FLOWS", "Checked", "Published", "check_files", "flow_files", "load_flows", "parse_flow"]

Published = Mapping[tuple[str, int], str]
"""Flow and version to the digest under which it was published."""

_FLOW_FIELD = re.compile(rb"^(?:\xef\xbb\xbf)?[\"']?(?:flow|steps)[\"']?\s*:", re.MULTILINE).search
_MAPPING_FIELD = re.compile(rb"^(?:\xef\xbb\xbf)?[\"']?(?:mapping|collector)[\"']?\s*:", re.MULTILINE).search
_STEP = TypeAdapter(Step)
_ROLE = TypeAdapter(KeyRole)


class Checked(NamedTuple):
    """The flows that are without fault, each with its file, and all that is wrong, in the order of files and lines."""

    flows: tuple[tuple[Flow, str], ...]
    mistakes: tuple[Invalid, ...]
    warnings: tuple[Invalid, ...]


def load_flows(dirs: Iterable[Path], landscape: Landscape | None = None, published: Published | None = None) -> Flows:
    """All flows of the folders, checked against the landscape (default: the one of the same folders).

    Raises ``Invalid`` with the first mistake's file, line and field, and how many there are beside it.
    """
    dirs = list(dirs)
    checked = check_files(flow_files(dirs), landscape if landscape is not None else load_landscape(dirs), published)
    if checked.mistakes:
        first, rest = checked.mistakes[0], len(checked.mistakes) - 1
        more = f" (and {rest} more: lastseen flows check)" if rest else ""
        raise Invalid(first.reason + more, file=first.file, line=first.line, field=first.field)
    return Flows([flow for flow, _ in checked.flows])


def flow_files(dirs: Iterable[Path]) -> list[Path]:
    """The folders' flow files by name, also those that are no YAML or no flow; hidden ones are an editor's.

    Raises ``Invalid`` where there is no such folder.
    """
    found = []
    for folder in dirs:
        if not folder.is_dir():
            raise Invalid("is no folder", file=str(folder))
        paths = sorted((*folder.glob("*.yaml"), *folder.glob("*.yml")))
        found += [
            path for path in paths if path.name != FILE_NAME and not path.name.startswith(".") and not _is_mapping(path)
        ]
    return found


def _is_mapping(path: Path) -> bool:
    """A mapping is ``lastseen load``'s to read and to judge, a collector ``lastseen collect``'s, also while it is no YAML."""
    try:
        with path.open("rb") as file:
            head = file.read(MAX_BYTES)
    except OSError:
        return False
    return _MAPPING_FIELD(head) is not None and _FLOW_FIELD(head) is None


def _stranger(document: Document) -> Invalid | None:
    """What is to be said of a file that is no flow; None for one that may be meant as one."""
    data = document.data
    if isinstance(data, dict) and {"flow", "steps"} & data.keys():
        return None
    if isinstance(data, dict) and data and data.keys() <= Landscape.model_fields.keys():
        return document.mistake(f"is a landscape, which is read from {FILE_NAME} only: rename it")
    what = "is empty" if data is None else "is neither a flow (`flow: NAME`) nor a landscape, a mapping or a collector"
    return document.mistake(f"{what}: mend it, or take it out of the folder of flows")


def check_files(
    paths: Iterable[Path], landscape: Landscape | None = None, published: Published | None = None
) -> Checked:
    """Read every file and collect all mistakes; one bad file does not hide another's."""
    flows: list[tuple[Flow, str]] = []
    mistakes: list[Invalid] = []
    warnings: list[Invalid] = []
    seen: dict[tuple[str, int], tuple[str, str]] = {
        known: (digest, "what was published") for known, digest in (published or {}).items()
    }
    for path in dict.fromkeys(paths):
        try:
            document = read_yaml(path)
        except Invalid as error:
            mistakes.append(error)
            continue
        stranger = _stranger(document)
        if stranger is not None:
            mistakes += (*document.mistakes, stranger)
            continue
        flow, found = _read(document, landscape)
        if flow is not None:
            found += _versions(flow, document, seen, flows)
        errors = [document.mistake(item.reason, item.place) for item in found if not item.warning]
        mistakes += sorted((*document.mistakes, *errors), key=_line)
        warnings += sorted((document.mistake(item.reason, item.place) for item in found if item.warning), key=_line)
        if flow is not None and not document.mistakes and all(item.warning for item in found):
            flows.append((flow, str(path)))
    return Checked(tuple(flows), tuple(mistakes), tuple(warnings))


def parse_flow(content: bytes | str, file: str = "flow", landscape: Landscape | None = None) -> Flow:
    """A flow from its YAML. Raises ``Invalid`` with the first mistake."""
    document = parse_yaml(content, file)
    flow, found = _read(document, landscape)
    faults = [*document.mistakes, *(document.mistake(item.reason, item.place) for item in found if not item.warning)]
    if faults or flow is None:
        raise min(faults, key=_line)
    return flow


def _line(fault: Invalid) -> int:
    return fault.line or 0


def _read(document: Document, landscape: Landscape | None) -> tuple[Flow | None, list[Mistake]]:
    flow = parse_model(Flow, document)
    if flow is not None:
        return flow, check_flow(flow, landscape)
    return None, _check_rest(document.data) if isinstance(document.data, dict) else []


def _check_rest(data: dict[str, Any]) -> list[Mistake]:
    """Where some fields are bad, what the others say is checked all the same: all mistakes at once, none invented."""
    given = data.get("steps")
    if not isinstance(given, dict):
        return []
    steps = {name: step for name, step in ((name, _valid(_STEP, step)) for name, step in given.items()) if step}
    found = list(check_references(steps, given.keys()))
    keys = data.get("keys") or {}
    if isinstance(keys, dict) and isinstance(data.get("key"), str):
        roles = {name: role for name, role in ((name, _valid(_ROLE, role)) for name, role in keys.items()) if role}
        if len(roles) == len(keys):
            found += check_roles(data["key"], None, roles, steps)
    return found


def _valid(adapter: TypeAdapter[Any], value: object) -> Any:
    try:
        return adapter.validate_python(value)
    except ValidationError:
        return None


def _versions(
    flow: Flow, document: Document, seen: dict[tuple[str, int], tuple[str, str]], flows: list[tuple[Flow, str]]
) -> list[Mistake]:
    """A published version is never changed; all versions have one key, and each a time from which it is in force."""
    digest, where = seen.setdefault((flow.flow, flow.version), (flow.digest(), document.file))
    if digest != flow.digest():
        reason = f"version {flow.version} of {flow.flow} has other content in {where}; give the change a new version"
        return [Mistake(("version",), reason)]
    others = [other for other, _ in flows if other.flow == flow.flow and other.version != flow.version]
    if any(other.key != flow.key for other in others):
        return [Mistake(("key",), f"is {flow.key}, but {others[0].key} in version {others[0].version}")]
    for other in others:
        early, late = sorted((flow, other), key=lambda one: one.version)
        if late.since <= early.since and late.applies_to == "new":
            reason = f"version {early.version} is never in force: version {late.version} has no later since"
            return [Mistake(("since",) if late is flow else ("version",), reason, warning=True)]
    return []
