"""A million events on one transaction (fault 23): bounded in memory, all of them stored, and flagged.

A quarter of a million is sent: a hundred times the bound. From there on nothing changes but how long the test takes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.core.state import BOUND
from pipeline.store.embedded import open_embedded
from pipeline.worker import Worker
from schemas.times import HOUR, SECOND
from schemas.wire import compress
from tests.faults.site import Site
from tests.faults.stories import START, Event, told
from tracer.record import ENCODING, EPOCH, EVENTS, KIND, LZ4, SOURCE, Record

COUNT = 250_000
EACH = 2_000
_AT_ONCE = 25


def flood(first: Event, count: int) -> Iterator[Record]:
    """The same step reported again and again, a millisecond apart: a sender in a loop, whose every event has an id of its own."""
    headers = ((KIND, b"event"), (SOURCE, b"app"), (EPOCH, b"1"), (ENCODING, LZ4))
    text = json.dumps({**first, "id": "@id", "time": 0, "attributes": {}}, separators=(",", ":"))
    head, _, tail = text.partition('"@id"')
    before, _, after = tail.partition('"time":0')
    key = f"order:{first['keys']['order']}".encode()
    for start in range(0, count, EACH):
        body = "\n".join(
            f'{head}"again/{number}"{before}"time":{first["time"] + number * 1_000}{after}'
            for number in range(start, start + EACH)
        )
        yield Record(EVENTS, key, compress(body.encode()), headers, 0)


def kept(worker: Worker) -> int:
    """Events that the ledger holds, over all transactions."""
    return sum(len(entry.state) for entry in worker._ledger._entries.values())


def test_23_a_million_events_on_one_transaction(tmp_path: Path) -> None:
    """Kept in memory is a bound's worth at most, at any time; others are judged as ever; the one is flagged with how it stands."""
    store = open_embedded(tmp_path / "store", {}, "lastseen")
    store.migrate()
    site = Site(store=store)
    looping, other = told("order", "loop", "placed 0m, paid 5m", {}), told("order", "other", "placed 0m", {})
    site.send([*looping, *other])
    worker = site.worker(max_records=_AT_ONCE)
    worker.drain()
    most = 0
    parts: list[Record] = []
    for record in flood(looping[0], COUNT):
        parts.append(record)
        if len(parts) == _AT_ONCE:
            most = max(most, processed(site, worker, parts))
            parts = []
    assert most <= BOUND + 3
    assert kept(worker) <= 10, "past the bound: the first and the last of each kind"
    site.hear(START + 2 * HOUR + COUNT // 1_000 * SECOND)
    worker.drain()
    said = {name[1]: one for name, one in site.verdicts().items()}
    assert said["other"].status == "stalled"
    assert "too many events" in str(said["loop"].findings)
    assert store.count_events() == COUNT + 3
    store.close()


def processed(site: Site, worker: Worker, records: Sequence[Record]) -> int:
    """How many events the worker holds once these are committed."""
    site.produce(records)
    while site.log.groups["lastseen"].commits != site.ends():
        worker.step()
    return kept(worker)
