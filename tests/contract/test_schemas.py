"""The contract as data: JSON Schemas as the models make them, examples that both accept or both refuse, no orphan."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter, ValidationError

from pipeline.log.kafka_admin import CONFIGS, PARTITIONS
from schemas import generate
from schemas.control import CONTROL, FlowPublished, decode_control, encode_control
from schemas.errors import Invalid
from schemas.event import Event, parse_event
from schemas.flow import Flow
from schemas.flow_file import SHIPPED_FLOWS, check_files, flow_files, parse_flow
from schemas.joined import Lines, encode_lines
from schemas.landscape import Landscape
from schemas.landscape_file import SHIPPED_LANDSCAPE, load_landscape, read_landscapes
from schemas.verdict import VERDICT
from schemas.wire import decode
from schemas.yaml_file import read_yaml
from tracer import record

SCHEMAS = Path(generate.__file__).parent
EXAMPLES = SCHEMAS / "examples"
# A whole example, loaded by the tests of `lastseen load`; bodies of structs, which have a test of their own below; and collectors,
# which tests/collectors tries.
OF_OTHERS = {"northwind", "joined", "collect", "log"}


def relative(path: Path) -> str:
    return str(path.relative_to(SCHEMAS))


def found(pattern: str) -> list[Path]:
    return sorted(path for path in EXAMPLES.glob(pattern) if path.relative_to(EXAMPLES).parts[0] not in OF_OTHERS)


def schema_of(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((SCHEMAS / "json" / f"{name}.json").read_text()))


def refusals(name: str, data: object) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in schema_of(name).iter_errors(data)]


GOOD_JSON = found("*/*.json")
BAD_JSON = found("*/invalid/*.json")
GOOD_YAML = [*found("*/*.yaml"), *flow_files([SHIPPED_FLOWS]), SHIPPED_LANDSCAPE]
BAD_YAML = found("*/invalid/*.yaml")


def kind_of(path: Path) -> str:
    """Which schema an example is of."""
    if path == SHIPPED_LANDSCAPE:
        return "landscape"
    return "flow" if path.parent == SHIPPED_FLOWS else path.relative_to(EXAMPLES).parts[0]


# -- JSON Schema ------------------------------------------------------------------------------------------------------------


def test_the_schemas_checked_in_are_those_that_the_models_make() -> None:
    wanted = generate.render()
    assert {path.name for path in generate.FOLDER.iterdir()} == {path.name for path in wanted}
    stale = [path.name for path, text in wanted.items() if path.read_text() != text]
    assert stale == [], "run python -m schemas.generate"
    assert generate.main(["--check"]) == 0


def test_a_stale_schema_is_noticed_and_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "FOLDER", tmp_path / "json")
    assert generate.main(["--check"]) == 1
    assert generate.main([]) == 0
    (tmp_path / "json" / "orphan.json").write_text("{}")
    assert generate.main(["--check"]) == 1
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0


def words(node: Any) -> Iterator[str]:
    """All keywords of a schema; names under `properties` and `$defs` are none."""
    if isinstance(node, list):
        for item in node:
            yield from words(item)
    elif isinstance(node, dict):
        for word, value in node.items():
            yield word
            if word in ("properties", "$defs"):
                for inner in value.values():
                    yield from words(inner)
            elif word not in ("default", "enum", "const"):
                yield from words(value)


@pytest.mark.parametrize("name", sorted(generate.MODELS))
def test_a_schema_is_one_and_uses_no_words_of_pydantics_own(name: str) -> None:
    schema = schema_of(name).schema
    Draft202012Validator.check_schema(schema)
    known = set(Draft202012Validator.VALIDATORS) | {
        "$schema", "$id", "$defs", "description", "default",
    }  # fmt: skip
    assert set(words(schema)) - known == set()


def test_every_schema_has_good_and_bad_examples_and_every_example_a_schema() -> None:
    named = {path.stem for path in (SCHEMAS / "json").iterdir()}
    assert named == {*generate.MODELS, *generate.STRUCTS}
    assert {path.stem for path in (EXAMPLES / "joined").iterdir()} == set(generate.STRUCTS)
    named = set(generate.MODELS)
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir()} - OF_OTHERS
    assert folders == named
    assert {kind_of(path) for path in (*GOOD_JSON, *GOOD_YAML)} == named
    assert {kind_of(path) for path in (*BAD_JSON, *BAD_YAML)} == named
    read = {*GOOD_JSON, *BAD_JSON, *GOOD_YAML, *BAD_YAML, *found("event/*.ndjson")}
    assert {path for path in found("**/*") if path.is_file()} - read == set(), "an example that no test reads"


# -- examples as JSON ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", GOOD_JSON, ids=relative)
def test_a_good_example_passes_model_and_schema(path: Path) -> None:
    data = json.loads(path.read_text())
    assert refusals(kind_of(path), data) == []
    generate.MODELS[kind_of(path)].validate_json(path.read_bytes())


@pytest.mark.parametrize("path", BAD_JSON, ids=relative)
def test_a_bad_example_is_refused_with_its_field_and_reason(path: Path) -> None:
    case = json.loads(path.read_text())
    adapter: TypeAdapter[Any] = generate.MODELS[kind_of(path)]
    with pytest.raises(ValidationError) as refused:
        adapter.validate_json(json.dumps(case["data"]))
    fault = refused.value.errors()[0]
    assert (".".join(str(part) for part in fault["loc"]) or None) in (case["field"], f"{case['field']}.bool")
    assert case["reason"] in fault["msg"]
    assert bool(refusals(kind_of(path), case["data"])) is case["schema_refuses"]


@pytest.mark.parametrize("path", found("event/*.json"), ids=relative)
def test_an_event_reads_the_same_off_the_wire(path: Path) -> None:
    event = parse_event(json.loads(path.read_text()))
    events, _, bad = decode(path.read_bytes())
    assert bad == []
    assert Event.model_validate({name: getattr(events[0], name) for name in Event.model_fields}) == event


@pytest.mark.parametrize("path", found("event/invalid/*.json"), ids=relative)
def test_a_bad_event_is_named_off_the_wire(path: Path) -> None:
    case = json.loads(path.read_text())
    events, _, bad = decode(json.dumps(case["data"]).encode())
    assert events == []
    assert bad[0].field.startswith(case["field"] or "")
    assert case["reason"] in bad[0].reason


def test_a_batch_is_a_line_an_event() -> None:
    body = (EXAMPLES / "event" / "batch.ndjson").read_bytes()
    events, bodies, bad = decode(body)
    assert (len(events), bad) == (3, [])
    assert [refusals("event", json.loads(one)) for one in bodies] == [[], [], []]


@pytest.mark.parametrize("path", found("control/*.json"), ids=relative)
def test_a_control_record_comes_back_as_it_went(path: Path) -> None:
    read = decode_control(path.read_bytes())
    assert decode_control(encode_control(read)) == read
    assert json.loads(encode_control(read)) == json.loads(path.read_text())
    assert refusals("control", json.loads(encode_control(read))) == []


def test_a_control_record_from_a_later_version_is_read_without_what_is_new() -> None:
    data = json.loads((EXAMPLES / "control" / "marker.json").read_text())
    assert decode_control(json.dumps({**data, "colour": "red"}).encode()) == decode_control(json.dumps(data).encode())


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"kind": "hello"}', b"\xff", b"[" * 100_000])
def test_what_is_no_control_record_is_invalid(content: bytes) -> None:
    with pytest.raises(Invalid):
        decode_control(content)


def test_a_flow_travels_in_a_control_record() -> None:
    read = decode_control((EXAMPLES / "control" / "flow.json").read_bytes())
    assert isinstance(read, FlowPublished)
    assert Flow.model_validate(read.content).digest() == read.digest
    for path in flow_files([SHIPPED_FLOWS]):
        flow = parse_flow(path.read_bytes())
        content = json.loads(json.dumps(flow.model_dump(mode="json")))
        assert Flow.model_validate(content).digest() == flow.digest()
        assert refusals("flow", content) == [], "the full form is described too"


@pytest.mark.parametrize("path", found("verdict/*.json"), ids=relative)
def test_a_verdict_comes_back_as_it_was_said(path: Path) -> None:
    verdict = VERDICT.validate_json(path.read_bytes())
    assert VERDICT.dump_python(verdict, mode="json") == json.loads(path.read_text())


# -- examples as YAML ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", GOOD_YAML, ids=relative)
def test_a_good_file_passes_loader_and_schema(path: Path) -> None:
    assert refusals(kind_of(path), read_yaml(path).data) == []
    if kind_of(path) == "flow":
        checked = check_files([path], load_landscape([SHIPPED_FLOWS]))
        assert (checked.mistakes, checked.warnings) == ((), ())
    else:
        assert read_landscapes([path])[1] == []


@pytest.mark.parametrize("path", BAD_YAML, ids=relative)
def test_the_mistake_in_a_file_is_named_where_it_is(path: Path) -> None:
    lines = enumerate(path.read_text().splitlines(), 1)
    [(line, said)] = [(number, text.split("# mistake: ")[1]) for number, text in lines if "# mistake: " in text]
    field, reason = said.split(": ", 1)
    landscape = load_landscape([SHIPPED_FLOWS])
    mistakes = check_files([path], landscape).mistakes if kind_of(path) == "flow" else read_landscapes([path])[1]
    assert [(one.file, one.line, one.field) for one in mistakes] == [(str(path), line, field)]
    assert reason in mistakes[0].reason


@pytest.mark.parametrize(("model", "path"), [(Flow, "flow/every-word.yaml"), (Landscape, "landscape/every-word.yaml")])
def test_every_word_of_the_language_stands_in_its_example(model: type[Flow] | type[Landscape], path: str) -> None:
    text = (EXAMPLES / path).read_text()
    schema = generate.MODELS[kind_of(EXAMPLES / path)].json_schema()
    names = {*model.model_fields}
    for name in ("Step", "KeyType", "System", "Calendar", "Says"):
        names |= set(schema["$defs"].get(name, {}).get("properties", ()))
    missing = {name for name in names if not re.search(rf"\b{name}:", text)}
    assert missing == set()


# -- landscapes of several folders ----------------------------------------------------------------------------------------------


def test_a_landscape_beside_ones_own_flows_adds_to_the_one_that_ships(tmp_path: Path) -> None:
    (tmp_path / "landscape.yaml").write_text(
        "zone: Europe/Berlin\nkeys:\n  ticket: {transaction: true}\n  parcel: {case: lower}\nsystems:\n  till: {calendar: office}\n"
    )
    base, both = load_landscape([SHIPPED_FLOWS]), load_landscape([SHIPPED_FLOWS, tmp_path])
    assert both.zone == "Europe/Berlin"
    assert both.transaction_types() == (*base.transaction_types(), "ticket")
    assert both.normalise("parcel", " 1Z ") == "1z"
    assert set(both.systems) == {*base.systems, "till"}
    assert both.calendars == base.calendars
    assert both.gone_after == base.gone_after


def test_no_landscape_is_an_empty_one(tmp_path: Path) -> None:
    assert load_landscape([tmp_path]) == Landscape()


def test_keys_that_ship_meet_under_one_form() -> None:
    landscape = load_landscape([SHIPPED_FLOWS])
    assert landscape.normalise("account", " 0001234 ") == landscape.normalise("account", "1234") == "1234"
    assert landscape.normalise("parcel", "1z999") == "1Z999"
    assert landscape.normalise("order", " 010248 ") == "010248"
    assert landscape.normalise("of nobody", " x ") == "x"
    assert landscape.current_name("shop") == "shop"


# -- topics ---------------------------------------------------------------------------------------------------------------------

TOPICS = yaml.safe_load((SCHEMAS / "topics.yaml").read_text())


def test_the_topics_are_those_of_the_code() -> None:
    topics = TOPICS["topics"]
    assert tuple(topics) == record.TOPICS
    assert {name: topic["configs"] for name, topic in topics.items()} == CONFIGS
    assert (topics[record.EVENTS]["partitions"], topics[record.CONTROL]["partitions"]) == (PARTITIONS, 1)
    assert set(topics[record.EVENTS]["kinds"]) == set(record.KINDS)
    assert set(TOPICS["headers"]) == {
        record.KIND, record.SOURCE, record.EPOCH, record.DEPTH, record.VIA, record.COUNT, record.IMPORT, record.ENCODING,
        record.SEQ,
    }  # fmt: skip


def test_every_kind_on_a_topic_has_a_schema_or_says_why_not() -> None:
    for topic in TOPICS["topics"].values():
        for name, kind in topic["kinds"].items():
            if kind["schema"] is None:
                assert name == "rejudge"
            else:
                assert kind["schema"] in {*generate.MODELS, *generate.STRUCTS}
    used = {kind["schema"] for topic in TOPICS["topics"].values() for kind in topic["kinds"].values()}
    assert {"event", "control", *generate.STRUCTS} <= used


@pytest.mark.parametrize("name", generate.STRUCTS)
def test_what_workers_and_people_write_comes_back_as_it_went(name: str) -> None:
    body = (EXAMPLES / "joined" / f"{name}.json").read_bytes()
    (read,) = Lines(generate.STRUCTS[name]).read(json.dumps(json.loads(body)).encode())
    assert json.loads(encode_lines([read])) == json.loads(body)
    assert refusals(name, json.loads(body)) == []
    with pytest.raises(Invalid):
        Lines(generate.STRUCTS[name]).read(b'{"alias": 1}')


def test_every_kind_of_control_record_is_on_the_topic_with_its_key_and_has_an_example() -> None:
    kinds = TOPICS["topics"][record.CONTROL]["kinds"]
    mapping = CONTROL.json_schema()["discriminator"]["mapping"]
    assert set(kinds) == set(mapping)
    examples = [decode_control(path.read_bytes()) for path in found("control/*.json")]
    assert {one.kind for one in examples} == set(kinds)
    for one in examples:
        fields = {name: "" if value is None else value for name, value in one.model_dump().items()}
        assert one.key().decode() == kinds[one.kind]["key"].format(**fields)
