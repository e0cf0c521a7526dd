"""What the soak's orders go through: the fate of each, from its number alone, and what a source does next."""

from __future__ import annotations

import random
from typing import NamedTuple

from schemas.times import SECOND

SYSTEMS = ("shop", "payments", "warehouse", "carrier")
CHAIN = ("placed", "paid", "packed", "shipped", "delivered")
SYSTEM_OF = {
    "placed": "shop", "paid": "payments", "rejected": "payments", "packed": "warehouse", "shipped": "carrier",
    "delivered": "carrier",
}  # fmt: skip


class Fate(NamedTuple):
    """``ends_before``: the step that never comes, "" where the order runs to its end. ``rejected``: instead of being paid."""

    ends_before: str
    rejected: bool

    @property
    def steps(self) -> tuple[str, ...]:
        """All that happens, in order."""
        if self.rejected:
            return ("placed", "rejected")
        return CHAIN[: CHAIN.index(self.ends_before)] if self.ends_before else CHAIN


def fate_of(seed: int, number: int) -> Fate:
    """9 in 100 are lost on their way, 2 are rejected."""
    drawn = random.Random(f"{seed}:{number}").random()
    for step, below in (("paid", 0.03), ("packed", 0.06), ("delivered", 0.09)):
        if drawn < below:
            return Fate(step, False)
    return Fate("", drawn < 0.11)


def next_step(fate: Fate, step: str) -> str:
    """What follows a step; "" at the end."""
    steps = fate.steps
    after = steps.index(step) + 1
    return steps[after] if after < len(steps) else ""


def delay_of(seed: int, number: int, step: str) -> int:
    """µs between a step and the one before it: 0.2 to 2 s."""
    return int((0.2 + 1.8 * random.Random(f"{seed}:{number}:{step}").random()) * SECOND)


def keys_of(number: int, step: str, *, aliases: bool) -> dict[str, str]:
    """By which names an event of the step calls its order: with aliases, every third payment knows its own number alone."""
    order, payment = {"order": f"o{number}"}, {"payment": f"P{number}"}
    if not aliases or number % 3 or step not in ("placed", "paid"):
        return order
    return {**order, **payment} if step == "placed" else payment
