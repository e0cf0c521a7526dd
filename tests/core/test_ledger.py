"""Memory is a cache (law 1): what a worker holds is what it would read back, whatever was published meanwhile."""

from __future__ import annotations

import pytest

from pipeline.core import state as module
from pipeline.core.correlate import roles_of
from pipeline.core.state import State
from pipeline.store.memory import MemoryStore
from pipeline.work.ledger import Ledger
from schemas.flow import Flows
from tests.contract.stores import T, event
from tests.faults.stories import definitions

ONE = ("order", "1")


@pytest.mark.parametrize("count", [3, 20])
def test_a_flow_that_tells_parcels_apart_is_judged_by_all_of_them(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Past the bound a state keeps the first and the last of each kind; what is a kind, flows say."""
    monkeypatch.setattr(module, "BOUND", 8)
    flows, store = definitions()[0], MemoryStore()
    said = {"system": "carrier", "step": "delivered"}
    rows = [event(f"e{n}", time=T + n, keys={"order": "1", "parcel": f"P{n}"}, **said) for n in range(count)]
    store.write_events(rows)
    before = Flows([flow for flow in flows.all() if flow.flow != "order"])
    ledger = Ledger(store, before, 1, roles_of(before))
    ledger.load({ONE: 0})
    ledger.use(flows, roles_of(flows))
    ledger.load({ONE: 0})
    whole = State.of(*ONE, (row.event for row in rows), ("parcel",))
    assert ledger._entries[ONE].state.known == whole.known
    assert ledger._entries[ONE].state.instance_types == whole.instance_types
    assert ledger._events == len(whole)
