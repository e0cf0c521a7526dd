"""What happens in the simulated company: orders, each as far as it gets, under whatever names; and the truth about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any, NamedTuple

from schemas.times import SECOND
from tests.simulation.definitions import START

Name = tuple[str, str]
Event = dict[str, Any]


class Happening(NamedTuple):
    """An event as it happens, whoever observes it."""

    at: int
    system: str
    event: Event


@dataclass
class Order:
    """``payment``: how payments calls it; ``ways``: chains of links by which that is known."""

    name: str
    placed: int
    cart: str = ""
    payment: str = ""
    parcels: tuple[str, ...] = ()
    batch: str = ""
    trace: str = ""
    account: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> Name:
        return ("order", self.name)


class Stories:
    """``joined``: most events carry the system's own numbers only, and others say whose they are."""

    def __init__(self, random: Random, joined: bool, orders: int):
        self.random, self.joined = random, joined
        self.happenings: list[Happening] = []
        self.orders = [self._order(number) for number in range(orders)]
        self._share()
        # What comes before what in truth holds in all stories: who hears of an end only in part could not know otherwise.
        self.paid: dict[str, int] = {}
        self.shipping: dict[str, int] = {}
        for order in self.orders:
            self._tell(order)
            self._links(order)
        self._batches()
        for parcel in sorted({parcel for order in self.orders for parcel in order.parcels}):
            self._parcel(parcel)
        self.happenings.sort(key=lambda one: (one.at, one.event["id"]))

    def _order(self, number: int) -> Order:
        random = self.random
        order = Order(f"o{number}", START + random.randint(5, 60) * SECOND)
        order.payment, order.account, order.trace = f"p{number}", f"{number}7", f"t{number}"
        order.parcels = tuple(f"P{number}-{i}" for i in range(random.choice((1, 1, 2))))
        order.cart = f"c{number}" if random.random() < 0.4 else ""
        order.batch = f"b{number // 3}" if random.random() < 0.4 else ""
        order.attributes = {"parcels": len(order.parcels), "amount": 10 + number, "currency": "EUR"}
        if order.batch:
            order.attributes["batched"] = "true"
        if random.random() < 0.05:
            order.attributes["test"] = "true"
        return order

    def _share(self) -> None:
        """Two orders from one cart, in one parcel, under one trace."""
        for one, other in zip(self.orders, self.orders[1:], strict=False):
            chance = self.random.random()
            if chance < 0.12:
                one.cart = other.cart = one.cart or f"c-{one.name}"
            elif chance < 0.3:
                other.parcels = (*other.parcels[1:], one.parcels[0])
            elif chance < 0.4:
                other.trace = one.trace

    # One order -----------------------------------------------------------------------------------------------------

    def _tell(self, order: Order) -> None:
        random, at = self.random, order.placed
        if order.cart and random.random() < 0.8:
            self._say(at - 5 * SECOND, "shop", "opened", {"cart": order.cart})
        keys = {"order": order.name, "customer": "anna", **({"cart": order.cart} if order.cart else {})}
        if self._chance(0.93):
            self._say(at, "shop", "placed", keys, attributes=order.attributes)
        if self._chance(0.7):
            self._say(at + self._within(60), "payments", "screened", self._pay_keys(order))
        if self._chance(0.1):
            self._say(at + self._within(20), "payments", "rejected", self._pay_keys(order))
            return
        paid = self._paid(order)
        self.paid[order.name] = paid
        if paid and self._chance(0.9):
            self._say(paid + self._within(45), "shop", "confirmed", {"order": order.name})
        if self._chance(0.12):
            cancelled = at + self._within(80)
            self._say(cancelled, "shop", "cancelled", {"order": order.name})
            if paid and self._chance(0.6):
                self._say(cancelled + self._within(55), "payments", "refunded", self._pay_keys(order))
            return
        if paid and self._chance(0.9):
            self.shipping[order.name] = paid
        if self._chance(0.4):
            self._say(at + self._within(100), "carrier", "traced", self._keys(order, trace=order.trace))

    def _paid(self, order: Order) -> int:
        at = order.placed + self._within(32)
        if self._chance(0.6):
            self._say(at, "payments", "paid", self._pay_keys(order), phase="received")
        while self._chance(0.2):
            at += self._within(10)
            self._say(at, "payments", "paid", self._pay_keys(order), phase="failed", error="declined")
        if not self._chance(0.88):
            return 0
        at += self._within(8)
        for _ in range(self.random.choice((1, 1, 1, 1, 2))):
            self._say(at, "payments", "paid", self._pay_keys(order))
            at += self.random.choice((0, 1, 9)) * SECOND
        return at

    def _parcel(self, parcel: str) -> None:
        """Told once for all that are in it."""
        sharing = [one for one in self.orders if parcel in one.parcels and one.name in self.shipping]
        at, keys = max([self.shipping[one.name] for one in sharing], default=0), {"parcel": parcel}
        for system, step, within in (
            ("warehouse", "packed", 42), ("carrier", "shipped", 42), ("carrier", "delivered", 62),
        ):  # fmt: skip
            if not sharing or not self._chance(0.93):
                return
            at += self._within(within)
            if self.joined:
                self._say(at, system, step, keys)
                continue
            for one in sharing:
                self._say(at, system, step, {"order": one.name, "parcel": parcel})

    def _batches(self) -> None:
        batches: dict[str, list[Order]] = {}
        for order in self.orders:
            if order.batch and self.paid.get(order.name):
                batches.setdefault(order.batch, []).append(order)
        for batch, orders in batches.items():
            at = max(self.paid[order.name] for order in orders) + self._within(60)
            if self.joined and self._chance(0.9):
                self._say(at, "warehouse", "manifested", {"batch": batch})
            elif not self.joined:
                for order in orders:
                    self._say(at, "warehouse", "manifested", {"order": order.name, "batch": batch})

    # Names ---------------------------------------------------------------------------------------------------------

    def _pay_keys(self, order: Order) -> dict[str, str]:
        return self._keys(order, payment=order.payment)

    def _keys(self, order: Order, **own: str) -> dict[str, str]:
        """A system's own number; and the order's, where everybody knows it."""
        if not self.joined:
            return {"order": order.name, **(own if self._chance(0.5) else {})}
        return own

    def _links(self, order: Order) -> None:
        """Events that say which numbers are one: before, between or after those that carry them, but not older than is believed."""
        if not self.joined:
            return
        for chain in self._chains(order):
            for name, another in pairwise(chain):
                at = order.placed + self.random.choice((self._within(10), self._within(90), -self._within(16)))
                step, system = self.random.choice(
                    (("registered", "shop"), ("matched", "payments"), ("labelled", "warehouse"))
                )
                self._say(at, system, step, dict((name, another)))
        if self._chance(0.08):
            other = self.random.choice(self.orders)
            claimed = {"order": order.name, "payment": other.payment}
            self._say(order.placed + self._within(90), "shop", "registered", claimed)

    def _chains(self, order: Order) -> list[list[Name]]:
        """From the order to a number by which somebody knows it, over none, one or two others."""
        between = [("charge", f"h{order.name}"), ("account", order.account), ("shipment", f"s{order.name}")]
        ends = [("payment", order.payment), ("trace", order.trace)]
        if order.batch and self.paid.get(order.name):
            ends.append(("batch", order.batch))
        if order.name in self.shipping:
            ends += [("parcel", parcel) for parcel in order.parcels]
        chains = []
        for end in ends:
            if self._chance(0.93):
                chains.append([order.key, *self.random.sample(between, self.random.choice((0, 0, 1, 2))), end])
        return chains

    # Words ---------------------------------------------------------------------------------------------------------

    def _say(
        self, at: int, system: str, step: str, keys: dict[str, str], *, phase: str = "completed",
        attributes: dict[str, Any] | None = None, error: str = "",
    ) -> None:  # fmt: skip
        event: Event = {
            "id": f"e{len(self.happenings)}",
            "system": system,
            "step": step,
            "phase": phase,
            "time": at,
            "keys": keys,
        }
        if attributes:
            event["attributes"] = attributes
        if error:
            event["error"] = error
        self.happenings.append(Happening(at, system, event))

    def _chance(self, share: float) -> bool:
        return self.random.random() < share

    def _within(self, seconds: int) -> int:
        """Mostly soon, at times just in time or late."""
        return int(seconds * SECOND * self.random.choice((0.1, 0.3, 0.3, 0.6, 0.9, 0.99, 1.2)))
