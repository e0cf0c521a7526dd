"""What correlation has to come to, said a second time and another way: all events and all of people's words at once, in strata.

Own claims first (they need no "unless"), then shared ones (which yield to own ones), then weak ones (which lead to nothing).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.core.correlate import Roles, nearest
from pipeline.core.state import Dispute, State
from schemas.joined import address
from schemas.wire import Observed

Words = Sequence[tuple[str, str, str]]
"""(alias ``type:value``, transaction id, accept or break), the latest last."""


@dataclass
class _Join:
    """One key type of transactions. ``ways``: transaction to event number to the ways by which it came ("" for itself)."""

    kind: str
    roles: Roles
    events: Sequence[Observed]
    words: Words
    ways: dict[str, dict[int, set[str]]] = field(default_factory=dict)
    own: dict[str, set[str]] = field(default_factory=dict)
    shared: dict[str, set[str]] = field(default_factory=dict)
    weak: dict[str, set[str]] = field(default_factory=dict)

    def role(self, alias: str) -> str:
        return self.roles.role(self.kind, alias.partition(":")[0]).joins

    def aliases(self, event: Observed) -> list[str]:
        return [address(*pair) for pair in event.keys.items() if self.roles.role(self.kind, pair[0]).joins]

    def refused(self, alias: str, transaction: str) -> bool:
        """By a person's word."""
        last = {one: word for name, one, word in self.words if name == alias}
        accepted = [
            one for name, one, word in self.words if name == alias and word == "accept" and last[one] == "accept"
        ]
        if accepted and self.role(alias) != "shared":
            return transaction != accepted[-1]
        return last.get(transaction) == "break"

    def accepted(self, alias: str) -> set[str]:
        last = {one: word for name, one, word in self.words if name == alias}
        return {one for one, word in last.items() if word == "accept" and not self.refused(alias, one)}

    def foreign(self, number: int, transaction: str) -> bool:
        for alias in self.aliases(self.events[number]):
            if self.refused(alias, transaction):
                return True
            own = self.own.get(alias, set())
            if self.role(alias) == "alias" and own and transaction not in own:
                return True
        return False

    def leads(self, number: int, transaction: str) -> set[str]:
        """A shared way does not lead where the event carries another's own alias."""
        ways = self.ways[transaction][number]
        return {way for way in ways if not way.startswith("~") or not self.foreign(number, transaction)}

    def run(self) -> None:
        for number, event in enumerate(self.events):
            if self.kind in event.keys:
                self.ways.setdefault(event.keys[self.kind], {})[number] = {""}
        for transaction in [one for _, one, _ in self.words]:
            self.ways.setdefault(transaction, {})
        self._grow(self._claim_own, self.own, "")
        self._grow(self._claim_shared, self.shared, "~")
        self._claim_weak()

    def _grow(self, claim, found: dict[str, set[str]], mark: str) -> None:  # type: ignore[no-untyped-def]
        grown = True
        while grown:
            grown = claim()
            for alias, transactions in found.items():
                if mark and self.role(alias) == "alias" and self.own.get(alias):
                    continue
                for number, event in enumerate(self.events):
                    if alias not in self.aliases(event) or self.kind in event.keys:
                        continue
                    if mark and self.role(alias) == "shared" and not self._reachable(event):
                        continue
                    for one in transactions:
                        ways = self.ways[one].setdefault(number, set())
                        grown = grown or mark + alias not in ways
                        ways.add(mark + alias)

    def _reachable(self, event: Observed) -> bool:
        """By a shared alias: where it has none of its own, or one that nobody claims."""
        own = [alias for alias in self.aliases(event) if self.role(alias) == "alias"]
        return not own or any(not self.own.get(alias) for alias in own)

    def _claim_own(self) -> bool:
        before = sum(map(len, self.own.values()))
        for transaction, events in self.ways.items():
            for number, ways in events.items():
                for alias in self.aliases(self.events[number]):
                    if self.role(alias) == "alias" and ways - {alias} and not self.refused(alias, transaction):
                        self.own.setdefault(alias, set()).add(transaction)
        for alias, _, _ in self.words:
            if self.role(alias) == "alias":
                self.own.setdefault(alias, set()).update(self.accepted(alias))
        return sum(map(len, self.own.values())) > before

    def _claim_shared(self) -> bool:
        before = sum(map(len, self.shared.values()))
        for transaction, events in self.ways.items():
            for number in events:
                for alias in self.aliases(self.events[number]):
                    role = self.role(alias)
                    others = {way for way in self.leads(number, transaction) if way.removeprefix("~") != alias}
                    if not others or role == "weak" or self.refused(alias, transaction):
                        continue
                    if role == "shared" or any(way.startswith("~") for way in others):
                        self.shared.setdefault(alias, set()).add(transaction)
        for alias, _, _ in self.words:
            if self.role(alias) == "shared":
                self.shared.setdefault(alias, set()).update(self.accepted(alias))
        return sum(map(len, self.shared.values())) > before

    def _claim_weak(self) -> None:
        for transaction, events in self.ways.items():
            for number in events:
                for alias in self.aliases(self.events[number]) if self.leads(number, transaction) else ():
                    if self.role(alias) == "weak" and not self.refused(alias, transaction):
                        self.weak.setdefault(alias, set()).add(transaction)
        for alias, _, _ in self.words:
            if self.role(alias) == "weak":
                accepted = self.accepted(alias)
                self.weak.setdefault(alias, set()).update(accepted)
        for alias, transactions in self.weak.items():
            for number, event in enumerate(self.events):
                if alias in self.aliases(event) and self.kind not in event.keys and len(transactions) == 1:
                    self.ways[next(iter(transactions))].setdefault(number, set()).add(alias)

    def standing(self, alias: str, transaction: str) -> str:
        if self.refused(alias, transaction):
            return "foreign"
        role, own = self.role(alias), self.own.get(alias, set())
        if role == "weak":
            claimed = self.weak.get(alias, set())
            return "void" if transaction in claimed and len(claimed) > 1 else "clear"
        if role == "alias" and transaction in own:
            return "contested" if len(own) > 1 else "clear"
        if role == "alias" and own and transaction in self.shared.get(alias, set()):
            return "foreign"
        return "clear"

    def named(self, alias: str, transaction: str) -> bool:
        """Whether it was ever claimed for the transaction, so that it was told."""
        if any(name == alias and one == transaction for name, one, _ in self.words):
            return True
        for number, ways in self.ways[transaction].items():
            if alias in self.aliases(self.events[number]):
                by = {
                    way for way in ways if way.removeprefix("~") != alias and self.role(way.removeprefix("~")) != "weak"
                }
                if by or "" in ways:
                    return True
        return False

    def state(self, transaction: str, instances: tuple[str, ...]) -> State:
        state = State(self.kind, transaction, instances)
        aliases = {alias for event in self.events for alias in self.aliases(event)} | {word[0] for word in self.words}
        for alias in sorted(aliases):
            standing = self.standing(alias, transaction)
            if standing != "clear" and self.named(alias, transaction):
                state.learn(alias, Dispute(standing, 1))
        for alias, holders in self._held(transaction).items():
            state.learn(alias, Dispute("clear", 1, (), holders))
        for number, ways in self.ways[transaction].items():
            event = self.events[number]
            for way in [""] if "" in ways else sorted(ways):
                copy = Observed(**{name: getattr(event, name) for name in event.__struct_fields__})
                copy.via = way
                state.merge(copy)
        return state

    def _held(self, transaction: str) -> Mapping[str, tuple[tuple[str, int], ...]]:
        found: dict[str, dict[str, int]] = {}
        for one, events in self.ways.items():
            for number in events:
                event = self.events[number]
                if all(self.role(way.removeprefix("~")) == "weak" for way in self.leads(number, one)):
                    continue
                for name, value in event.keys.items():
                    if self.roles.role(self.kind, name).once:
                        since = found.setdefault(address(name, value), {})
                        since[one] = min(event.time, since.get(one, event.time))
        held = {}
        for alias, since in found.items():
            window = self.roles.role(self.kind, alias.partition(":")[0]).once
            holders = sorted((at, (self.kind, one)) for one, at in since.items())
            held[alias] = nearest(holders, (self.kind, transaction), window)
        return held


def join_all(
    events: Sequence[Observed], roles: Roles, kind: str, words: Words = (), instances: tuple[str, ...] = ()
) -> dict[str, State]:
    """The state of every transaction of one key type: which events are its, by which ways, and what it knows of its aliases."""
    join = _Join(kind, roles, events, words)
    join.run()
    return {transaction: join.state(transaction, instances) for transaction in sorted(join.ways)}
