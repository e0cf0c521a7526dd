"""All that happens in a seeded shop between two instants: orders, carts, logins, statements and moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from pipeline.simulate import faults, logins, moves, orders, statements
from pipeline.simulate.deeds import Case, Intent, Teller
from pipeline.simulate.people import Customer, People, app_version
from pipeline.simulate.rhythm import OpenHours, Rhythm
from schemas.flow import Flows
from schemas.landscape import Landscape
from schemas.times import HOUR

_FIRST_ORDER = 248_117
_FIRST_STATEMENT = 9_100_001
_FIRST_MOVE = 5_201


@dataclass(frozen=True, slots=True)
class Size:
    """How many of each."""

    orders: int
    carts: int
    logins: int
    statements: int
    moves: int

    @classmethod
    def of(cls, orders: int) -> Size:
        """What goes with so many orders."""
        return cls(orders, carts=orders * 2 // 5, logins=orders, statements=orders // 3, moves=orders // 20)


class Stories:
    """Writes all cases. Equal arguments give equal cases; ``begin`` and ``end`` in µs. ``faulty``: with things that go wrong;
    ``first``: what numbers begin with, beyond where they would; ``shown_by``: µs, when what goes wrong has to show, ``end`` if
    None."""

    def __init__(
        self,
        seed: int,
        size: Size,
        begin: int,
        end: int,
        flows: Flows,
        landscape: Landscape,
        pods: Mapping[str, tuple[str, ...]],
        *,
        faulty: bool = True,
        first: int = 0,
        shown_by: int | None = None,
    ):
        self._seed, self._size, self._begin, self._end = seed, size, begin, end
        self._shown_by = end if shown_by is None else shown_by
        self._flows, self._pods, self._faulty, self._first = flows, pods, faulty, first
        self._hours = OpenHours(landscape.calendars["warehouse"])
        self._people = People(self._random("people", 0), max(8, size.orders * 9 // 20))

    def write(self) -> list[Case]:
        """Every case, with all its deeds, also those that are still to come at ``end``."""
        return [*self._orders(), *self._carts(), *self._logins(), *self._statements(), *self._moves()]

    def _random(self, what: str, number: int) -> Random:
        return Random(f"{self._seed}/{what}/{number}")

    def _starts(self, what: str, count: int, *, office: bool = False) -> list[int]:
        return Rhythm(self._begin + HOUR, self._end, office=office).draw_many(self._random(what, -1), count)

    def _deal(self, what: str, shares: Mapping[str, faults.Share], starts: list[int]) -> list[str]:
        if not self._faulty:
            return [""] * len(starts)
        return faults.deal(self._random(what, -2), shares, starts, self._shown_by)

    def _teller(self, flow: str, case_id: str, fault: str, intents: Mapping[str, Intent], spread: int) -> Teller:
        of = self._flows.latest(flow)
        return Teller(of, Case(flow, of.key, case_id, fault, intents.get(fault, Intent())), self._pods, spread)

    def _version(self, random: Random, at: int) -> str:
        return app_version(random, (at - self._begin) / (self._end - self._begin))

    def _orders(self) -> list[Case]:
        cases: list[Case] = []
        starts = self._starts("orders", self._size.orders)
        for i, (at, fault) in enumerate(zip(starts, self._deal("orders", faults.ORDER, starts), strict=True)):
            random, customer = self._random("order", i), self._people.someone()
            teller = self._teller("order", str(_FIRST_ORDER + self._first + i), fault, orders.INTENTS, i)
            purchase = orders.Purchase(at, customer, self._people.basket(customer), self._version(random, at))
            orders.Order(teller, random, self._hours, purchase, fault).tell()
            cases.append(teller.case)
            if fault != "ordered_by_phone":
                cases.append(self._cart_of(teller.case, random, purchase, i))
        return cases

    def _cart_of(self, order: Case, random: Random, purchase: orders.Purchase, spread: int) -> Case:
        teller = self._teller("checkout", orders.cart_of(order.id), "", {}, spread)
        orders.tell_cart(teller, random, purchase.placed_at, purchase.customer, order.deeds[0], purchase.version)
        if order.fault == "test_order":
            teller.case.fault = "test_cart"
        return teller.case

    def _carts(self) -> list[Case]:
        cases: list[Case] = []
        starts = self._starts("carts", self._size.carts)
        stories = faults.deal(self._random("carts", -2), faults.CART, starts, self._shown_by)
        for i, (at, fault) in enumerate(zip(starts, stories, strict=True)):
            random = self._random("cart", i)
            teller = self._teller(
                "checkout", f"K{(self._first + i) * 2_246_822_519 % 2**32:08x}x", fault or "left_in_shop", {}, i
            )
            orders.tell_cart(teller, random, at, self._people.someone(), None, self._version(random, at))
            cases.append(teller.case)
        return cases

    def _logins(self) -> list[Case]:
        cases: list[Case] = []
        starts = self._starts("logins", self._size.logins)
        for i, (at, fault) in enumerate(zip(starts, self._deal("logins", faults.LOGIN, starts), strict=True)):
            teller = self._teller(
                "login", f"L{(self._first + i) * 2_654_435_761 % 2**32:08x}", fault, logins.INTENTS, i
            )
            logins.tell_login(teller, self._random("login", i), at, self._people.someone())
            cases.append(teller.case)
        return cases

    def _statements(self) -> list[Case]:
        nights = statements.runs(self._begin, self._end)
        if not nights:
            return []
        cases: list[Case] = []
        runs = [nights[i * len(nights) // self._size.statements] for i in range(self._size.statements)]
        stories = self._deal("statements", faults.STATEMENT, [run.midnight + statements.CUT_OFF for run in runs])
        for i, (run, fault) in enumerate(zip(runs, stories, strict=True)):
            teller = self._teller("statement", f"{_FIRST_STATEMENT + self._first + i}", fault, statements.INTENTS, i)
            statements.tell_statement(teller, self._random("statement", i), run, self._someone(i))
            cases.append(teller.case)
        return cases

    def _someone(self, index: int) -> Customer:
        return self._people.all[index % len(self._people.all)]

    def _moves(self) -> list[Case]:
        cases: list[Case] = []
        starts = self._starts("moves", self._size.moves, office=True)
        for i, (at, fault) in enumerate(zip(starts, self._deal("moves", faults.MOVE, starts), strict=True)):
            teller = self._teller("service-move", f"M{_FIRST_MOVE + self._first + i}", fault, moves.INTENTS, i)
            moves.tell_move(teller, self._random("move", i), at, self._people.someone())
            cases.append(teller.case)
        return cases
