"""Who buys, where, with what and how much: what makes a simulated shop look like one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import NamedTuple

_FIRST = (
    "Ada", "Amir", "Anna", "Bela", "Carlos", "Chiara", "David", "Elif", "Emma", "Felix", "Fatima", "Greta",
    "Hugo", "Ines", "Ivan", "Jana", "Jonas", "Kemal", "Lena", "Liam", "Lucia", "Malik", "Maria", "Milan", "Nadia",
    "Nils", "Olga", "Omar", "Paula", "Priya", "Rosa", "Samuel", "Sofia", "Tariq", "Tomas", "Uma", "Vera", "Wen",
    "Yara", "Zoe",
)  # fmt: skip
_LAST = (
    "Adler", "Bauer", "Becker", "Costa", "Demir", "Dubois", "Evans", "Fischer", "Garcia", "Haas", "Hansen", "Ito",
    "Jansen", "Kaya", "Keller", "Kowalski", "Lang", "Lopez", "Martin", "Meyer", "Moreau", "Moser", "Novak",
    "Okafor", "Patel", "Petrov", "Quinn", "Rossi", "Santos", "Schmid", "Silva", "Tanaka", "Taylor", "Vogel",
    "Weber", "Wolf", "Young", "Zhang",
)  # fmt: skip


class Region(NamedTuple):
    """Where customers live. ``rate``: units of its currency for one euro."""

    name: str
    currency: str
    rate: float
    weight: int
    providers: tuple[str, ...]
    carriers: tuple[str, ...]


REGIONS = (
    Region("DE", "EUR", 1.0, 40, ("adyen", "paypal", "klarna"), ("DHL", "Hermes")),
    Region("AT", "EUR", 1.0, 8, ("adyen", "paypal"), ("DHL", "Post AT")),
    Region("FR", "EUR", 1.0, 14, ("adyen", "paypal"), ("Chronopost", "DPD")),
    Region("CH", "CHF", 0.95, 8, ("adyen", "twint"), ("Die Post", "DPD")),
    Region("GB", "GBP", 0.85, 18, ("stripe", "paypal"), ("DPD", "Royal Mail")),
    Region("US", "USD", 1.1, 12, ("stripe", "paypal"), ("UPS", "FedEx")),
)
WAREHOUSES = ("HAM-1", "LEJ-2", "LYS-1")
_PRODUCTS = (
    ("headphones", 89.0), ("running shoes", 119.0), ("desk lamp", 49.9), ("espresso machine", 349.0), ("backpack", 74.5),
    ("novel", 14.9), ("rain jacket", 139.0), ("keyboard", 99.0), ("tea set", 39.5), ("bicycle light", 24.9), ("monitor", 279.0),
    ("yoga mat", 29.9), ("phone case", 19.9), ("winter coat", 219.0), ("wooden train", 34.0),
)  # fmt: skip
_PRODUCT_WEIGHTS = (10, 8, 7, 2, 6, 14, 4, 6, 5, 7, 3, 6, 12, 3, 5)
# Each with the share of time (of three weeks) after which it was out.
_APP_VERSIONS = (("7.41.2", 0.0), ("7.42.0", 0.25), ("7.42.1", 0.4), ("7.43.0", 0.7))


@dataclass(frozen=True, slots=True)
class Customer:
    """``number`` is what events carry; names stay with the shop."""

    number: str
    name: str
    account: str
    region: Region


class Basket(NamedTuple):
    """What is ordered. ``amount``: in the currency of the customer's region."""

    product: str
    items: int
    amount: float
    parcels: int


class People:
    """The customers of a shop; some come again and again."""

    def __init__(self, random: Random, count: int):
        self._random = random
        weights = [region.weight for region in REGIONS]
        self.all = [self._customer(i, random.choices(REGIONS, weights)[0]) for i in range(count)]
        self._sums = list(accumulate(random.paretovariate(1.4) for _ in self.all))

    def _customer(self, index: int, region: Region) -> Customer:
        first, last = self._random.choice(_FIRST), self._random.choice(_LAST)
        number = f"C{20417 + 7 * index}"
        return Customer(number, f"{first} {last}", f"{4_700_000 + 13 * index:010d}", region)

    def someone(self) -> Customer:
        return self._random.choices(self.all, cum_weights=self._sums)[0]

    def basket(self, customer: Customer) -> Basket:
        product, price = self._random.choices(_PRODUCTS, _PRODUCT_WEIGHTS)[0]
        items = self._random.choices((1, 2, 3, 4, 6), (50, 24, 14, 8, 4))[0]
        amount = round(price * items * customer.region.rate * self._random.uniform(0.92, 1.15), 2)
        parcels = min(items, self._random.choices((1, 2, 3), (70, 20, 10))[0])
        return Basket(product, items, amount, parcels)


def app_version(random: Random, share: float) -> str:
    """The version of the shop's app at this share of the period; one in five customers did not update."""
    out = [version for version, since in _APP_VERSIONS if since <= share]
    return out[-1] if len(out) == 1 or random.random() < 0.8 else out[-2]
