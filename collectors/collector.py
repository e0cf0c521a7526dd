"""Collector: *input × format × mapping → events*, declared in one YAML file.

This module is the model; ``collector_file`` reads YAML and names file, line and field, ``runner`` runs it. The words of a mapping
(`collectors.mapping.Rules`) stand at the top level, beside the input and the format:

    collector: shop-log
    input: {file: {paths: [/var/log/shop/*.log]}}
    format: json
    zone: Europe/Berlin
    events:
      - {system: shop, step: placed, time: at, keys: {order: order_id}, when: {event: order_placed}}
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from collectors.mapping import Rules
from schemas.control import SourceName
from schemas.event import Name
from schemas.times import parse_duration


def _duration(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value != 0:
        raise ValueError("a duration needs its unit, as 30s or 15m")
    return parse_duration(value)


def _offset(value: Any) -> int:
    """How far a clock is ahead; negative where it is behind."""
    text = str(value).strip()
    sign = -1 if text.startswith("-") else 1
    return sign * parse_duration(text.lstrip("+-") if text[:1] in "+-" else value)


Duration = Annotated[int, BeforeValidator(_duration)]
Offset = Annotated[int, BeforeValidator(_offset)]


class Choice(BaseModel):
    """One of several things by its name, with its options: ``json``, or ``{regex: {pattern: …}}``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


def _choice(value: Any) -> Any:
    if isinstance(value, Choice):
        return value
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict) and len(value) == 1:
        ((name, options),) = value.items()
        if options is None or isinstance(options, dict):
            return {"name": str(name), "options": options or {}}
    raise ValueError("write one name, or {name: {its options}}")


def _vouched(value: Any) -> Any:
    if value == "none":
        return ()
    return (value,) if isinstance(value, str) else value


def _simple(name: str) -> str:
    """Positions are kept in a file of this name."""
    if name.startswith(".") or any(char in '/\\:*?"<>|' for char in name):
        raise ValueError("a collector's name does not begin with a point and has none of / \\ : * ? \" < > |")
    return name


class Collector(Rules):
    """What is read, as what, and which events it gives.

    ``collector``: the source's name. ``vouch``: systems of which all is read here, ``none`` for none; without it an input that
    reads what a system itself writes (file, table, standard input) vouches for those the mapping names, any other for none.
    ``delay``: µs by which records become visible late, as of a log that is buffered. ``clock_offset``: µs by which the source's
    clock is ahead, taken off its events' times. ``pii``: attributes that are hashed or removed before anything leaves the
    machine; those of keys are the landscape's.
    """

    collector: Annotated[SourceName, AfterValidator(_simple)]
    input: Annotated[Choice, BeforeValidator(_choice)]
    format: Annotated[Choice, BeforeValidator(_choice)] = Choice(name="json")
    vouch: Annotated[tuple[Name, ...], BeforeValidator(_vouched), Field(max_length=1000)] | None = None
    delay: Duration = 0
    clock_offset: Offset = 0
    pii: dict[Name, Literal["hash", "remove"]] = Field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.collector
