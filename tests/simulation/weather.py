"""Weather: what goes wrong at the moment, and how likely each fault is. Each seed draws its own climate."""

from __future__ import annotations

from collections import Counter
from random import Random

from schemas.times import SECOND

# What a call to the store or the log may come to, beside its success.
BEFORE, PART, AFTER, SLOW = "fails before", "in part", "fails after", "slow"
STORE = ("store fails before", "store in part", "store fails after", "store slow")
LOG = ("log fails before", "log in part", "log fails after", "log slow")
WORKERS = ("crash", "pause", "zombie", "evicted", "joins", "leaves", "pacing jumps")
OUTAGES = ("store away", "store read-only", "log away", "control away", "events away", "partition lags")
SOURCES = (
    "killed",
    "cut off",
    "goodbye open",
    "goodbye closed",
    "ack late",
    "ack lost",
    "doubled",
    "foreign",
    "poison",
    "a word",
)
KINDS = (*STORE, *LOG, *WORKERS, *OUTAGES, *SOURCES)
# Of calls, per call; of the others, how much of a second passes between two where it is 1.
_CALLS = {"fails before": 0.03, "in part": 0.03, "fails after": 0.03, "slow": 0.02}
RATES = {
    "crash": 0.05, "pause": 0.06, "zombie": 0.07, "evicted": 0.04, "joins": 0.06, "leaves": 0.04, "pacing jumps": 0.01,
    "store away": 0.012, "store read-only": 0.012, "log away": 0.012, "control away": 0.01, "events away": 0.01,
    "partition lags": 0.02, "killed": 0.04, "cut off": 0.04, "goodbye open": 0.02, "goodbye closed": 0.006,
    "a word": 0.006,
}  # fmt: skip
_SENDING = {"ack late": 0.15, "ack lost": 0.1, "doubled": 0.1, "foreign": 0.2, "poison": 0.05}


class Weather:
    """``chances``: kind to its likelihood, 0 for those that this seed does without. ``seen``: how often each came."""

    def __init__(self, random: Random, only: frozenset[str] | None = None):
        self.random = random
        self.seen: Counter[str] = Counter()
        self.crashed_at: Counter[str] = Counter()
        self.chances: dict[str, float] = {}
        violence = random.choice((0.3, 1.0, 1.0, 2.0))
        share = random.choice((0.2, 0.5, 0.8))
        for kind in KINDS:
            base = RATES.get(kind) or _SENDING.get(kind) or _CALLS[kind.split(" ", 1)[1]]
            wanted = random.random() < share if only is None else kind in only
            self.chances[kind] = base * violence if wanted else 0.0
        self.store_away = ""
        self.store_until = self.log_until = self.lag_until = 0
        self.clears_at = 0
        self.lagging = -1
        self.healed = False
        self._at: dict[str, int] = {}
        self._next_at = 0

    def note(self, kind: str) -> None:
        self.seen[kind] += 1

    def strikes(self, kind: str) -> bool:
        """Whether a fault of a call or of a record comes now."""
        chance = self.chances[kind]
        if not chance or self.healed or self.random.random() >= chance:
            return False
        self.seen[kind] += 1
        return True

    def of_call(self, service: str, writes: bool) -> str:
        """What a call comes to: "" for success."""
        if self.healed:
            return ""
        for outcome in (BEFORE, PART, AFTER, SLOW) if writes else (BEFORE, SLOW):
            if self.strikes(f"{service} {outcome}"):
                return outcome
        return ""

    def coming(self, now: int) -> list[str]:
        """What comes by itself, up to ``now`` µs; each kind on its own."""
        if now < self._next_at or self.healed:
            return []
        for kind in RATES:
            if kind not in self._at:
                self._at[kind] = self._draw(kind, now)
        found = [kind for kind, at in self._at.items() if at <= now]
        for kind in found:
            self._at[kind] = self._draw(kind, now)
        self._next_at = min(self._at.values())
        return found

    def _draw(self, kind: str, now: int) -> int:
        chance = self.chances[kind]
        return now + int(self.random.expovariate(chance) * SECOND) if chance else 2**62

    def heal(self) -> None:
        self.healed = True
        self.store_away, self.lagging = "", -1
