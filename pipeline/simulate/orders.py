"""Orders and their carts: from the shop to the customer's door, and the ways in which that goes wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from pipeline.simulate.deeds import Deed, Intent, Teller
from pipeline.simulate.people import WAREHOUSES, Basket, Customer
from pipeline.simulate.rhythm import OpenHours
from schemas.times import DAY, HOUR, MINUTE, SECOND, format_time
from schemas.verdict import DropKind, FindingKind

BETWEEN, IN_TRANSIT, INSIDE, FAILED = DropKind.BETWEEN, DropKind.IN_TRANSIT, DropKind.INSIDE, DropKind.FAILED

INTENTS: dict[str, Intent] = {
    "lost_in_transit": Intent(IN_TRANSIT, "placed", "paid"),
    "stuck_inside": Intent(INSIDE, "placed", "paid"),
    "payment_failed": Intent(FAILED, "placed", "paid"),
    "paid_late": Intent(findings=((FindingKind.LATE, "paid"),)),
    "charged_twice": Intent(findings=((FindingKind.DUPLICATE, "paid"),)),
    "refund_lost": Intent(BETWEEN, "cancelled", "refunded"),
    "cancelled_in_a_race": Intent(findings=((FindingKind.AFTER_CANCEL, ""),)),
    "confirmation_lost": Intent(BETWEEN, "paid", "confirmed"),
    "confirmed_early": Intent(findings=((FindingKind.OUT_OF_ORDER, "confirmed"),)),
    "never_picked": Intent(BETWEEN, "paid", "picked"),
    "pick_not_recorded": Intent(findings=((FindingKind.SKIPPED, "picked"),)),
    "parcel_not_packed": Intent(BETWEEN, "picked", "packed"),
    "parcel_not_shipped": Intent(BETWEEN, "packed", "shipped"),
    "parcel_not_delivered": Intent(BETWEEN, "shipped", "delivered"),
    "delivered_late": Intent(findings=((FindingKind.LATE, "delivered"),)),
    "ordered_by_phone": Intent(findings=((FindingKind.NO_START, "placed"),)),
    "unknown_step": Intent(findings=((FindingKind.UNEXPECTED, "gift_wrapped"),)),
}
_MANY_PARCELS = ("parcel_not_packed", "parcel_not_shipped", "parcel_not_delivered")
_DECLINED = ("insufficient funds", "card expired", "declined by the issuer")
_BROKEN = ("gateway timeout after 30 s", "502 from the acquirer", "connection reset by the acquirer")


class Purchase(NamedTuple):
    """What an order's story needs to know."""

    placed_at: int
    customer: Customer
    basket: Basket
    version: str


@dataclass(slots=True)
class Order:
    """One order being told. ``paid_at``: µs, once it is paid."""

    teller: Teller
    random: Random
    hours: OpenHours
    purchase: Purchase
    fault: str
    paid_at: int = 0
    parcels: list[str] = field(default_factory=list)

    @property
    def _money(self) -> dict[str, Any]:
        basket, region = self.purchase.basket, self.purchase.customer.region
        return {"amount": basket.amount, "currency": region.currency}

    def _somewhat(self, low: int, high: int) -> int:
        """Between ``low`` and ``high`` µs, sooner more often."""
        return int(low + (high - low) * self.random.random() ** 2)

    def tell(self) -> None:
        """The whole story, whatever of it is still to come."""
        if self.fault != "ordered_by_phone":
            self._place()
        self._review()
        if not self._pay():
            return
        if self.fault in ("cancelled", "refund_lost", "cancelled_in_a_race"):
            self._cancel(self.paid_at + self._somewhat(5 * MINUTE, 40 * MINUTE))
        self._confirm()
        if self.fault in ("never_picked", "cancelled", "refund_lost"):
            return
        self._deliver(self._pick())

    def _place(self) -> Deed:
        purchase = self.purchase
        extra: dict[str, Any] = {"test": "true"} if self.fault == "test_order" else {}
        return self.teller.tell(
            "placed",
            purchase.placed_at,
            keys={"cart": self.cart, "customer": purchase.customer.number, **self._trace},
            **self._money,
            region=purchase.customer.region.name,
            product=purchase.basket.product,
            items=purchase.basket.items,
            parcels=max(purchase.basket.parcels, 3 if self.fault in _MANY_PARCELS else 1),
            promised_at=self._promise(),
            app_version=purchase.version,
            name=purchase.customer.name,
            **extra,
        )

    @property
    def cart(self) -> str:
        return cart_of(self.teller.case.id)

    @property
    def _trace(self) -> dict[str, str]:
        return {"trace": f"{int(self.teller.case.id) * 0x9E3779B97F4A7C15 % 2**64:016x}"}

    @property
    def _language(self) -> str:
        return {"FR": "fr", "GB": "en", "US": "en"}.get(self.purchase.customer.region.name, "de")

    def _promise(self) -> str:
        """Eight in the evening, a week on: by then a parcel is handed over even past three closed days."""
        day = self.purchase.placed_at - self.purchase.placed_at % DAY
        return format_time(day + 7 * DAY + 20 * HOUR)

    def _review(self) -> None:
        at = self.purchase.placed_at
        for _ in range(self.random.choices((0, 1, 2), (6, 88, 6))[0]):
            at += self._somewhat(2 * SECOND, 20 * SECOND)
            self.teller.tell(
                "reviewed",
                at,
                keys={"customer": self.purchase.customer.number},
                score=round(self.random.betavariate(1.2, 9), 3),
                rules="2026-10",
            )

    def _pay(self) -> bool:
        """Whether the order goes on from here."""
        fault, provider = self.fault, self.random.choice(self.purchase.customer.region.providers)
        keys = {"payment": f"PAY-{int(self.teller.case.id) * 7_919 % 10**8:08d}", **self._trace}
        about: dict[str, Any] = {"keys": keys, "provider": provider, **self._money}
        if fault == "ordered_by_phone":
            # Nobody else says what the shop would have said.
            about |= {"promised_at": self._promise(), "channel": "phone"}
        arrives = self.purchase.placed_at + self._somewhat(SECOND, 6 * SECOND)
        if fault == "lost_in_transit":
            return False
        self.teller.tell("paid", arrives, "received", peer="shop", **about)
        done = arrives + self._somewhat(2 * SECOND, 4 * MINUTE)
        if fault == "stuck_inside":
            return False
        if fault == "payment_failed":
            self.teller.tell("paid", done, "failed", error=self.random.choice(_BROKEN), **about)
            return False
        if fault == "rejected":
            self.teller.tell("rejected", done, reason=self.random.choice(_DECLINED), **about)
            return False
        if fault == "payment_retried":
            self.teller.tell("paid", done, "failed", error=self.random.choice(_BROKEN), **about)
            done += self._somewhat(MINUTE, 8 * MINUTE)
        if fault == "paid_late":
            done = self.purchase.placed_at + self._somewhat(25 * MINUTE, 3 * HOUR)
        self.paid_at = done
        self.teller.tell("paid", done, **about)
        if fault == "charged_twice":
            self.teller.tell("paid", done + self._somewhat(30 * SECOND, 9 * MINUTE), **about)
        return True

    def _cancel(self, at: int) -> None:
        self.teller.tell(
            "cancelled", at, keys={"customer": self.purchase.customer.number}, reason="customer changed mind"
        )
        if self.fault in ("cancelled", "cancelled_in_a_race"):
            self.teller.tell("refunded", at + self._somewhat(HOUR, 3 * DAY), **self._money)

    def _confirm(self) -> None:
        if self.fault == "confirmation_lost":
            return
        at = self.paid_at + self._somewhat(3 * SECOND, 5 * MINUTE)
        if self.fault == "confirmed_early":
            at = self.purchase.placed_at + SECOND // 2
        self.teller.tell(
            "confirmed",
            at,
            keys={"customer": self.purchase.customer.number},
            template="order-v5",
            language=self._language,
        )

    def _pick(self) -> int:
        """The time at which it is picked, recorded or not."""
        at = self.hours.after(self.paid_at + HOUR, self._somewhat(10 * MINUTE, 9 * HOUR))
        if self.fault != "pick_not_recorded":
            house = self.random.choice(WAREHOUSES)
            self.teller.tell(
                "picked", at, keys={"batch": f"{house}-{at // (2 * HOUR)}"}, warehouse=house, parcels=self._count()
            )
        if self.fault == "cancelled_too_late":
            self._cancel(at + self._somewhat(MINUTE, 30 * MINUTE))
        if self.fault == "unknown_step":
            self.teller.tell("gift_wrapped", at + MINUTE, system="warehouse")
        return at

    def _count(self) -> int:
        return max(self.purchase.basket.parcels, 3 if self.fault in _MANY_PARCELS else 1)

    def _deliver(self, picked: int) -> None:
        """One parcel after the other; of the faults that lose one, the last is it."""
        number, count = int(self.teller.case.id), self._count()
        carrier = self.random.choice(self.purchase.customer.region.carriers)
        for i in range(1, count + 1):
            keys, last = {"parcel": f"1Z{number:07d}{i}"}, i == count
            about: dict[str, Any] = {"keys": keys, "carrier": carrier}
            if last and self.fault == "parcel_not_packed":
                return
            packed = picked + self._somewhat(8 * MINUTE, 3 * HOUR)
            self.teller.tell("packed", packed, keys=keys, weight_kg=round(self.random.uniform(0.2, 14), 1))
            if last and self.fault == "parcel_not_shipped":
                return
            shipped = packed + self._somewhat(HOUR, 18 * HOUR)
            self.teller.tell("shipped", shipped, **about)
            if last and self.fault == "parcel_not_delivered":
                return
            takes = self._somewhat(16 * HOUR, 4 * DAY)
            if last and self.fault == "delivered_late":
                takes = 5 * DAY + self._somewhat(3 * HOUR, DAY)
            self.teller.tell("delivered", shipped + takes, **about)


def cart_of(order: str) -> str:
    """The cart that became this order."""
    return f"K{int(order) * 2_654_435_761 % 2**32:08x}"


def tell_cart(
    teller: Teller, random: Random, until: int, customer: Customer, ordered: Deed | None, version: str
) -> None:
    """The cart that ends at ``until`` µs: with ``ordered``, the order's own first deed, or left standing."""
    keys = {"customer": customer.number}
    at_till = ordered is not None or teller.case.fault == "left_at_till"
    opened = until - int(random.uniform(6 * MINUTE, 25 * MINUTE))
    teller.tell("opened", opened, keys=keys, app_version=version, region=customer.region.name)
    if at_till and random.random() < (0.9 if ordered else 1):
        teller.tell("checked_out", until - int(random.uniform(MINUTE, 5 * MINUTE)), keys=keys)
    if ordered is not None:
        teller.case.deeds.append(ordered)
