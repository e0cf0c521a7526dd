"""Entry: one transaction in a worker's memory, and what is news to it.

Law 1: it can be read back from the store, so nothing is in here alone. What comes twice, as all does after a crash, changes
nothing: an event is news by its content and the ways by which it came, a fact by its version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.core.correlate import ways
from pipeline.core.state import Dispute, State
from pipeline.store.contract import DisputeRow, VerdictRow
from pipeline.work.packed import Claimed, Contents
from schemas.wire import Observed


@dataclass(slots=True)
class Entry:
    """One transaction in memory. ``rows``: flow to what the store's winning verdict row says.

    ``keys``: those that were written. Nothing is taken for written that was read back: a crash may have come between the
    events and what follows from them, so ``unsaid`` has it judged, and its keys written, once more. ``claimed``: (alias, way) to
    the state and the earliest time announced, once per assignment.
    """

    state: State
    partition: int
    rows: dict[str, VerdictRow] = field(default_factory=dict)
    keys: set[tuple[str, str]] = field(default_factory=set)
    last_keys: dict[str, str] = field(default_factory=dict)
    latest: list[Observed] = field(default_factory=list)
    unsaid: bool = True
    claimed: Claimed = field(default_factory=dict)
    claimed_by: dict[str, str] | None = None

    def fill(self, contents: Contents) -> None:
        """As it was when it was packed; everything had been said then."""
        self.keys.add((self.state.key_type, self.state.id))
        for event in contents.events:
            self.state.merge(event)
            self.keys.update(event.keys.items())
        self.rows = {row.flow: row for row in contents.rows}
        self.claimed, self.unsaid = contents.claimed, False

    def contents(self) -> Contents | None:
        """What there is to pack; None where anything is unsaid or out of the ordinary: that is read back when it is wanted."""
        state = self.state
        if self.unsaid or self.latest or state.bounded or state.reused or state.disputes:
            return None
        return Contents([*state.known.values()], [*self.rows.values()], self.claimed)


def learn(state: State, row: DisputeRow) -> bool:
    """Take in what a transaction was told of an alias; whether that changes anything."""
    alias = f"{row.alias_type}:{row.alias}"
    return state.learn(alias, Dispute(row.state, row.version, tuple(row.others), tuple(row.holders), row.way))


def learn_all(state: State, rows: Sequence[DisputeRow]) -> bool:
    """``learn`` every one of them; whether any changes anything."""
    return any([learn(state, row) for row in rows])  # noqa: C419  (all of them)


def read_again(state: State, rows: Sequence[DisputeRow]) -> bool:
    """Whether one of these facts was stored before: by its version, which is the place of the record that brought it about."""
    for row in rows:
        known = state.disputes.get(f"{row.alias_type}:{row.alias}")
        if known is not None and known.version == row.version:
            return True
    return False


def is_news(known: Observed, event: Observed) -> bool:
    """Whether an event says what is not stored yet: other content, or a way by which it had not come."""
    if known.content() != event.content():
        return True
    return bool(known.via) and (not event.via or not {*ways(event.via)} <= {*ways(known.via)})
