"""What comes off the log: the fast path and the contract (`Event`) give the same answer, whatever the bytes."""

from __future__ import annotations

import json
from typing import Any

import lz4.frame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas import wire
from schemas.errors import Invalid
from schemas.event import MAX_EVENT_BYTES, Event
from schemas.times import EARLIEST, LATEST
from schemas.wire import Observed, decode, decompress, encode, observed
from tracer import record

GOOD: dict[str, Any] = {
    "id": "e1", "system": "shop", "step": "placed", "phase": "completed", "time": 1_767_225_600_000_000,
    "keys": {"order": "10248"},
}  # fmt: skip


def with_(**fields: Any) -> dict[str, Any]:
    return {**GOOD, **fields}


def line(data: object) -> bytes:
    return json.dumps(data).encode()


def by_contract(body: bytes) -> Observed | None:
    """What pydantic makes of a single event's JSON: the oracle."""
    if len(body) > MAX_EVENT_BYTES:
        return None
    try:
        return observed(Event.model_validate_json(body))
    except ValidationError:
        return None


def assert_same(body: bytes) -> None:
    events, bodies, bad = decode(body)
    expected = by_contract(body)
    if expected is None:
        assert events == []
        assert len(bad) >= 1
        assert all(one.reason for one in bad)
    else:
        assert events == [expected]
        assert bad == []
        assert by_contract(bodies[0]) == expected


# -- the two ways agree -------------------------------------------------------------------------------------------------

WORDS = st.text(min_size=1, max_size=12)
PLAIN = st.text(st.characters(categories=["L", "N"], max_codepoint=0x24F), min_size=1, max_size=12)
SCALARS = st.one_of(
    PLAIN, st.integers(-(2**53) + 1, 2**53 - 1), st.floats(allow_nan=False, allow_infinity=False), st.booleans()
)
GOOD_EVENTS = st.fixed_dictionaries(
    {
        "id": PLAIN,
        "system": PLAIN,
        "step": PLAIN,
        "time": st.one_of(
            st.integers(EARLIEST, LATEST - 1),
            st.sampled_from(["2026-01-31T08:00:00Z", "2026-01-31T08:00:00.1234567+01:00", "20260131T080000-0330"]),
        ),
        "keys": st.dictionaries(PLAIN, PLAIN, min_size=1, max_size=4),
    },
    optional={
        "phase": st.sampled_from(["received", "started", "sent", "completed", "failed", "cancelled"]),
        "peer": st.none() | PLAIN,
        "source": st.just("") | PLAIN,
        "epoch": st.integers(0, LATEST),
        "attributes": st.dictionaries(PLAIN, SCALARS, max_size=4),
        "error": st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    },
)
HOSTILE = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.just(""), st.just({}), st.just([]),
    st.text(st.sampled_from("\u202e\u0000\u200b\x7f\u00a0\ufeff\n\t\\\"aä😀"), max_size=6),
    st.integers(90, 110).map("n".__mul__), st.integers(250, 260).map("ä".__mul__), st.integers(4094, 4098).map("😀".__mul__),
    st.sampled_from(["2026-01-31T08:00:00", "2026-01-31", "1989-12-31T23:59:59Z", "2100-01-01T00:00:00Z", "9999-12-31T00:00:00Z",
                     "0001-01-01T00:00:00+14:00", EARLIEST, EARLIEST - 1, LATEST, LATEST - 1, 2**53, 2**64, 10**400, 1e300]),
    st.dictionaries(WORDS, st.one_of(st.none(), st.integers(), WORDS, st.floats()), max_size=3),
    st.integers(30, 34).map(lambda n: {f"k{i}": "v" for i in range(n)}),
    st.integers(62, 66).map(lambda n: {f"k{i}": i for i in range(n)}),
)  # fmt: skip


@given(GOOD_EVENTS, st.booleans())
def test_what_is_good_comes_through_as_the_contract_reads_it(data: dict[str, Any], ascii_only: bool) -> None:
    body = json.dumps(data, ensure_ascii=ascii_only).encode()
    assert decode(body)[0], "a good event was refused"
    assert_same(body)


@settings(max_examples=400)
@given(
    GOOD_EVENTS,
    st.sampled_from([*Event.model_fields, "recorded_at", "via", "colour"]),
    HOSTILE,
    st.booleans(),
)
def test_a_hostile_field_is_decided_as_the_contract_decides(
    data: dict[str, Any], field: str, value: object, ascii_only: bool
) -> None:
    assert_same(json.dumps({**data, field: value}, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"))


@given(GOOD_EVENTS, st.data())
def test_damaged_bytes_never_raise_and_are_decided_as_the_contract_decides(
    data: dict[str, Any], draw: st.DataObject
) -> None:
    body = bytearray(line(data))
    for _ in range(draw.draw(st.integers(1, 3))):
        body[draw.draw(st.integers(0, len(body) - 1))] = draw.draw(
            st.integers(0, 255).filter(lambda byte: byte not in b"\r\n")
        )
    assert_same(bytes(body))


@given(st.binary(max_size=200), st.text(max_size=5), st.integers(-5, 5))
def test_no_bytes_raise(body: bytes, source: str, epoch: int) -> None:
    events, bodies, bad = decode(body, source, epoch)
    assert len(events) == len(bodies)
    assert events or bad


@given(st.lists(st.one_of(GOOD_EVENTS, st.dictionaries(WORDS, HOSTILE, max_size=2)), min_size=2, max_size=8))
def test_a_batch_is_its_events_one_by_one(items: list[dict[str, Any]]) -> None:
    lines = [line(item) for item in items]
    events, bodies, bad = decode(b"\n".join(lines))
    assert events == [event for one in lines for event in decode(one)[0]]
    assert bodies == [one for one in lines if decode(one)[0]]
    assert [one.place for one in bad] == [place for place, one in enumerate(lines) if decode(one)[2]]


# -- fault 19: hostile input ----------------------------------------------------------------------------------------------

DEEP = b"[" * 100_000 + b"]" * 100_000
POISON = {
    "deep nesting": line(GOOD)[:-1] + b', "attributes": {"a": ' + DEEP + b"}}",
    "deep objects": b'{"a":' * 30_000 + b"1" + b"}" * 30_000,
    "bad UTF-8": line(GOOD).replace(b"shop", b"sh\xffp"),
    "overlong UTF-8": line(GOOD).replace(b"shop", b"sh\xc0\x80p"),
    "surrogate in UTF-8": line(GOOD).replace(b"shop", b"sh\xed\xa0\x80p"),
    "lone surrogate": line(GOOD).replace(b"shop", b"sh\\ud800p"),
    "lone low surrogate": line(GOOD).replace(b"shop", b"sh\\udc00p"),
    "lone surrogate in a text": line(with_(error="x")).replace(b'"x"', b'"\\udfff"'),
    "NUL in a name": line(with_(system="sh\0p")),
    "NUL in a key": line(with_(keys={"order": "1\0"})),
    "NUL in a text": line(with_(attributes={"a": "\0"})),
    "raw NUL": line(GOOD).replace(b"shop", b"sh\0p"),
    "DEL": line(GOOD).replace(b"shop", b"sh\x7fp"),
    "ANSI": line(with_(step="\x1b[31mplaced")),
    "CR LF in an id": line(with_(id="a\r\nb")),
    "bidi override": line(with_(keys={"order": "\u202e842"})),
    "bidi override, not escaped": json.dumps(with_(keys={"order": "\u202e842"}), ensure_ascii=False).encode(),
    "zero width, not escaped": json.dumps(with_(step="placed\u200b"), ensure_ascii=False).encode(),
    "huge time": line(GOOD).replace(b"1767225600000000", b"9" * 5000),
    "huge number": line(with_(attributes={"a": 10**30})),
    "infinite number": line(with_(attributes={"a": 1.0})).replace(b"1.0", b"1e999"),
    "NaN": line(with_(attributes={"a": float("nan")})),
    "a fraction as time": line(with_(time=1_767_225_600_000_000.5)),
    "a float as time": line(with_(time=1_767_225_600_000_000.0)),
    "true as time": line(with_(time=True)),
    "naive time": line(with_(time="2026-01-31T08:00:00")),
    "year 1": line(with_(time="0001-01-01T00:00:00Z")),
    "year 9999": line(with_(time="9999-12-31T23:59:59Z")),
    "not an object": b"[[1]]",
    "text": b'"hello"',
    "nothing": b"",
    "white space": b" \t ",
    "two objects": line(GOOD) + line(GOOD),
    "a tail": line(GOOD) + b" x",
    "cut short": line(GOOD)[:-7],
    "byte order mark": b"\xef\xbb\xbf" + line(GOOD),
    "UTF-16": line(GOOD).decode().encode("utf-16"),
    "our own field": line(with_(recorded_at=0)),
    "our own field, via": line(with_(via="")),
    "foreign field": line(with_(colour="red")),
    "number without source": line(with_(seq=1)),
}


@pytest.mark.parametrize("name", POISON)
def test_poison_is_one_bad_with_its_bytes_and_a_reason(name: str) -> None:
    events, bodies, bad = decode(POISON[name])
    assert (events, bodies) == ([], [])
    assert [one.payload for one in bad] in ([POISON[name]], [b"[1]"])
    assert bad[0].reason
    assert len(str(bad[0].reason)) < 400


@pytest.mark.parametrize("name", POISON)
@pytest.mark.parametrize("place", [0, 50, 99])
def test_one_poison_event_among_a_hundred_is_one_bad_and_99_events(name: str, place: int) -> None:  # fault 18
    lines = [line(with_(id=f"e{number}")) for number in range(100)]
    lines[place] = POISON[name]
    events, bodies, bad = decode(b"\n".join(lines))
    assert [event.id for event in events] == [f"e{number}" for number in range(100) if number != place]
    assert bodies == lines[:place] + lines[place + 1 :]
    if POISON[name].strip():
        assert [one.payload for one in bad] == [POISON[name]]


# -- shapes of a record -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["", "shop@1"])
@pytest.mark.parametrize(
    ("body", "count"),
    [
        (line(GOOD), 1),
        (line(GOOD) + b"\n", 1),
        (b"\n\n" + line(GOOD) + b"\r\n\r\n" + line(GOOD) + b"\r\n", 2),
        (b"\n".join([line(GOOD)] * 100), 100),
        (b"[" + b",".join([line(GOOD)] * 3) + b"]", 3),
        (json.dumps([GOOD, GOOD], indent=2).encode(), 2),
        (json.dumps(GOOD, indent=2).encode(), 1),
        (json.dumps(with_(attributes={"a": "M\u00fcnchen", "b": 'say "x"'}), indent=1).encode(), 1),
        (b"[]", 0),
    ],
    ids=["one", "newline", "crlf", "batch", "array", "array indented", "indented", "indented escapes", "empty array"],
)
def test_one_object_lines_and_arrays_are_read(body: bytes, count: int, source: str) -> None:
    events, bodies, bad = decode(body, source, 7)
    assert (len(events), len(bodies), bad) == (count, count, [])
    assert {(event.source, event.epoch) for event in events} <= {(source, 7)}
    for one, event in zip(bodies, events, strict=True):
        assert b"\n" not in one
        assert decode(one, source, 7)[0] == [event]


def test_a_broken_object_over_several_lines_is_one_bad() -> None:
    body = json.dumps(with_(time="never"), indent=2).encode()
    assert [one.payload for one in decode(body)[2]] == [body]
    assert [one.payload for one in decode(body[:-3])[2]] == [body[:-3]]


def test_two_objects_in_a_line_and_one_over_two_lines_are_not_taken_for_three_lines() -> None:
    one = line(GOOD)
    events, bodies, bad = decode(one + one + b"\n" + one[:-1] + b"\n}")
    assert (events, bodies) == ([], [])
    assert [bad_one.payload for bad_one in bad] == [one + one, one[:-1], b"}"]
    events, bodies, bad = decode(one + one + b"\n\n" + one)
    assert (bodies, [bad_one.payload for bad_one in bad]) == ([one], [one + one])


def test_source_of_the_headers_stands_where_the_event_names_none() -> None:
    body = b"\n".join(
        line(with_(**more)) for more in ({"seq": 4}, {"seq": 5, "source": "own", "epoch": 9}, {"epoch": 3})
    )
    events, _, bad = decode(body, "shop-1", 77)
    assert [(event.source, event.epoch, event.seq) for event in events] == [
        ("shop-1", 77, 4),
        ("own", 9, 5),
        ("shop-1", 77, 0),
    ]
    assert bad == []


@pytest.mark.parametrize(
    ("source", "epoch"), [("sh\0p", 1), ("\ud800", 1), ("s" * 101, 1), ("shop", -1), ("shop", 2**63)]
)
def test_a_hostile_header_makes_the_record_bad(source: str, epoch: int) -> None:
    events, _, bad = decode(line(GOOD), source, epoch)
    assert events == []
    assert bad[0].reason.startswith("header ls-")


def test_what_is_forwarded_reads_as_the_same_events() -> None:
    events = decode(
        b"\n".join(line(with_(id=str(n), seq=n + 1, attributes={"n": n, "ok": False})) for n in range(3)), "s", 5
    )[0]
    assert decode(encode(events))[0] == events


# -- bounds -------------------------------------------------------------------------------------------------------------------


def padded(size: int) -> bytes:
    data = with_(attributes={f"a{n:02}": "x" * 4096 for n in range(63)}, error="")
    data["attributes"]["z"] = ""
    room = size - len(line(data))
    data["attributes"]["z"] = "x" * min(room, 4096)
    data["error"] = "x" * (room - len(data["attributes"]["z"]))
    body = line(data)
    assert len(body) == size
    return body


@pytest.mark.parametrize(("size", "good"), [(MAX_EVENT_BYTES, True), (MAX_EVENT_BYTES + 1, False)])
def test_an_event_is_at_most_256_kib(size: int, good: bool) -> None:
    body = padded(size)
    assert (len(decode(body)[0]) == 1) is good
    assert (len(decode(body + b"\n" + line(GOOD))[0]) == 2) is good


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"keys": {f"k{n}": "v" for n in range(33)}}, "keys"),
        ({"keys": {}}, "keys"),
        ({"keys": {"order": "x" * 257}}, "keys.order"),
        ({"keys": {"order": ""}}, "keys.order"),
        ({"keys": {"order": 10248}}, "keys.order"),
        ({"attributes": {f"a{n}": n for n in range(65)}}, "attributes"),
        ({"attributes": {"a": "x" * 4097}}, "attributes.a"),
        ({"attributes": {"a": 2**53}}, "attributes.a"),
        ({"attributes": {"a": None}}, "attributes.a"),
        ({"attributes": {"a": [1]}}, "attributes.a"),
        ({"id": "x" * 257}, "id"),
        ({"id": ""}, "id"),
        ({"system": "x" * 101}, "system"),
        ({"step": ""}, "step"),
        ({"phase": "done"}, "phase"),
        ({"error": "x" * 4097}, "error"),
        ({"time": EARLIEST - 1}, "time"),
        ({"time": LATEST}, "time"),
        ({"seq": -1, "source": "s"}, "seq"),
        ({"epoch": -1}, "epoch"),
    ],
)
def test_a_limit_is_named_with_its_field(fields: dict[str, Any], field: str) -> None:
    events, _, bad = decode(line(with_(**fields)))
    assert events == []
    assert bad[0].field.startswith(field)


@pytest.mark.parametrize(
    "fields",
    [
        {"keys": {f"k{n}": "v" * 256 for n in range(32)}},
        {"attributes": {f"a{n}": "x" * 4096 for n in range(60)}},
        {"id": "x" * 256, "system": "x" * 100, "step": "x" * 100, "source": "x" * 100},
        {"attributes": {"a": 2**53 - 1, "b": -(2**53) + 1}},
        {"keys": {"order": "😀" * 256}},
        {"time": EARLIEST},
        {"time": LATEST - 1},
    ],
)
def test_what_is_just_within_the_limits_is_good(fields: dict[str, Any]) -> None:
    assert len(decode(line(with_(**fields)))[0]) == 1


@pytest.mark.parametrize("body", [b"\n" * 2_000_000, b"[" + b"1," * 3_000_000 + b"1]", b"{}\n" * 200_000])
def test_a_record_that_falls_into_very_many_is_one_bad(body: bytes) -> None:
    assert len(decode(body)[2]) == 1


def test_lz4_is_read_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b"\n".join([line(GOOD)] * 50)
    packed = lz4.frame.compress(body)  # type: ignore[attr-defined]
    assert decompress(packed, b"lz4") == decompress(body, None) == decompress(body, "identity") == body
    monkeypatch.setattr(wire, "MAX_RECORD_BYTES", len(body) - 1)
    for value, encoding in ((packed, "lz4"), (packed[:-9], "lz4"), (b"no", "lz4"), (b"", "lz4"), (packed, "zstd")):
        with pytest.raises(Invalid):
            decompress(value, encoding)


@given(
    st.lists(st.one_of(st.integers(1, 40), st.integers(1, 2**53 - 1)), min_size=1, max_size=60, unique=True).map(sorted)
)
def test_numbers_of_lines_come_back_as_they_were_packed(numbers: list[int]) -> None:
    packed = record.pack_numbers(numbers)
    assert wire.unpack_numbers(packed) == tuple(numbers)
    assert record.pack_numbers(range(7, 10_007)) == b"7,1x9999"


@pytest.mark.parametrize(
    "text",
    [b"", b"0", b"1,0", b"-1", b"1x0", b"1x", b"x3", b"1,,2", b"1x100001", b"9007199254740992", b"1x99999,1x99999", b"9" * 40,
     b"\xff", b"9007199254740991x2", "¹".encode(), b"1 ,2", b"1\n"],
)  # fmt: skip
def test_numbers_that_make_no_sense_are_none(text: bytes) -> None:
    assert wire.unpack_numbers(text) == ()


def test_header_names_are_those_of_the_tracer() -> None:
    assert (wire.KIND, wire.SOURCE, wire.EPOCH, wire.DEPTH, wire.VIA, wire.COUNT, wire.IMPORT, wire.ENCODING, wire.SEQ) == (
        record.KIND, record.SOURCE, record.EPOCH, record.DEPTH, record.VIA, record.COUNT, record.IMPORT, record.ENCODING,
        record.SEQ,
    )  # fmt: skip


def test_observed_and_event_have_the_same_fields_and_defaults() -> None:
    ours = {"recorded_at", "via"}
    assert set(Observed.__struct_fields__) - ours == set(Event.model_fields)
    least = {name: GOOD[name] for name in ("id", "system", "step", "time", "keys")}
    assert decode(line(least))[0] == [observed(Event(**least))]
