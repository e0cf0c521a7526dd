"""The laws of `collectors.formats.contract`, for every format: a format's test class inherits `FormatLaws` and gives its cases.

Proves of each: where bytes are cut changes nothing, a decoder goes on at every record's end, records lose and double nothing,
hostile bytes neither raise nor are taken for what they are not, and a stream that was cut short gives no record that the whole
one would not have.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectors.formats.contract import Decoder, Format, Item, Ready, Record
from collectors.inputs.file_identity import Prefix, position_of
from collectors.inputs.record import MAX_RAW, Row, Unreadable
from collectors.inputs.stream import Stream

_SETTINGS = settings(
    max_examples=int(os.environ.get("LASTSEEN_FUZZ", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow, HealthCheck.data_too_large],
)
MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_HOSTILE = (
    b"\x00", b"\xff", b"\xed\xa0\x80", b"\xc3", b"\x1b[2J", b"\r", b"\n", b"\r\n", b"\xe2\x80\xae", b"'", b'"', b"\\", b"<", b">",
    b"&", b"{", b"}", b"[", b"]", b"=", b",", b":", b"~", b"+", b"*", b" ", b"\t", b"9" * 40, b"A" * 40, *MARKS,
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A format and a stream of it, of several records.

    Attributes:
        between: bytes that may stand between two records.
        open_ended: a record's end is known only by what follows (lines of which some continue the last): a stream that ends at
            a line's end may give a shorter record.
        as_message: ``message`` gives of the same bytes the same items.
        raw_stands: ``raw`` is found in the stream as it is.
    """

    name: str
    format: Format
    sample: bytes
    between: bytes = b"\r\n"
    open_ended: bool = False
    as_message: bool = True
    raw_stands: bool = True


class FormatLaws:
    """``cases``: at least one that gives rows. ``fragments``: pieces that matter to the format, of which hostile streams are
    made beside those that matter to all."""

    cases: ClassVar[Sequence[Case]] = ()
    fragments: ClassVar[Sequence[bytes]] = ()

    def test_the_samples_say_something(self) -> None:
        assert self.cases
        for case in self.cases:
            assert any(isinstance(item, Row | Ready) for item in items_of(read(case.format, case.sample))), case.name

    def test_byte_by_byte_gives_the_same(self) -> None:
        for case in self.cases:
            assert by_bytes(case.format, case.sample) == read(case.format, case.sample), case.name

    def test_records_lose_and_double_nothing(self) -> None:
        for case in self.cases:
            covers(case, case.sample, read(case.format, case.sample))

    def test_a_decoder_goes_on_at_every_records_end(self) -> None:
        for case in self.cases:
            expected = read(case.format, case.sample)
            for count, state in _stops(case.format, case.sample):
                end = expected[count - 1].end
                line = expected[count].line if count < len(expected) else 1
                again = read(case.format, case.sample[end:], offset=end, line=line, state=state)
                assert again == expected[count:], (case.name, end)

    def test_a_stream_begun_again_from_its_position_says_the_same(self) -> None:
        """As a file is read on after a crash: places, and so event ids, and lines as in one go."""
        for case in self.cases:
            whole = Stream(case.format)
            expected = [*whole.feed(case.sample), *whole.close()]
            for cut in range(0, len(case.sample), max(1, len(case.sample) // 100)):
                first = Stream(case.format)
                found, position, prefix = first.feed(case.sample[:cut]), first.position, Prefix()
                prefix.update(case.sample[: position.offset])
                again = Stream(case.format, position_of(json.loads(json.dumps(position.saved()))), prefix)
                found += again.feed(case.sample[position.offset :])
                assert [*found, *again.close()] == expected, (case.name, cut)

    def test_what_is_cut_short_gives_no_record_that_the_whole_has_not(self) -> None:
        for case in self.cases:
            expected = read(case.format, case.sample)
            told = [_said(item) for item in items_of(expected)]
            step = max(1, len(case.sample) // 400)
            for cut in range(0, len(case.sample), step):
                decoder = case.format.decoder()
                fed = decoder.feed(case.sample[:cut])
                assert fed == expected[: len(fed)], (case.name, cut)
                if case.open_ended and case.sample[:cut].endswith(b"\n"):
                    continue
                for item in items_of(decoder.close()):
                    assert isinstance(item, Unreadable) or _said(item) in told, (case.name, cut, item)

    def test_a_message_is_a_stream_of_its_own(self) -> None:
        for case in self.cases:
            items = case.format.message(case.sample, {})
            if case.as_message:
                expected = items_of(read(case.format, case.sample))
                assert [_said(item) for item in items] == [_said(item) for item in expected], case.name

    @given(st.data())
    @_SETTINGS
    def test_cuts_anywhere_change_nothing(self, data: st.DataObject) -> None:
        case = data.draw(st.sampled_from(self.cases))
        cuts = sorted(data.draw(st.sets(st.integers(0, len(case.sample)), max_size=8)))
        decoder, records, begin = case.format.decoder(), [], 0
        for cut in (*cuts, len(case.sample)):
            records += decoder.feed(case.sample[begin:cut])
            begin = cut
        assert [*records, *decoder.close()] == read(case.format, case.sample)

    @given(st.data())
    @_SETTINGS
    def test_hostile_bytes(self, data: st.DataObject) -> None:
        case = data.draw(st.sampled_from(self.cases))
        stream = data.draw(_streams(case.sample, (*_HOSTILE, *self.fragments)))
        records = read(case.format, stream)
        assert by_bytes(case.format, stream) == records
        covers(case, stream, records)
        for item in (*items_of(records), *case.format.message(stream, {})):
            assert len(item.payload() if isinstance(item, Row | Unreadable) else item.raw or b"") <= MAX_RAW
            assert item.line >= 1
            assert not isinstance(item, Unreadable) or (item.reason and item.reason.isprintable())


def _streams(sample: bytes, pieces: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Anything; pieces that matter; and the sample with some of it gone, replaced or put between."""
    small = st.one_of(st.sampled_from(pieces), st.binary(max_size=6), st.just(b""))
    at = st.integers(0, len(sample))
    edits = st.lists(st.tuples(at, st.integers(0, 12), small), min_size=1, max_size=5).map(lambda e: _edited(sample, e))
    return st.one_of(edits, st.lists(small, max_size=30).map(b"".join), st.binary(max_size=200))


def _edited(sample: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for at, gone, put in edits:
        sample = sample[:at] + put + sample[at + gone :]
    return sample


def read(
    layout: Format, stream: bytes, *, offset: int = 0, line: int = 1, state: Mapping[str, Any] | None = None
) -> list[Record]:
    """A stream in one piece."""
    decoder = layout.decoder(offset, line, state)
    return [*decoder.feed(stream), *decoder.close()]


def by_bytes(layout: Format, stream: bytes) -> list[Record]:
    """A stream byte by byte."""
    decoder = layout.decoder()
    return [*_fed(decoder, stream), *decoder.close()]


def _fed(decoder: Decoder, stream: bytes) -> list[Record]:
    return [record for at in range(len(stream)) for record in decoder.feed(stream[at : at + 1])]


def _stops(layout: Format, stream: bytes) -> list[tuple[int, dict[str, Any]]]:
    """Where a position may be saved: how many records there were, and the state as JSON gives it back."""
    decoder, count, stops = layout.decoder(), 0, []
    for at in range(len(stream)):
        records = decoder.feed(stream[at : at + 1])
        if records:
            count += len(records)
            text = json.dumps(decoder.state())
            assert len(text) < 64 * 1024
            stops.append((count, json.loads(text)))
    return stops


def covers(case: Case, stream: bytes, records: list[Record]) -> None:
    """Records do not overlap, come in order, and between them stands only what parts them."""
    at = 0
    for record in records:
        assert at <= record.offset <= record.end <= len(stream), (case.name, record)
        between_records(case, stream[at : record.offset])
        piece = stream[record.offset : record.end]
        for item in record.items:
            if case.raw_stands and item.raw is not None:
                assert item.raw in piece, (case.name, item)
        if not record.items:
            assert record.end > record.offset, (case.name, record)
        at = record.end
    between_records(case, stream[at:])


def between_records(case: Case, piece: bytes) -> None:
    for mark in MARKS:
        piece = piece.removeprefix(mark)
    assert not piece.strip(case.between), (case.name, piece)


def items_of(records: Sequence[Record]) -> list[Item]:
    return [item for record in records for item in record.items]


def _said(item: Item) -> tuple[str, int, Any]:
    if isinstance(item, Row):
        return "row", item.line, dict(item.fields)
    if isinstance(item, Ready):
        return "event", item.line, dict(item.event)
    return "unreadable", item.line, item.reason
