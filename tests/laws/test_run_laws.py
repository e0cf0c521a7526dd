"""Records that are read together come to what each of them comes to by itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.core.correlate import roles_of
from pipeline.log import LogRecord
from pipeline.work import runs
from pipeline.work.batch import Batch
from pipeline.work.intake import Intake
from pipeline.work.trust import Trust
from schemas.event import MAX_EVENT_BYTES
from schemas.flow import Flows
from tests.laws.cases import T0, flows, landscape
from tracer.record import EVENTS, Headers

PARTITIONS = 2


def line(number: int, order: str = "1", **more: Any) -> bytes:
    event = {
        "id": f"e{number}",
        "system": "shop",
        "step": "placed",
        "time": T0 + number,
        "keys": {"order": order},
        **more,
    }
    return json.dumps(event, separators=(",", ":")).encode()


def values() -> st.SearchStrategy[bytes]:
    """Good ones mostly; else what is good only beside its neighbour, or bad."""
    good = st.builds(line, st.integers(0, 9), st.sampled_from(("1", "2", " 2", "3", " ")))
    one = line(1)
    odd = (
        b"", b"\n", b"[" + one + b",", one + b"]", b"[" + one + b"]", one + one, one[:-1], b"}", one + b"\n" + line(2), one + b"\n",
        b"{}", b"poison", b'{"keys":', line(3, peer="\x7f"), line(4, time="2026-10-05T08:00:00Z"), line(5, seq=7),
        line(6, error="x" * (MAX_EVENT_BYTES + 1)), line(7, source="s", epoch=3), line(8, error="é"),
    )  # fmt: skip
    return st.one_of(good, good, good, st.sampled_from(odd))


HEADERS: tuple[Headers, ...] = (
    (), (), (("ls-source", b"s"), ("ls-epoch", b"3")), (("ls-source", b"s"), ("ls-epoch", b"3"), ("ls-seq", b"7")),
    (("content-encoding", b"lz4"),), (("ls-depth", b"1"),), (("ls-import", b"1"),), (("ls-kind", b"other"),),
)  # fmt: skip


def taken(records: list[LogRecord]) -> tuple[Any, ...]:
    intake = Intake(landscape(), PARTITIONS, Trust(), roles_of(Flows(flows())))
    batch = intake.take({0: records[::2], 1: records[1::2]})
    return batch.events, batch.homes, batch.depths, _arrivals(batch), batch.quarantine, batch.positions, batch.aside


def _arrivals(batch: Batch) -> Any:
    return {
        one: [(event, event.recorded_at, event.via, body) for event, body in found]
        for one, found in batch.arrivals.items()
    }


@settings(max_examples=400, deadline=None)
@example([(one, ()) for one in (line(1) + b"\n" + line(2), b"") for _ in (0, 1)])
@example([(one, ()) for one in (b"[" + line(1) + b",", line(2) + b"]") for _ in (0, 1)])
@given(found=st.lists(st.tuples(values(), st.sampled_from(HEADERS)), min_size=2, max_size=30))
def test_many_at_a_time_are_one_by_one(found: list[tuple[bytes, Headers]]) -> None:
    records = [
        LogRecord(EVENTS, number % 2, number // 2, T0 + number, b"", value, headers)
        for number, (value, headers) in enumerate(found)
    ]
    with pytest.MonkeyPatch.context() as patch:
        together = taken(records)
        patch.setattr(runs, "_MOST_RECORDS", 1)
        assert together == taken(records)


def test_a_run_ends_where_headers_change_and_where_it_grows_large() -> None:
    sizes = [10, 10, runs._MOST_BYTES, 10, 10]
    records = [LogRecord(EVENTS, 0, at, 0, b"", b"x" * size, ()) for at, size in enumerate(sizes)]
    records += [LogRecord(EVENTS, 0, at, 0, b"", b"x", (("ls-source", b"s"),)) for at in (5, 6)]
    intake = Intake(landscape(), PARTITIONS, Trust(), roles_of(Flows(flows())))
    assert [len(run) for run in runs.runs(records, intake._meta)] == [2, 1, 2, 2]
