"""Oracle: what a pure judge says of the union of all events; and what one could have said who had known all at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from pipeline.core.control import ControlFold
from pipeline.core.correlate import roles_of
from pipeline.core.hearing import Hearing, Knowledge
from pipeline.core.judge import judge, meets
from pipeline.core.knowledge import knowledge_of
from pipeline.core.state import State
from pipeline.store.contract import VerdictRow
from schemas.control import decode_control
from schemas.verdict import FindingKind
from schemas.wire import Observed, decode
from tests.faults.site import Name, Said, _of
from tests.laws.joined_at_once import join_all
from tests.simulation.definitions import SYSTEMS
from tests.simulation.observer import PROVEN, TRANSACTIONS, Word

if TYPE_CHECKING:
    from tests.simulation.world import World

Transaction = tuple[str, str]


class Oracle:
    """``fold``: control as it stands, read by nobody's worker. ``knowledge``: what follows from it."""

    def __init__(self, world: World):
        self.world = world
        self.fold = ControlFold(world.landscape)
        for offset, (at, record) in enumerate(world.observer.control):
            self.fold.apply(offset, at, decode_control(record.value))
        self.flows = self.fold.flows()
        self.knowledge = knowledge_of(self.fold, self.flows)
        self.roles = roles_of(self.flows)
        self._happened: list[Observed] | None = None
        self._known: dict[int, dict[Transaction, State]] = {}

    # All that reached the log --------------------------------------------------------------------------------------

    def events(self) -> list[Observed]:
        """Each observation once, under the numbers by which they meet."""
        found: dict[tuple[str, str], Observed] = {}
        for part in self.world.observer.logged:
            for read in part:
                if read.by_source:
                    for event in read.events:
                        plain = self._plain(event)
                        found.setdefault((plain.id, repr(plain.content())), plain)
        return sorted(found.values(), key=lambda event: (event.time, event.id))

    def _plain(self, event: Observed) -> Observed:
        keys = {kind: self.world.landscape.normalise(kind, value) for kind, value in event.keys.items()}
        return msgspec.structs.replace(event, keys=keys)

    def judged(self) -> dict[Name, Said]:
        """Verdicts on the union of all events that reached the log, joined at once."""
        found: dict[Name, Said] = {}
        for (kind, identity), state in self.states(self.events(), self.world.observer.words).items():
            for name in self.flows.by_key.get(kind, ()):
                flow = self.flows.in_force(name, state.earliest, ended=False)
                if len(state) and meets(state, flow, self.knowledge):
                    found[kind, identity, name] = _of(judge(state, flow, self.knowledge))
        return found

    def states(self, events: Sequence[Observed], words: Sequence[Word]) -> dict[Transaction, State]:
        """Of every transaction: its events, by which ways, and what it knows of its aliases."""
        found: dict[Transaction, State] = {}
        for kind in TRANSACTIONS:
            said = [(word.alias, word.to[1], word.decision) for word in words if word.to[0] == kind]
            instances = {
                step.per for flow in self.flows.all() if flow.key == kind for step in flow.steps.values() if step.per
            }
            joined = join_all(events, self.roles, kind, said, tuple(sorted(instances)))
            found.update({(kind, identity): state for identity, state in joined.items()})
        return found

    # All that happened ---------------------------------------------------------------------------------------------

    def could_say(self, row: VerdictRow) -> bool:
        """Whether there was a moment up to the verdict's at which one who knew of everything that had happened by then, sent or
        not, would have called the transaction missing, and not for a step that was done.

        A number is the transaction's before anybody says so: what had happened by then counts also where the link that joins it
        came between that moment and the verdict. (Seed 4813: of two parcels one was packed late, which nobody heard; that the
        order had been paid, so that it was overdue, was told after it had been packed.)
        """
        times = [row.drop_due + 1, row.judged_at]
        times += [time for event in self.happened() for time in (event.time, event.time + 1)]
        moments = [time for time in dict.fromkeys(times) if time <= row.judged_at]
        name = (row.key_type, row.transaction_id)
        if any(self._says(row, time, self._known_at(time).get(name)) for time in moments):
            return True
        whole = self._known_at(row.judged_at).get(name)
        return whole is not None and any(self._says(row, time, _by_then(whole, time)) for time in moments)

    def anothers(self, row: VerdictRow, events: frozenset[str]) -> bool:
        """Whether a verdict rested on events that are not, or not for certain, the transaction's, by all that had happened."""
        state = self._known_at(row.judged_at).get((row.key_type, row.transaction_id))
        if state is None:
            return True
        return any(one not in state.events or state.doubtful(state.events[one]) for one in events)

    def happened(self) -> list[Observed]:
        if self._happened is None:
            self._happened = []
            for happening in self.world.stories.happenings:
                (event,), _, _ = decode(json.dumps(happening.event).encode(), happening.system, 1)
                event.recorded_at = happening.at
                self._happened.append(self._plain(event))
        return self._happened

    def _known_at(self, time: int) -> dict[Transaction, State]:
        known = self._known.get(time)
        if known is None:
            events = [event for event in self.happened() if event.time <= time]
            known = self._known[time] = self.states(
                events, [word for word in self.world.observer.words if word.at <= time]
            )
        return known

    def _says(self, row: VerdictRow, time: int, state: State | None) -> bool:
        if state is None or not len(state):
            return False
        flow = next(flow for flow in self.flows.versions[row.flow] if flow.version == row.flow_version)
        true = judge(state, flow, self._all_heard(time))
        # That it is a test order may be what nobody heard.
        if true.excluded or any(
            found.kind is FindingKind.SKIPPED and found.step == row.drop_to for found in true.findings
        ):
            return True
        done = {event.step for event in state if event.phase == "completed"}
        several = flow.steps[row.drop_to].per is not None
        lies_there = several or row.drop_to not in done or row.drop_to in {drop.to_step for drop in true.drops}
        return lies_there and true.status.value in PROVEN

    def _all_heard(self, time: int) -> Knowledge:
        hearing = {system: Hearing(system, time) for system in SYSTEMS}
        return replace(self.knowledge, control_time=time, processed=time, hearing=hearing, skews={})


def _by_then(state: State, time: int) -> State:
    """What of it had happened by ``time``, under the names by which it is known now."""
    found = State.of(state.key_type, state.id, (event for event in state if event.time <= time), state.instance_types)
    for alias, dispute in state.disputes.items():
        found.learn(alias, dispute)
    return found
