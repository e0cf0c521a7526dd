"""Landscape: what holds across flows: key types, systems, calendars, the zone of the business."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from schemas.event import Name
from schemas.flow import Duration
from schemas.times import DAY, MINUTE, parse_zone


def _zone(name: str) -> str:
    parse_zone(name)
    return name


Zone = Annotated[str, AfterValidator(_zone)]
Pii = Literal["hash", "remove"]
# What ``pii: hash`` made of a value (``h:k1:`` and a SHA-256 in base32): nobody's number looks like this.
HASHED = re.compile(r"h:[a-z0-9]{1,16}:[a-z2-7]{51}[aq]")


class KeyType(BaseModel):
    """How values of a key type are treated everywhere.

    ``transaction``: flows use it as ``key``. Normalisation: ``trim`` white space, ``case`` folding, dropping
    ``leading_zeros``. ``pii``: hash or remove before anything leaves the machine. ``customer_knows``: may be said to a
    customer. ``reuse_after``: µs after which numbers come round. ``says``: what people call it ("order number").
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    transaction: bool = False
    trim: bool = True
    case: Literal["keep", "upper", "lower"] = "keep"
    leading_zeros: Literal["keep", "drop"] = "keep"
    pii: Pii | None = None
    customer_knows: bool = False
    reuse_after: Duration | None = None
    says: str = ""

    def normalise(self, value: str) -> str:
        """The form under which values meet: ``" 0001234 "`` and ``"1234"``. What was hashed already is in that form."""
        if self.pii == "hash" and HASHED.fullmatch(value):
            return value
        if self.trim:
            value = value.strip()
        if self.case != "keep":
            value = value.upper() if self.case == "upper" else value.lower()
        if self.leading_zeros == "drop":
            value = value.lstrip("0") or "0"
        return value


class Attribute(BaseModel):
    """How an attribute is treated everywhere. ``pii``: hash or remove before anything leaves the machine. What holds for a key
    type holds for an attribute of its name too."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pii: Pii | None = None


class System(BaseModel):
    """How a system reports. ``reporting``: continuous, scheduled or none; ``assume`` is for a system of which no source
    ever spoke. ``owner``: whom to ask."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reporting: Literal["continuous", "scheduled", "none"] = "continuous"
    assume: Literal["heard", "silent"] = "heard"
    zone: Zone | None = None
    calendar: str | None = None
    former_names: tuple[str, ...] = ()
    says: str = ""
    owner: str = ""


Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def _holidays(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class Calendar(BaseModel):
    """Working time: ``days`` of the week, ``hours`` "08:00-17:00" in ``zone``, but for ``holidays``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Annotated[int, Field(ge=1)] = 1
    zone: Zone = "UTC"
    days: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri")
    hours: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)$")] = "00:00-24:00"
    holidays: Annotated[tuple[date, ...], BeforeValidator(_holidays)] = ()


class Landscape(BaseModel):
    """One YAML file of what holds across flows.

    ``zone``: in which the report's day ends. ``tolerate``: share of blind time that leaves a system heard. ``gone_after``,
    ``link_age``, ``grace``, ``settling``: µs, see DESIGN.md §4. ``retention``: µs from a transaction's end after which it is
    deleted, None to keep all for ever; ``tombstones``: for how long after that what arrives for it is recorded as late.
    ``keep_for``: for how long an event that names no transaction waits for a claimant.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    zone: Zone = "UTC"
    keys: dict[Name, KeyType] = Field(default_factory=dict)
    attributes: dict[Name, Attribute] = Field(default_factory=dict)
    systems: dict[Name, System] = Field(default_factory=dict)
    calendars: dict[str, Calendar] = Field(default_factory=dict)
    tolerate: Annotated[float, Field(ge=0, le=1)] = 0.001
    gone_after: Duration = 15 * MINUTE
    link_age: Duration = DAY
    grace: Duration = 10_000_000
    settling: Duration = MINUTE
    retention: Duration | None = None
    tombstones: Duration = 730 * DAY
    keep_for: Duration = 30 * DAY

    def transaction_types(self) -> tuple[str, ...]:
        """Key types that flows use as ``key``, in the order of the file: the first found in an event routes it."""
        return tuple(name for name, kind in self.keys.items() if kind.transaction)

    def reuse(self) -> dict[str, int]:
        """Key types that name transactions and whose numbers come round, to after how many µs."""
        return {name: kind.reuse_after for name, kind in self.keys.items() if kind.transaction and kind.reuse_after}

    def normalisers(self) -> dict[str, Callable[[str], str]]:
        """Key type to `KeyType.normalise`, for those who send and know no landscape."""
        return {name: kind.normalise for name, kind in self.keys.items()}

    def personal(self) -> tuple[dict[str, Pii], dict[str, Pii]]:
        """What is declared ``pii``: key types, and attributes."""
        keys = {name: kind.pii for name, kind in self.keys.items() if kind.pii}
        return keys, {name: spec.pii for name, spec in self.attributes.items() if spec.pii}

    def normalise(self, key_type: str, value: str) -> str:
        kind = self.keys.get(key_type)
        return kind.normalise(value) if kind else value.strip()

    def current_name(self, system: str) -> str:
        """Today's name of a system that was renamed."""
        for name, spec in self.systems.items():
            if system in spec.former_names:
                return name
        return system
