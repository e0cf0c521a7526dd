"""Read = events ∪ quarantined, through a collector of every format, whatever happens to the bytes: nothing raises, every record
that was read is counted, and what is counted is in the log, once, with the running numbers that its source vouches for."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from collectors.collector_file import read_collector
from collectors.inputs.stream import Stream
from tests.bench.collect_formats import SORTS, Sort
from tests.collectors.site import Site

RECORDS = 25
MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
FILES = [name for name, sort in SORTS.items() if not sort.topic]
_PIECES = (
    b"", b"\n", b"\r", b"\x00", b"\xff", b'"', b"{", b"}", b"]", b"'", b"~", b"<", b">", b"&", b"+", b"*", b"9" * 30, b"\x1b[2J",
    b"\xed\xa0\x80",
)  # fmt: skip
EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 40), st.sampled_from(_PIECES) | st.binary(max_size=4)), max_size=6
)


def _collector(sort: Sort) -> str:
    return (
        f"collector: shop-log\ninput: {{file: {{paths: [a.log]}}}}\nformat: {sort.declared}\nzone: UTC\n{sort.mapping}"
    )


def _edited(data: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    for at, gone, put in edits:
        begin = int(at * len(data))
        data = data[:begin] + put + data[begin + gone :]
    return data


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=int(os.environ.get("LASTSEEN_FUZZ", "12")), deadline=None)
@given(edits=EDITS)
def test_what_is_read_is_events_and_quarantined(name: str, edits: list[tuple[float, int, bytes]]) -> None:
    sort = SORTS[name]
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), _collector(sort))
        data = _edited(b"".join(sort.write(RECORDS)), edits)
        assume(not data.startswith(MAGIC))  # then it is a compressed file, and damaged
        (site.folder / "a.log").write_bytes(data)
        stream = Stream(read_collector(site.path).format)
        read = len([*stream.feed(data), *stream.close()])
        collecting = site.begin(once=True)
        site.until_done()
        assert collecting.failed is None
        counts, observed, aside = collecting.counts, site.observed(), site.quarantined()
        assert counts.read == read
        assert (len(observed), len(aside)) == (counts.events, counts.quarantined)
        numbers = sorted(event.seq for _, event in observed)
        assert len(set(numbers)) == len(numbers)
        assert [goodbye.sent for goodbye in site.goodbyes] == [counts.events + counts.quarantined]
        assert counts.without == 0, "no collector here has a condition that a record might not meet"
        assert counts.events + counts.quarantined >= read
        assert all(reason.startswith(str(site.folder)) for reason, _ in aside)
        if not edits:
            assert (counts.events, counts.quarantined) == (RECORDS * sort.events, 0)
        site.stop()


@pytest.mark.parametrize("name", FILES)
def test_every_format_reads_what_the_bench_writes(name: str) -> None:
    """So that the law above is not about quarantine alone."""
    test_what_is_read_is_events_and_quarantined.hypothesis.inner_test(name, [])
