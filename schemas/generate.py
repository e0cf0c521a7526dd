"""JSON Schema of the contract, written from the models: ``python -m schemas.generate`` (``--check``: only say what is stale).

Deterministic. Flow and landscape are described as people write them (``after: placed``, ``within: 15m``), so that an
editor can complete a YAML file by its schema; what pydantic writes of the short forms is replaced here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from pydantic import TypeAdapter

from schemas.control import CONTROL
from schemas.event import Event
from schemas.flow import Flow
from schemas.joined import Copy, Decision, Fact, Forget, Link
from schemas.landscape import Landscape
from schemas.times import format_duration
from schemas.verdict import VERDICT

FOLDER = Path(__file__).parent / "json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

MODELS: dict[str, TypeAdapter[Any]] = {
    "control": CONTROL,
    "event": TypeAdapter(Event),
    "flow": TypeAdapter(Flow),
    "landscape": TypeAdapter(Landscape),
    "verdict": VERDICT,
}

# Bodies of the kinds of record that workers and people write; structs, as workers write them by the hundred.
STRUCTS: dict[str, type[msgspec.Struct]] = {
    "copy": Copy,
    "link": Link,
    "conflict": Fact,
    "decision": Decision,
    "forget": Forget,
}

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_TEXTS: Schema = {"type": "array", "items": _TEXT}
_DURATION = r"^\s*(0|(\d+(\.\d+)?\s*(us|ms|s|m|h|d|w)\s*)+)$"
_TEST: Schema = {"type": ["boolean", "integer", "number", "string"]}
# How people write them, beside the full form that is published.
SHORT: dict[str, list[Schema]] = {
    "After": [
        _TEXT,
        _TEXTS,
        {"type": "object", "properties": {"any": _TEXTS}, "required": ["any"], "additionalProperties": False},
    ],
    "Count": [{"type": "integer", "minimum": 1, "maximum": 100_000}, _TEXT],
    "KeyRole": [
        {"enum": ["alias", "search"]},
        {
            "type": "object",
            "properties": {"alias": {"enum": ["shared", "weak"]}},
            "required": ["alias"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {"once": {"type": "string", "pattern": _DURATION}},
            "required": ["once"],
            "additionalProperties": False,
        },
    ],
    "Says": [_TEXT],
    "When": [
        _TEXT,
        {
            "type": "object",
            "properties": {"seen": _TEXT},
            "additionalProperties": {"anyOf": [_TEST, {"type": "array", "items": _TEST}]},
            "minProperties": 1,
        },
    ],
}


def render() -> dict[Path, str]:
    """Every file with its content."""
    written = {FOLDER / f"{name}.json": _text(name, adapter) for name, adapter in MODELS.items()}
    return written | {FOLDER / f"{name}.json": _struct(name, kind) for name, kind in STRUCTS.items()}


def _struct(name: str, kind: type[msgspec.Struct]) -> str:
    (_, components) = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    schema = _walk(components.pop(kind.__name__), _mend)
    return _dump(name, schema | ({"$defs": components} if components else {}))


def _text(name: str, adapter: TypeAdapter[Any]) -> str:
    schema = _walk(adapter.json_schema(), _mend)
    for model, short in SHORT.items():
        if model in schema.get("$defs", {}):
            full = schema["$defs"][model]
            schema["$defs"][model] = {"description": full.pop("description", ""), "anyOf": [*short, full]}
    if "discriminator" in schema:
        # OpenAPI's word; in JSON Schema the kinds are told apart by their constant, once it has to be there.
        del schema["discriminator"]
        for kind in schema["$defs"].values():
            if "kind" in kind.get("properties", {}):
                kind["required"] = sorted({"kind", *kind.get("required", ())})
    if name == "flow":
        schema["properties"]["since"] |= {"type": ["string", "integer"], "format": "date-time"}
    return _dump(name, schema)


def _dump(name: str, schema: Schema) -> str:
    whole = {"$schema": DIALECT, "$id": f"urn:lastseen:schema:{name}", **schema}
    return json.dumps(whole, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _walk(node: Any, mend: Callable[[Schema], Schema]) -> Any:
    if isinstance(node, list):
        return [_walk(item, mend) for item in node]
    if not isinstance(node, dict):
        return node
    # Under `properties` and `$defs` stand names, not keywords: a step's field may be called `title`.
    return mend(
        {
            word: {name: _walk(inner, mend) for name, inner in value.items()}
            if word in ("properties", "$defs")
            else value
            if word in ("default", "enum", "const")
            else _walk(value, mend)
            for word, value in node.items()
        }
    )


def _mend(schema: Schema) -> Schema:
    """Say in JSON Schema's words what pydantic says in its own, and leave out titles that repeat the name."""
    schema.pop("title", None)
    if schema.get("description", "").startswith("duration"):
        schema.pop("ge", None)
        schema["pattern"] = _DURATION
        schema["description"] = "duration such as 30s, 15m, 1h30m, 5d"
        if isinstance(schema.get("default"), int):
            schema["default"] = format_duration(schema["default"]).replace(" ", "")
    if "anyOf" in schema and ("ge" in schema or "lt" in schema):
        least, below = schema.pop("ge", None), schema.pop("lt", None)
        for one in schema["anyOf"]:
            if one == {"type": "integer"}:
                one.update(minimum=least, exclusiveMaximum=below)
            elif one == {"type": "string"}:
                one["format"] = "date-time"
    if schema.get("type") == "array" and "minLength" in schema:
        schema["minItems"] = schema.pop("minLength")
    return schema


def main(arguments: list[str]) -> int:
    """Write the files, and remove those that no model makes; with ``--check`` exit 1 if anything would change."""
    wanted = render()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    extra = [path for path in FOLDER.glob("*") if path not in wanted]
    if "--check" in arguments:
        for path in (*stale, *extra):
            sys.stderr.write(f"{path} is stale; run python -m schemas.generate\n")
        return 1 if stale or extra else 0
    FOLDER.mkdir(exist_ok=True)
    for path in stale:
        path.write_text(wanted[path])
    for path in extra:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
