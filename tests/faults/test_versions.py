"""One id with two contents, one version of a flow with two contents: one of them counts, whoever comes first or last."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import pytest

from pipeline.errors import Invalid
from pipeline.log.memory import MemoryLog
from pipeline.store.contract import Store
from pipeline.store.embedded import open_embedded
from pipeline.store.memory import MemoryStore
from schemas.flow import Flow, Flows
from schemas.times import DAY, HOUR, MINUTE
from tests.faults.site import Site
from tests.faults.stories import START, Event, definitions, flat, told
from tracer.record import Ack, Record
from tracer.sinks.memory import MemorySink


def contents() -> list[Event]:
    """One payment, told three times under one id, never alike."""
    paid = told("order", "x", "placed 0m, paid 5m", {})[1]
    return [
        {**paid, "time": START + 5 * MINUTE},
        {**paid, "time": START + 9 * MINUTE},
        {**paid, "phase": "failed", "error": "declined"},
    ]


@pytest.mark.parametrize("adapter", ["memory", "chdb"])
def test_22_an_id_used_again_with_other_content(adapter: str, tmp_path: Path) -> None:
    """In every order, in one batch and in several, before and after a restart: the same one wins, all are stored and counted."""
    opened: Store = MemoryStore() if adapter == "memory" else open_embedded(tmp_path / "store", {}, "lastseen")
    opened.migrate()
    said = set()
    for number, order in enumerate(permutations(contents())):
        for size in (1, 3):
            site = Site(store=opened)
            name = f"x{number}-{size}"
            events = [{**event, "keys": {"order": name}} for event in (told("order", name, "placed 0m", {})[0], *order)]
            site.send(events[:3], each=1)
            site.hear(START + HOUR)
            first = site.worker(max_records=size)
            first.drain()
            first.close()
            site.send(events[3:])
            site.hear(START + 30 * DAY)
            second = site.worker(max_records=size)
            second.drain()
            one = {identity: told for identity, told in site.verdicts().items() if identity[1] == name}
            assert one == site.judged(events, second)
            said.add(repr(one["order", name, "order"]).replace(name, "x"))
            assert first.counters.conflicts + second.counters.conflicts == 2
            stored = opened.load_events([("order", name)])["order", name]
            assert len({event.content() for event in stored if event.id == "x/1"}) == 3
    assert len(said) == 1
    opened.close()


def changed(within: str) -> Flows:
    """The flows that ship, but for the time that a payment may take: the same version with other content."""
    shipped = definitions()[0]
    content = shipped.latest("order").model_dump(mode="json")
    content["steps"]["paid"]["within"] = within
    return Flows([Flow.model_validate(content) if flow.flow == "order" else flow for flow in shipped.all()])


def test_37_whoever_publishes_a_version_second_with_other_content_is_refused() -> None:
    site = Site()
    first = site.worker("A")
    with pytest.raises(Invalid, match="version 3 of flow order was published with other content"):
        site.worker("B", flows=changed("2h"))
    assert first.fold.conflicts == []
    site.worker("C").close()


class _HastySink(MemorySink):
    def __init__(self, log: HastyLog):
        super().__init__(log.broker)
        self._log = log

    def produce(self, records: Sequence[Record], timeout: float = 30.0) -> list[Ack]:
        hasten = self._log.before_flow
        if hasten is not None and any(b'"kind":"flow"' in record.value for record in records):
            self._log.before_flow = None
            hasten()
        return super().produce(records, timeout)


class HastyLog(MemoryLog):
    """``before_flow`` is called before a worker publishes flows, once."""

    before_flow = None

    def producer(self) -> MemorySink:
        return _HastySink(self)


def test_37_also_where_both_publish_at_the_same_time() -> None:
    """B has seen that nobody published, stalls, and publishes after A did: the first in control counts, B sees it and stops."""
    site = Site()
    log = HastyLog(1, site.clock)
    site.log, site.sink = log, log.producer()
    workers = []
    log.before_flow = lambda: workers.append(site.worker("A"))  # type: ignore[assignment]
    with pytest.raises(Invalid, match="published with other content"):
        site.worker("B", flows=changed("2h"))
    (first,) = workers
    site.send(told("order", "x", "placed 0m", {}))
    site.hear(START + HOUR)
    first.drain()
    assert [one.flow for one in first.fold.conflicts] == ["order"], "it stands in control, and does not count"
    assert site.verdicts()["order", "x", "order"].status == "stalled", "A's fifteen minutes, not B's two hours"


def test_37_one_version_decides_and_nothing_flaps() -> None:
    """Two workers of one content beside a refused one, and an older one that has not even got the flow: all judge alike."""
    site = Site(4)
    shipped = definitions()[0]
    older = Flows([flow for flow in shipped.all() if flow.flow != "order"])
    workers = [site.worker("A"), site.worker("old", flows=older)]
    with pytest.raises(Invalid):
        site.worker("B", flows=changed("2h"))
    events = flat(told("order", f"o{n}", "placed 0m, paid 20m, confirmed 21m", {}) for n in range(20))
    site.send(events)
    site.hear(START + HOUR)
    for _ in range(12):
        for worker in workers:
            worker.step()
    assert [len(worker.owned) for worker in workers] == [2, 2]
    for worker in workers[::-1]:
        worker.close()
        last = site.worker("last", flows=older)
        last.drain()
        last.close()
    flips = site.flips()
    assert len(flips) == 20
    assert all(len(told) == 1 and told[0][5] == ("late",) for told in flips.values()), "late once, whoever judged"


def test_37_a_new_version_is_published_beside_the_old_one() -> None:
    site = Site()
    old = site.worker("A")
    newer = definitions()[0].latest("order").model_dump(mode="json")
    newer["steps"]["paid"]["within"] = "2h"
    content = Flow.model_validate({**newer, "version": 4, "since": "2026-03-03T00:00:00Z"})
    new = site.worker("B", flows=Flows([*definitions()[0].all(), content]))
    new.close()
    site.send(told("order", "before", "placed 0m", {}))
    site.send(told("order", "after", "placed 0m", {}, START + DAY))
    site.hear(START + DAY + HOUR)
    old.drain()
    said = {name[1]: one.status for name, one in site.verdicts().items()}
    assert said == {"before": "stalled", "after": "in_progress"}, "also where an older worker judges"
