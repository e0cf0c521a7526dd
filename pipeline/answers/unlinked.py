"""Unlinked: events that do not name the transaction sought, under aliases that nobody claims yet: how many, how old, and which."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from pipeline.answers.judging import Bench
from pipeline.answers.lookup import forms_of, key_types
from pipeline.answers.words import count, listing
from pipeline.core.correlate import roles_of
from pipeline.errors import Invalid
from pipeline.store.contract import Alias, ParkedRow, Unlinked
from pipeline.store.rows import claimed
from schemas.times import DAY, HOUR, format_time

# How old, to the name of the column; what is older than all is in the last.
AGES = {"under_1h": HOUR, "under_1d": DAY, "under_7d": 7 * DAY}
COLUMNS = ("alias_type", "events", "aliases", *AGES, "older", "oldest", "newest")


class Held(NamedTuple):
    """What is kept under one alias that no transaction claims, earliest first. ``whose``: what might claim it ("order or cart"),
    "" where no flow joins anything by it."""

    alias: Alias
    whose: str
    rows: tuple[ParkedRow, ...]


def unlinked(bench: Bench, alias_type: str = "", samples: int = 3) -> list[Unlinked]:
    """By alias type, the one with the most events first. Raises ``Invalid`` for an unknown type."""
    if alias_type:
        _require_type(bench, alias_type)
    now = bench.clock()
    found = bench.store.unlinked(samples, [now - age for age in AGES.values()])
    shown = [one for one in found if alias_type in ("", one.alias_type)]
    return sorted(shown, key=lambda one: (-one.events, one.alias_type))


def older_than(found: Iterable[Unlinked], age: int, now: int) -> bool:
    """Whether anything is kept for longer than ``age`` µs; 0 asks for anything, also where the log's clock is ahead of ours."""
    return any(age == 0 or one.oldest < now - age for one in found)


def data(one: Unlinked, *, samples: bool = False) -> dict[str, Any]:
    """As plain data."""
    found: dict[str, Any] = {
        "alias_type": one.alias_type, "events": one.events, "aliases": one.aliases,
        **dict(zip((*AGES, "older"), one.by_age, strict=True)),
        "oldest": format_time(max(one.oldest, 0)), "newest": format_time(max(one.newest, 0)),
    }  # fmt: skip
    if samples:
        found["samples"] = [sample_data(row) for row in one.samples]
    return found


def sample_data(row: ParkedRow) -> dict[str, Any]:
    event = row.event
    return {
        "alias": row.alias, "event_id": event.id, "system": event.system, "step": event.step, "phase": event.phase,
        "time": format_time(event.time), "kept_at": format_time(max(row.kept_at, 0)), "source": event.source,
        "keys": dict(event.keys),
    }  # fmt: skip


def held(bench: Bench, value: str, key_type: str = "", as_of: int = 0) -> list[Held]:
    """What is kept under ``value``, as any kind of number or only as ``key_type``, by aliases that nobody claims. ``as_of`` µs:
    what was kept by then."""
    aliases = forms_of(bench, value, key_type)
    kept = bench.store.load_kept(aliases)
    links = bench.store.load_links([alias for alias in aliases if kept[alias]])
    found = []
    for alias, claims in links.items():
        rows = [row for row in kept[alias] if not as_of or row.kept_at <= as_of]
        if rows and not claimed(claims):
            bench.learn()
            rows.sort(key=lambda row: (row.event.time, row.id))
            found.append(Held(alias, claimants(bench, alias[0]), tuple(rows)))
    return found


def claimants(bench: Bench, alias_type: str) -> str:
    """What people call the transactions that numbers of this type may name: "order or cart"; "" where there are none."""
    kinds = {kind for kind, role in roles_of(bench.flows).by_alias.get(alias_type, {}).items() if role.joins}
    flows = [flow for flow in bench.flows.all() if flow.key in kinds]
    return listing([flow.says.name or flow.key.replace("_", " ") for flow in flows], "or")


def held_words(one: Held, name: str) -> str:
    """ "we hold 2 events under payment reference P1, which no order has claimed yet"; ``name``: what people call the type."""
    many = count(len(one.rows), "event")
    if not one.whose:
        return f"we hold {many} under {name} {one.alias[1]}, by which no flow joins anything"
    return f"we hold {many} under {name} {one.alias[1]}, which no {one.whose} has claimed yet"


def _require_type(bench: Bench, alias_type: str) -> None:
    if alias_type not in key_types(bench):
        bench.learn()
    known = key_types(bench)
    if alias_type not in known and alias_type not in {one.alias_type for one in bench.store.unlinked(0)}:
        raise Invalid(
            f"no key type {alias_type[:60]!r}; there are {', '.join(sorted(known)) or 'none'}", field="--type"
        )
