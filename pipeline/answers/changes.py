"""Changes: what was said of a transaction when, and what had come to know in between that it was said otherwise.

A verdict is said anew when an event arrives, when time proves that one is missing, when a system is heard again, or when the claim
to a number is settled. The first and the last leave traces, by which a change is explained here. What an event was recorded at is
when its transaction got it: one that waited for a claimant was recorded when the claim brought it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from pipeline.answers.words import Clock, Names, count, listing
from pipeline.core.correlate import CLEAR, CONTESTED, FOREIGN, VOID, alias_of, ways
from pipeline.store.contract import DisputeRow, FlipRow
from schemas.joined import SHARED_MARK, parts
from schemas.times import SECOND
from schemas.verdict import MISSING, DropKind
from schemas.wire import Observed

# Control time, by which it is known when something was said, is that of the last record read there: it may be this much older than
# the event that was the cause.
LAG = 10 * SECOND
SHOWN = 3
_WRONG = frozenset(status.value for status in MISSING)
_SHIFT = 22
_SETTLED = {
    CLEAR: "is no longer contested",
    CONTESTED: "came to be claimed by another, too",
    FOREIGN: "turned out to be another's",
    VOID: "came to be claimed by several",
}


class Change(NamedTuple):
    """``flip``: what was said. ``arrived``: events that came since what was said before; ``settled``: what had become of the
    claims to its numbers by then. Nothing of either for what was said first."""

    flip: FlipRow
    arrived: tuple[Observed, ...] = ()
    settled: tuple[DisputeRow, ...] = ()

    @property
    def corrects(self) -> bool:
        """Whether something was called missing before, and is not any more."""
        return self.flip.before in _WRONG and self.flip.status not in _WRONG


def changes(flips: Sequence[FlipRow], events: Sequence[Observed], disputes: Sequence[DisputeRow]) -> tuple[Change, ...]:
    """One for each flip, in their order. Of several that were said at one time nobody can tell what came before which: what came is
    told with the last that changed the status."""
    found = [Change(flip) for flip in flips]
    begin = 0
    for at, group in groupby(range(len(flips)), key=lambda place: flips[place].at):
        places = list(group)
        turns = [place for place in places if flips[place].before != flips[place].status]
        end = places[-1] + 1
        until = min(at + LAG, flips[end].at if end < len(flips) else at + LAG)
        if places[0] or flips[0].before:
            arrived = [event for event in events if begin < event.recorded_at <= at]
            arrived = arrived or [event for event in events if at < event.recorded_at <= until]
            settled = [row for row in disputes if begin < _said_at(row) <= until]
            last = (turns or places)[-1]
            found[last] = Change(flips[last], tuple(sorted(arrived, key=_when)), tuple(settled))
        begin = at
    return tuple(found)


def _when(event: Observed) -> tuple[int, str]:
    return event.time, event.id


def _said_at(row: DisputeRow) -> int:
    return (row.version >> _SHIFT) * 1_000


@dataclass(frozen=True, slots=True)
class Telling:
    """How a change is told. ``plain``: for those who must not read a number that a customer could not know."""

    names: Names
    clock: Clock
    plain: bool = False

    def change(self, change: Change) -> str:
        """ "stalled → completed: “paid” came, known by payment reference P1"."""
        flip = change.flip
        before = f"{flip.before.replace('_', ' ')} → " if flip.before else ""
        if flip.before == flip.status:
            before = "still "
        now = flip.status.replace("_", " ") + (f" {self.drop(flip)}" if flip.drop_kind else "")
        if flip.before == flip.status and flip.findings:
            now += f", and {listing([kind.replace('_', ' ') for kind in flip.findings])}"
        why = self.why(change)
        return f"{before}{now}" + (f": {why}" if why else "")

    def drop(self, flip: FlipRow) -> str:
        """ "on the way to “paid”"."""
        step = self.names.step(flip.drop_to)
        words = {DropKind.IN_TRANSIT: "on the way to", DropKind.INSIDE: "inside", DropKind.BETWEEN: "somewhere before"}
        return f"in {step}" if flip.drop_kind == DropKind.FAILED else f"{words[DropKind(flip.drop_kind)]} {step}"

    def why(self, change: Change) -> str:
        """What had come to know; "" where that left no trace."""
        parts_ = [self.arrived(change.arrived)] if change.arrived else []
        parts_ += [f"{self.number(_name(row))} {_SETTLED[row.state]}" for row in change.settled]
        flip = change.flip
        by_time = flip.before not in ("", flip.status) and flip.status in _WRONG and flip.drop_kind != DropKind.FAILED
        if by_time and not change.settled:
            return f"{parts_[0]}, and nothing more" if parts_ else "nothing more had come"
        return "; ".join(parts_)

    def arrived(self, events: Sequence[Observed]) -> str:
        """ "“paid” came, known by payment reference P1, and “shipped”"."""
        told: dict[tuple[str, ...], list[str]] = {}
        of_flow = [event for event in events if event.step in self.names.flow.steps]
        for event in of_flow if self.plain and of_flow else events:
            told.setdefault(ways(event.via), []).append(self._step(event.step))
        clauses = []
        for by, steps in told.items():
            known = dict.fromkeys(steps)
            shown = [*list(known)[:SHOWN], *([f"{len(known) - SHOWN} more"] if len(known) > SHOWN else [])]
            clauses.append(f"{listing(shown)} came" + (f", {self.known_by(by)}" if by else ""))
        return "; ".join(clauses)

    def _step(self, step: str) -> str:
        return self.names.step(step) if self.plain or step in self.names.flow.steps else f"“{step}”"

    def known_by(self, by: Sequence[str]) -> str:
        """ "known by payment reference P1"."""
        return f"known by {listing([self.number(alias_of(way)) + self._shared(way) for way in by])}"

    def _shared(self, way: str) -> str:
        return " (which others share)" if way.startswith(SHARED_MARK) else ""

    def number(self, alias: str) -> str:
        """ "payment reference P1", or "another number" where it is not for the customer."""
        kind, value = parts(alias)
        spec = self.names.landscape.keys.get(kind)
        if self.plain and not (spec and spec.customer_knows):
            return "another number"
        return f"{(spec.says if spec else '') or kind} {value}"


def correction(found: Sequence[Change], telling: Telling) -> str:
    """A clause for the agent where what is said now corrects what was said last: "until today at 14:03 we could not find it; then
    …"; "" elsewhere."""
    if not found or not found[-1].corrects:
        return ""
    change = found[-1]
    was = {"lost": "took it for lost", "stalled": "took it for stuck", "failed": "took it for failed"}
    before = was.get(change.flip.before, "could not see how it was doing")
    since = telling.clock.at(change.flip.at).removeprefix("on ")
    why = telling.why(change)
    return f"until {since} we {before}" + (f"; then {why}" if why else "")


def claimed_words(row: DisputeRow, telling: Telling) -> str:
    """Who else claims one of its numbers, or is just like it; "" where nobody does."""
    if row.state == CONTESTED:
        who = listing([" ".join(parts(other)) for other in row.others])
        return f"{telling.number(_name(row))} is also claimed by {who or 'another'}"
    if row.state == FOREIGN:
        return f"{telling.number(_name(row))} turned out to be another's"
    if row.holders:
        twins = [f"{row.key_type} {one} of {telling.clock.short(at)}" for one, at in row.holders[:SHOWN]]
        more = [f"{count(len(row.holders) - SHOWN, 'other')}"] if len(row.holders) > SHOWN else []
        kind = telling.names.landscape.keys.get(row.alias_type)
        return f"the same {(kind.says if kind else '') or row.alias_type} has {listing([*twins, *more])}"
    return ""


def _name(row: DisputeRow) -> str:
    return f"{row.alias_type}:{row.alias}"
