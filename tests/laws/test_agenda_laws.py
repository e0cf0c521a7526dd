"""The agenda's law: whoever waits for what is over is due, earliest first; nobody else is; however far ahead and in what order
it was written down, and however clocks jump and systems fall silent. And it holds no more than twice those who wait."""

from __future__ import annotations

import random

import pytest

from pipeline.core.hearing import Hearing, Knowledge
from pipeline.store.contract import Transaction
from pipeline.work.agenda import Agenda
from schemas.times import DAY, SECOND
from schemas.verdict import Wait

SYSTEMS = ("warehouse", "carrier", "mailer")


class World:
    """Clocks that jump, systems that fall silent, and what the simplest agenda would hold: every wait in a list."""

    def __init__(self, seed: int):
        self.dice = random.Random(seed)
        self.span = self.dice.choice((50, 10**8, 10**10))
        self.clocks = dict.fromkeys(SYSTEMS, 0)
        self.silent = dict.fromkeys(SYSTEMS, False)
        self.now = 0
        self.agenda = Agenda()
        self.waits: dict[Transaction, tuple[Wait, ...]] = {}
        self.written: set[tuple[Transaction, Wait]] = set()
        self.asleep: dict[str, tuple[bool, set[Transaction]]] = {}

    def knowledge(self) -> Knowledge:
        heard = {name: Hearing(name, self.clocks[name], (), silent=self.silent[name]) for name in SYSTEMS}
        return Knowledge(control_time=self.now, hearing=heard)

    def reached(self, system: str) -> int:
        return self.now if self.silent[system] else self.clocks[system]

    def some_waits(self, most: int) -> tuple[Wait, ...]:
        found = {Wait(self.dice.choice(SYSTEMS), self.dice.randrange(self.span)) for _ in range(most)}
        return tuple(sorted(found))

    def set(self, transaction: Transaction, waits: tuple[Wait, ...]) -> None:
        before = self.waits.get(transaction, ())
        if waits or self.dice.random() < 0.5:
            self.agenda.set(transaction, waits, self.knowledge())
        else:
            self.agenda.drop([transaction])
        self.waits[transaction] = waits
        for wait in before:
            if wait not in waits:
                self.written.discard((transaction, wait))
        for wait in waits:
            if wait.time < self.reached(wait.system):
                self.asleep.setdefault(wait.system, (self.silent[wait.system], set()))[1].add(transaction)
            elif wait not in before:
                self.written.add((transaction, wait))

    def move(self) -> None:
        system = self.dice.choice(SYSTEMS)
        if self.dice.random() < 0.3:
            self.silent[system] = not self.silent[system]
        self.clocks[system] += self.dice.randrange(-self.span // 50, self.span // 5)
        self.now = max(self.now, self.clocks[system])

    def check_bounds(self) -> None:
        assert written(self.agenda) <= 2 * sum(map(len, self.waits.values()))
        for system, sleepers in self.agenda._asleep.items():
            for transaction in sleepers:
                assert any(wait.system == system for wait in self.waits[transaction])

    def due(self) -> list[Transaction]:
        """Asks, and holds the answer to the list."""
        for system, (silent, sleepers) in list(self.asleep.items()):
            if silent != self.silent[system]:
                del self.asleep[system]
                for transaction in sleepers:
                    self.written.update(
                        (transaction, wait) for wait in self.waits[transaction] if wait.system == system
                    )
        over = {pair for pair in self.written if pair[1].time < self.reached(pair[1].system)}
        self.written -= over
        said = self.agenda.due(self.knowledge(), 1_000)
        assert {transaction for transaction, _ in over} <= set(said)
        assert len(said) == len(set(said))
        for transaction in said:
            assert any(wait.time < self.reached(wait.system) for wait in self.waits[transaction])
        return said


def written(agenda: Agenda) -> int:
    """What stands in all pages that are ahead."""
    return sum(len(page) for calendar in agenda._calendars.values() for page in calendar._pages.values())


@pytest.mark.parametrize("seed", range(300))
def test_whoever_waits_for_what_is_over_is_due(seed: int) -> None:
    world = World(seed)
    for _ in range(60):
        act = world.dice.random()
        if act < 0.55:
            world.set(("order", str(world.dice.randrange(12))), world.some_waits(world.dice.randrange(4)))
        elif act < 0.75:
            world.move()
        else:
            for transaction in world.due():
                # Judged again: something is settled, or nothing is.
                kept = tuple(wait for wait in world.waits[transaction] if world.dice.random() < 0.6)
                world.set(transaction, kept)
        world.check_bounds()


def test_whoever_is_done_leaves_the_calendar_long_before_the_day() -> None:
    """Picked within two days, delivered within five; all is done within the hour."""
    agenda, dice, most = Agenda(), random.Random(1), 0
    knowledge = Knowledge(control_time=0, hearing={"carrier": Hearing("carrier", 0, deaf=((1, 2),))})
    open_: list[Transaction] = []
    for number in range(5_000):
        transaction = ("order", str(number))
        open_.append(transaction)
        for days in (2, 5):
            agenda.set(transaction, [Wait("carrier", days * DAY + number * SECOND)], knowledge)
        agenda.set(("order", f"{number}, late"), [Wait("carrier", -1)], knowledge)
        agenda.set(("order", f"{number}, late"), [], knowledge)
        if len(open_) > 100:
            agenda.set(open_.pop(dice.randrange(100)), [], knowledge)
        most = max(most, written(agenda))
    assert len(agenda) == 100
    assert most <= 2 * 101
    assert not any(agenda._asleep.values())
    agenda.drop(open_)
    assert not written(agenda)


def test_taken_over_and_due_earliest_first_at_a_bounded_rate() -> None:
    agenda, dice = Agenda(), random.Random(1)
    times = {("order", str(number)): dice.randrange(10**10) for number in range(500)}
    for transaction, time in times.items():
        agenda.restore(transaction, [Wait("carrier", time)])
    knowledge = Knowledge(control_time=0, hearing={"carrier": Hearing("carrier", 5 * 10**9)})
    said: list[Transaction] = []
    while found := agenda.due(knowledge, 7):
        assert len(found) <= 7
        said += found
    assert said == sorted((t for t in times if times[t] < 5 * 10**9), key=lambda t: times[t])
    agenda.drop(times)
    assert not len(agenda)
    assert not agenda.due(Knowledge(control_time=0, hearing={"carrier": Hearing("carrier", 10**11)}), 1_000)
