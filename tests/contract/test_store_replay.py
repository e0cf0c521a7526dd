"""Law 1 at the store: rows written again, in any batches and any order, leave the same answers as in memory."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.store.contract import FlipRow, HearingRow, KeyRow, QuarantineRow, SourceRow, Store, VerdictRow
from pipeline.store.memory import MemoryStore
from tests.contract.stores import T, event, served_folder, shared_store, store

__all__ = ["served_folder", "shared_store", "store"]

_fresh = itertools.count()

small = st.integers(0, 2)
events = st.builds(
    lambda id_, time, via, recorded, seq, epoch: event(
        f"e{id_}", "1", T + time, via=("", "payment:p")[via], recorded_at=T + recorded, seq=seq, epoch=epoch
    ),
    small, small, st.integers(0, 1), small, small, small,
)  # fmt: skip
# One version says one thing: that much a fence and its counter give.
verdicts = st.builds(
    lambda flow, version: VerdictRow(
        "order", "1", f"flow{flow}", 1, version % 2, version, ("lost", "completed", "failed")[version % 3], version % 2 == 0,
        T + version, T, 0, T, findings=("late",) * (version % 2), excluded=version == 4,
    ),
    small, st.integers(0, 5),
)  # fmt: skip
flips = st.builds(
    lambda number, version: FlipRow(
        "order", "1", "flow", number, version, T + number + 3 * version, "", ("lost", "completed", "stalled")[version]
    ),
    small, small,
)  # fmt: skip
keys = st.builds(lambda value, at: KeyRow("customer", f"v{value}", "order", "1", T + at), small, small)
sources = st.builds(
    lambda epoch, at, position: SourceRow(
        "shop-1", epoch, ("shop",), f"{at}/{position}", 0, 0, 0, 0, 1, 0, 0, 0, T + at, position
    ),
    small, small, small,
)  # fmt: skip
hearing = st.builds(
    lambda number, at, position: HearingRow("shop", "deaf", "s", 1, number, T, T, f"{at}/{position}", T + at, position),
    small, small, small,
)  # fmt: skip
quarantine = st.builds(
    lambda id_, version: QuarantineRow(
        f"q{id_}", T + id_, "s", 1, "why", "", b"\xff", state=("kept", "retried")[version % 2], version=version
    ),
    small, small,
)  # fmt: skip

WRITES = ("events", "verdicts", "flips", "keys", "sources", "hearing", "quarantine")


def _of(order: str, rows: Sequence[Any]) -> list[Any]:
    """The rows, of a transaction (source, system, quarantine) that no other example has."""
    renamed: list[Any] = []
    for row in rows:
        match row:
            case KeyRow():
                renamed.append(row._replace(transaction_id=order, value=f"{order}{row.value}"))
            case SourceRow():
                renamed.append(row._replace(source=order))
            case HearingRow():
                renamed.append(row._replace(system=order))
            case QuarantineRow():
                renamed.append(row._replace(id=f"{order}{row.id}", source=order))
            case _:
                renamed.append(row._replace(transaction_id=order))
    return renamed


def _write(into: Store, kind: str, rows: Sequence[Any]) -> None:
    getattr(into, f"write_{kind}")(rows)


def answers(store: Store, order: str) -> dict[str, Any]:
    """All that can be asked of one transaction."""
    transaction = ("order", order)
    mine: Callable[[Any], list[Any]] = lambda rows: sorted(row for row in rows if row[1] == order)  # noqa: E731
    return {
        "events": sorted(map(repr, store.load_events([transaction])[transaction])),
        "verdicts": sorted(store.load_verdicts([transaction])[transaction]),
        "open": [mine(store.open_verdicts([partition], 2)) for partition in (0, 1)],
        "flips": store.flips(transaction),
        "between": mine(store.flips_between(T + 2, T + 7)),
        "missing": [mine(store.missing_at(T + at)) for at in range(0, 9, 2)],
        "keys": [store.find_keys(f"{order}v{value}") for value in range(3)],
        "keys of": store.keys_of([transaction]),
        "sources": [row for row in store.sources() if row.source == order],
        "hearing": [[row for row in store.hearing(as_of) if row.system == order] for as_of in (0, T, T + 1)],
        "quarantine": store.quarantine([f"{order}q{i}" for i in range(3)]),
        "kept": store.quarantine(source=order),
    }


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(*(
        st.lists(rows, max_size=6) for rows in (events, verdicts, flips, keys, sources, hearing, quarantine)
    )),
    st.randoms(use_true_random=False),
    st.integers(1, 5),
)  # fmt: skip
def test_order_batches_and_repetition_change_no_answer(
    store: Store, rows: tuple[list[Any], ...], chance: random.Random, size: int
) -> None:
    order = f"o{next(_fresh)}"
    plain = MemoryStore()
    batches = []
    for kind, some in zip(WRITES, rows, strict=True):
        mine = _of(order, some)
        _write(plain, kind, mine)
        again = mine + chance.sample(mine, len(mine) // 2)
        chance.shuffle(again)
        batches += [(kind, again[i : i + size]) for i in range(0, len(again), size)]
    chance.shuffle(batches)
    for kind, batch in batches:
        _write(store, kind, batch)
    assert answers(store, order) == answers(plain, order)
