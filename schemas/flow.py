"""Flow: a versioned declaration of a business process, in the language of DESIGN.md §6.

This module is the model and what can be said wrong about one field or one flow; ``schemas/flow_file.py`` reads YAML and
names file and line.
"""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from schemas.errors import Invalid
from schemas.event import Name, Phase, Scalar
from schemas.times import DAY, SECOND, parse_duration, parse_time


def _duration(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value != 0:
        raise ValueError(f"bad duration {value}; write the unit, for instance {value}s or {value}m")
    return parse_duration(value)


Duration = Annotated[
    int,
    BeforeValidator(_duration, json_schema_input_type=str),
    Field(ge=0, description="duration such as 30s, 15m, 1h30m, 5d (held as microseconds)"),
    PlainSerializer(lambda value: f"{value}us", return_type=str),
]


class Role(StrEnum):
    """What a key type is to a flow: another name of the same transaction (``alias``; ``shared``: one value covers several;
    ``weak``: joins only while a single transaction claims it), or a way to find it (``search``), or a value that two
    transactions must not both hold within a window (``once``)."""

    ALIAS = "alias"
    SHARED = "shared"
    WEAK = "weak"
    SEARCH = "search"
    ONCE = "once"


class KeyRole(BaseModel):
    """Role of a key type. ``once``: the window in µs, for role ``once`` only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    once: Duration | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, str) and value in ("alias", "search"):
            return {"role": value}
        if isinstance(value, dict) and set(value) == {"alias"} and value["alias"] in ("shared", "weak"):
            return {"role": value["alias"]}
        if isinstance(value, dict) and set(value) == {"once"}:
            return {"role": "once", "once": value["once"]}
        if isinstance(value, dict) and "role" in value:
            return value
        raise ValueError("a key needs a role: alias, {alias: shared}, {alias: weak}, search or {once: 10m}")


class After(BaseModel):
    """Predecessors. ``all``: every one of them; ``any``: the first of them that is done."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["all", "any"] = "all"
    steps: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"steps": (value,)}
        if isinstance(value, list):
            return {"steps": tuple(value)}
        if isinstance(value, dict) and set(value) == {"any"} and isinstance(value["any"], list):
            return {"mode": "any", "steps": tuple(value["any"])}
        if isinstance(value, dict) and (not value or "steps" in value):
            return value
        raise ValueError("after takes a step, a list of steps (all of them) or {any: [steps]}")


class When(BaseModel):
    """Condition under which a step is owed: a step seen, and/or tests on attributes (value, or one of a list of values)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seen: str | None = None
    attributes: dict[str, tuple[Scalar, ...]] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"seen": value}
        if isinstance(value, dict) and "attributes" not in value and value:
            tests = {
                name: tuple(test) if isinstance(test, list) else (test,)
                for name, test in value.items()
                if name != "seen"
            }
            return {"seen": value.get("seen"), "attributes": tests}
        if isinstance(value, dict) and value:
            return value
        raise ValueError("when takes a step, or {attribute: value} or {attribute: [values]}")


class Count(BaseModel):
    """How many instances there are: a number, an attribute, or the number seen at another step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: Annotated[int, Field(ge=1, le=100_000)] | None = None
    attribute: str | None = None
    announced_by: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return {"number": value}
        if isinstance(value, str):
            return {"attribute": value}
        if isinstance(value, dict) and len([name for name in value if value[name] is not None]) == 1:
            return value
        raise ValueError("count takes a number, an attribute's name or {announced_by: step}")


class Says(BaseModel):
    """Words for people. ``name``: what the step is called ("payment"); ``done``: said when done ("was paid");
    ``missing``: said when it is not ("the payment did not arrive"); ``advice``: what to tell the customer then."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    done: str = ""
    missing: str = ""
    advice: str = ""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class Step(BaseModel):
    """One step of a flow; see DESIGN.md §6 for what each word does. Durations in µs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: Name
    start: bool = False
    after: After = After()
    within: Duration | None = None
    due: str | None = None
    calendar: str | None = None
    per: str | None = None
    count: Count | None = None
    by: Annotated[tuple[str, ...], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)] | None = None
    optional: bool = False
    end: Literal["completed", "closed"] | None = None
    until: str | None = None
    when: When | None = None
    retry_within: Duration = 0
    reports: Annotated[
        tuple[Phase, ...], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v), Field(min_length=1)
    ] = (Phase.COMPLETED,)
    done_by: Phase | None = None
    again: Annotated[int, Field(ge=1, le=1000)] | None = None
    must: bool = False
    lapses: Duration | None = None
    says: Says = Says()

    @property
    def satisfied_by(self) -> Phase:
        """The phase that satisfies the step: declared, else ``completed`` where reported, else the last reported."""
        return self.done_by or (Phase.COMPLETED if Phase.COMPLETED in self.reports else self.reports[-1])

    @property
    def reports_arrival(self) -> bool:
        """Whether the system says that something arrived before it says that it is done."""
        done = self.satisfied_by
        return any(phase in (Phase.RECEIVED, Phase.STARTED) and phase != done for phase in self.reports)

    @property
    def owed(self) -> bool:
        """Every step is owed but those that are optional or a legitimate other end (a false ``when`` is judged per state)."""
        return not self.optional and self.end != "closed"

    @model_validator(mode="after")
    def _coherent(self) -> Step:
        if self.within is not None and self.due is not None:
            raise ValueError("within and due exclude each other")
        if self.calendar is not None and self.within is None:
            raise ValueError("calendar needs within")
        if self.count is not None and self.per is None:
            raise ValueError("count needs per: which key tells the instances apart?")
        if self.done_by is not None and self.done_by not in self.reports:
            raise ValueError(f"done_by {self.done_by} is not among reports")
        if self.satisfied_by in (Phase.FAILED, Phase.CANCELLED):
            raise ValueError("reports has no phase that satisfies the step")
        if self.start and (self.after.steps or self.within is not None):
            raise ValueError("a start has no predecessor and no within")
        if not self.start and not self.after.steps:
            raise ValueError("a step needs after: [a step], or start: true")
        return self


class Flow(BaseModel):
    """A version of a business process.

    ``since``: µs from which the version is in force (a transaction is judged by the version in force at its earliest
    known event; the lowest reaches back without limit). ``lost_after``: µs. ``value``: the attribute that holds the money;
    ``currency``: the attribute with its currency, or a three-letter code. ``exclude``: attribute values of transactions
    that are counted and never judged. ``same_within``: µs within which two observations are one fact.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    flow: Name
    version: Annotated[int, Field(ge=1, le=1_000_000)]
    key: Name
    since: Annotated[
        int, BeforeValidator(lambda value: parse_time(value) if value else 0, json_schema_input_type=str)
    ] = 0
    applies_to: Literal["new", "open"] = "new"
    by: Annotated[tuple[str, ...], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)] | None = None
    keys: dict[Name, KeyRole] = Field(default_factory=dict)
    value: str | None = None
    currency: str = "currency"
    exclude: dict[str, Scalar] = Field(default_factory=dict)
    lost_after: Duration = 14 * DAY
    same_within: Duration = 5 * SECOND
    says: Says = Says()
    steps: Annotated[dict[Name, Step], Field(min_length=1, max_length=500)]

    def digest(self) -> str:
        """Of the content: the same version with another digest is refused, by whoever publishes second.

        What is not said does not count: a word that the language gains later changes no digest.
        """
        content = json.dumps(self.model_dump(mode="json", exclude_defaults=True), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()[:32]

    def label(self, step: str) -> str:
        """What people call a step."""
        spec = self.steps.get(step)
        return (spec.says.name if spec else "") or step.replace("_", " ").replace("-", " ")


class Flows:
    """All published versions of all flows, looked up the way the worker does. Immutable."""

    def __init__(self, flows: tuple[Flow, ...] | list[Flow]):
        by_name: dict[str, dict[int, Flow]] = {}
        for flow in flows:
            known = by_name.setdefault(flow.flow, {}).setdefault(flow.version, flow)
            if known.digest() != flow.digest():
                raise Invalid(
                    f"version {flow.version} of flow {flow.flow} was published with other content; give the change a new version"
                )
            if any(other.key != flow.key for other in by_name[flow.flow].values()):
                raise Invalid(f"flow {flow.flow}: the versions have different keys")
        self.versions: dict[str, tuple[Flow, ...]] = {
            name: tuple(found[number] for number in sorted(found)) for name, found in sorted(by_name.items())
        }
        self.by_key: dict[str, tuple[str, ...]] = {}
        for name, versions in self.versions.items():
            self.by_key[versions[0].key] = (*self.by_key.get(versions[0].key, ()), name)

    def all(self) -> tuple[Flow, ...]:
        return tuple(flow for versions in self.versions.values() for flow in versions)

    def latest(self, name: str) -> Flow:
        """Raises ``Invalid`` where there is no such flow."""
        if name not in self.versions:
            raise Invalid(f"no flow {name!r}; there are {', '.join(self.versions) or 'none'}")
        return self.versions[name][-1]

    def in_force(self, name: str, earliest: int, *, ended: bool = False) -> Flow:
        """The version by which a transaction is judged whose earliest known event is at ``earliest`` µs.

        A version that ``applies_to: open`` also takes over what began before it, unless it has ``ended``.
        """
        versions = self.versions[name]
        chosen = versions[0]
        for flow in versions[1:]:
            if flow.since <= earliest or (flow.applies_to == "open" and not ended):
                chosen = flow
        return chosen
