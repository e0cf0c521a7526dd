"""What was packed comes out as it went in, and takes no more room than it may."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.store.contract import VerdictRow
from pipeline.work.packed import Contents, Packed
from schemas.verdict import Wait
from schemas.wire import Observed

_text = st.text(max_size=8)
_time = st.integers(0, 2**51)
_scalar = _text | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.booleans()
_events = st.builds(
    Observed,
    id=_text,
    system=_text,
    step=_text,
    time=_time,
    keys=st.dictionaries(_text, _text, max_size=3),
    phase=st.sampled_from(("received", "completed")),
    peer=st.none() | _text,
    source=_text,
    epoch=_time,
    seq=_time,
    attributes=st.dictionaries(_text, _scalar, max_size=3),
    error=st.none() | _text,
    recorded_at=_time,
    via=_text,
)
_rows = st.builds(
    VerdictRow,
    *(
        st.just("order"),
        _text,
        _text,
        st.integers(1, 9),
        st.integers(0, 9),
        st.integers(0, 2**63),
        _text,
        st.booleans(),
    ),
    *(_time, _time, _time, _time),
    flip=st.integers(0, 9),
    drop_since=_time,
    drop_due=_time,
    findings=st.lists(_text, max_size=2).map(tuple),
    value=st.none() | st.floats(allow_nan=False),
    waits=st.lists(st.builds(Wait, _text, _time), max_size=2).map(tuple),
    body=_text,
)
_claimed = st.dictionaries(
    st.tuples(st.tuples(_text, _text), _text, st.integers(0, 9)), st.tuples(_text, _time), max_size=2
)
_contents = st.builds(Contents, st.lists(_events, max_size=4), st.lists(_rows, max_size=2), _claimed)


@settings(max_examples=200, deadline=None)
@given(st.lists(_contents, max_size=6))
def test_what_goes_in_comes_out(found: list[Contents]) -> None:
    packed = Packed()
    for number, contents in enumerate(found):
        packed.put(("order", str(number)), Contents([], [], {}))
        packed.put(("order", str(number)), contents)
    assert len(packed) == len(found)
    for number, contents in enumerate(found):
        out = packed.take(("order", str(number)))
        assert out == contents
        assert out is not None
        assert [type(row) for row in out.rows] == [VerdictRow for _ in contents.rows]
        assert packed.take(("order", str(number))) is None
    assert packed.bytes == 0


def test_what_was_not_used_for_longest_goes_first() -> None:
    packed = Packed(capacity=2_000)
    event = Observed("1", "shop", "placed", 5, {"order": "1"})
    for number in range(100):
        packed.put(("order", str(number)), Contents([event], [], {}))
        assert packed.bytes <= 2_000
    kept = [number for number in range(100) if packed.take(("order", str(number))) is not None]
    assert kept == list(range(100 - len(kept), 100))
    assert len(kept) > 5
    packed.put(("order", "1"), Contents([event], [], {}))
    packed.drop([("order", "1"), ("order", "2")])
    assert packed.bytes == len(packed) == 0
