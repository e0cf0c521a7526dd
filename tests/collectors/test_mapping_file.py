"""A mapping with a mistake is refused with file, line, field and reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectors.mapping_file import read_mapping
from schemas.errors import Invalid
from tests.collectors.conftest import ReadMapping

GOOD = """\
mapping: shop
key: id
zone: Europe/Berlin
times: ["%d.%m.%Y", iso]
events:
  - system: shop
    step: placed
    time: at
    keys: {order: id}
"""


def test_lists_may_be_written_short(mapping_of: ReadMapping) -> None:
    mapping = mapping_of(GOOD).mapping
    assert mapping.key == ("id",)
    assert mapping.times == ("%d.%m.%Y", "iso")
    assert mapping.systems() == ("shop",)


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "reason"),
    [
        ("zone: Europe/Berlin", "zone: Europe/Bärlin", 3, "zone", "unknown time zone"),
        ('"%d.%m.%Y"', '"%d.%m.%Y %Z"', 4, "times.0", "%Z"),
        ('"%d.%m.%Y"', "dmy", 4, "times.0", "unknown time format"),
        ("key: id", "", 1, "key", "missing"),
        ("key: id", "keys: id", 2, "keys", "no word"),
        ("    time: at", "    when: at", 6, "events.0.time", "missing"),
        ("{order: id}", "{}", 9, "events.0.keys", "at least 1"),
        ("{order: id}", "{order: 7}", 9, "events.0.keys.order", "a value is a field's name"),
        ("{order: id}", "{order: {field: id, constant: x}}", 9, "events.0.keys.order", "exactly one of"),
        ("{order: id}", "{order: {field: id, as: money}}", 9, "events.0.keys.order.as", "'text', 'number'"),
        ("    step: placed", "    step: placed\n    phase: finished", 6, "events.0", "unknown phase 'finished'"),
        ("    step: placed", "    step: placed\n    when: 3", 8, "events.0.when", "when takes a field"),
        ("    step: placed", "    step: placed\n    when: {a: {}}", 8, "events.0.when", "a test is a value"),
        ("key: id", "key: id\ntable: a\nquery: SELECT 1", 1, None, "exclude each other"),
        ("key: id", "key: id\nquery: DELETE FROM orders", 1, None, "must be a SELECT"),
        ("key: id", "key: id\nkey: id", 3, "key", "twice"),
        ("key: id", "key: id\ncsv: {header: false}", 3, "csv", "needs fields"),
        ("key: id", "key: id\nencoding: utf-7000", 3, "encoding", "unknown encoding"),
        ("    step: placed", "   step: placed", 7, None, "not YAML"),
        ("mapping: shop", "flow: shop", 1, None, "is no mapping"),
    ],
)
def test_mistakes(mapping_of: ReadMapping, old: str, new: str, line: int, field: str | None, reason: str) -> None:
    assert old in GOOD
    with pytest.raises(Invalid) as caught:
        mapping_of(GOOD.replace(old, new))
    assert Path(caught.value.file or "").name == "m.yaml"
    assert reason in caught.value.reason
    assert (caught.value.line, caught.value.field) == (line, field)


def test_a_field_that_the_source_does_not_have(mapping_of: ReadMapping) -> None:
    found = mapping_of(GOOD)
    found.check_columns(("id", "at"))
    with pytest.raises(Invalid, match=r"no field 'at'; it has id, ort") as caught:
        found.check_columns(("id", "ort"))
    assert (caught.value.line, caught.value.field) == (8, "events.0.time")


def test_constants_are_no_columns(mapping_of: ReadMapping) -> None:
    mapping_of(GOOD + "    attributes: {currency: cur}\nconstants: {cur: EUR}\n").check_columns(("id", "at"))


def test_several_mistakes_are_counted_and_the_first_is_told(mapping_of: ReadMapping) -> None:
    with pytest.raises(Invalid, match=r"m\.yaml:3: zone: unknown time zone.*and 1 more"):
        mapping_of(GOOD.replace("Europe/Berlin", "Nowhere").replace("{order: id}", "{}"))


def test_no_such_file() -> None:
    with pytest.raises(Invalid, match="cannot be read"):
        read_mapping(Path("/nowhere/m.yaml"))
