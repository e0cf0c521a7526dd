"""What a guard knows beyond the names: fields behind a mapping's keys, what stands beside a record in the same bytes, places and
ids that are made of what a record says."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from collectors.formats.contract import Ready
from collectors.inputs.record import Row, Unreadable
from collectors.mapper import Mapper
from collectors.mapping_file import read_mapping
from collectors.personal import MOST_VALUES, Guard, privacy_of
from schemas.landscape import KeyType, Landscape
from tracer.keyring import KeyRing, NoKey, hashed_by

RING = KeyRing.read({"LASTSEEN_PII_KEY": "k1:a-secret-of-sixteen"})
LANDSCAPE = Landscape(keys={"order": KeyType(transaction=True), "email": KeyType(case="lower", pii="hash")})
PRIVACY = privacy_of(LANDSCAPE, RING)
MAPPING = """\
mapping: shop
key: %s
zone: UTC
events:
  - system: shop
    step: placed
    time: at
    keys: {order: id, email: {template: '{first}.{last}@x.de', optional: true}, customer: {field: nick, optional: true}}
"""
RECORD = {"id": "1", "at": "2026-01-01 00:00", "first": "Alice", "last": "Smith", "nick": "al"}


def guard(tmp_path: Path, key: str = "id", text: str = MAPPING, columns: tuple[str, ...] = ()) -> Guard:
    path = tmp_path / "m.yaml"
    path.write_text(text % key)
    return Guard(PRIVACY, Mapper(read_mapping(path).mapping), columns)


def row(**more: str) -> Row:
    fields = {**RECORD, **more}
    return Row(1, fields, json.dumps(fields).encode())


def test_fields_of_which_a_key_is_put_together_are_personal(tmp_path: Path) -> None:
    made = guard(tmp_path)
    body, withheld = made.aside(row(), "f:1")
    assert not withheld
    assert b"Alice" not in body
    assert b"Smith" not in body
    assert b'"nick": "al"' in body
    assert made.reason("first: not a number: 'Ali", row(), "first,last") == "first: not a number: (not shown)"
    assert made.reason("nick: too short: 'al'", row(), "nick") == "nick: too short: 'al'"


def test_what_came_of_the_same_bytes_is_cleared_too(tmp_path: Path) -> None:
    """Rows of one array: the bytes that are set aside for one of them hold the other."""
    made = guard(tmp_path)
    raw = json.dumps([RECORD, {**RECORD, "first": "Robert", "last": "Miller"}]).encode()
    one, other = Row(1, RECORD, raw), Row(1, {**RECORD, "first": "Robert", "last": "Miller"}, raw)
    assert b"Robert" in made.aside(one, "f:1").body
    body, withheld = made.aside(one, "f:1", [one, other])
    assert not withheld
    assert b"Robert" not in body
    assert b"Alice" not in body
    assert made.aside(one, "f:1", [other, Unreadable(2, "torn", raw)]).withheld
    many = [Row(1, {**RECORD, "first": f"person {n}"}, raw) for n in range(MOST_VALUES + 1)]
    assert made.aside(one, "f:1", many).withheld


def test_a_record_that_cannot_be_read_is_withheld_where_it_may_hold_some(tmp_path: Path) -> None:
    torn = Unreadable(3, "not JSON: 'Alice'", b"Alice al@x.de")
    none = MAPPING.replace(", email: {template: '{first}.{last}@x.de', optional: true}", "")
    assert guard(tmp_path).aside(torn, "f:3").withheld
    assert guard(tmp_path, text=none, columns=("id", "Email")).aside(torn, "f:3").withheld
    assert Guard(PRIVACY).aside(torn, "f:3").withheld, "of a source of events nothing is known beforehand"
    reads_none = guard(tmp_path, text=none)
    assert reads_none.aside(torn, "f:3") == (f"Alice {RING.hash('al@x.de')}".encode(), False)
    assert guard(tmp_path).reason(torn.reason, torn) == "not JSON: (not shown)"
    assert reads_none.reason(torn.reason, torn) == torn.reason


def test_without_rules_all_goes_as_it_is() -> None:
    bare = Guard(privacy_of(Landscape(), KeyRing()))
    bare.require()
    torn = Unreadable(3, "torn", b"al@x.de")
    assert bare.aside(torn, "f:3") == (b"al@x.de", False)
    assert bare.reason("al@x.de", torn) == bare.place("al@x.de", torn) == "al@x.de"
    assert not bare.may_hold


@pytest.mark.parametrize("key", ["first", "last"])
def test_ids_made_of_personal_fields_are_hashed_whatever_they_look_like(tmp_path: Path, key: str) -> None:
    made = guard(tmp_path, key)
    event = {"id": f"shop:{hashlib.sha256(b'Alice').hexdigest()}", "keys": {"order": "1"}}
    (cleared,) = made.clear(row(), [event]).events
    assert hashed_by(cleared["id"]) == "k1"


def test_plain_digests_in_ids_and_places_are_hashed_where_the_record_is_personal(tmp_path: Path) -> None:
    made, digest = guard(tmp_path), hashlib.sha256(b"Alice").hexdigest()
    assert hashed_by(made.clear(row(), [{"id": f"shop:{digest}", "keys": {}}]).events[0]["id"])
    assert made.clear(row(), [{"id": f"shop:{digest[:32]}", "keys": {}}]).events[0]["id"] == f"shop:{digest[:32]}"
    said = {"id": f"{digest[:16]}:started", "keys": {"email": "al@x.de"}}
    ready = Guard(PRIVACY)
    assert ready.clear(Ready(1, said), [said]).events[0]["id"] == said["id"], "its own: a span is one to everybody"
    assert hashed_by(ready.clear(Ready(1, {**said, "id": ""}), [said]).events[0]["id"])
    assert hashed_by(ready.place(f"sha256:{digest}", Ready(1, said)))
    assert hashed_by(ready.place("mail-to-al@x.de", Ready(1, said)))
    assert ready.place("17.3", Ready(1, said)) == "17.3"
    assert hashed_by(ready.place("17.3", Unreadable(1, "torn", b"x")))


def test_a_key_is_asked_for_where_it_will_be_needed(tmp_path: Path) -> None:
    bare = privacy_of(LANDSCAPE, KeyRing())
    path = tmp_path / "m.yaml"
    path.write_text(MAPPING % "id")
    mapper = Mapper(read_mapping(path).mapping)
    for one in (Guard(bare), Guard(bare, mapper)):
        assert one.hashes
        with pytest.raises(NoKey):
            one.require()
    path.write_text(MAPPING.replace("email", "mailbox") % "id")
    other = Guard(bare, Mapper(read_mapping(path).mapping))
    assert not other.hashes
    other.require()
