"""Links: who claims an alias, by what, whether that is contested, and what people decided; and a decision as a record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipeline.answers.forms import forms, require_key
from pipeline.answers.judging import Bench
from pipeline.answers.lookup import key_types
from pipeline.core.correlate import (
    BROKEN,
    CLAIMED,
    CLEAR,
    CONTESTED,
    DECISION,
    FOREIGN,
    RECLAIMED,
    VOID,
    Claims,
    Role,
    Standing,
    alias_of,
    roles_of,
)
from pipeline.core.generations import number_of
from pipeline.errors import Invalid
from pipeline.store.contract import Alias, LinkRow, ParkedRow, Transaction
from schemas.event import MAX_TEXT
from schemas.joined import SHARED_MARK, Decision, Lines, address, encode_lines, parts
from schemas.times import format_time
from tracer.record import EVENTS, KIND, Record

_STANDINGS = {
    CLEAR: "joined",
    CONTESTED: "contested",
    FOREIGN: "another's",
    VOID: "joins nothing, as several claim it",
}
_NOTHING = Standing(False, False, FOREIGN)
_SHIFT = 22


class Claimant(NamedTuple):
    """A transaction that claims an alias, or did, or of which a person said something.

    ``ways``: by which events said so, "" for one that names both itself, ``~type:value`` through a shared alias. ``decided``:
    accepted, broken or "", at ``decided_at`` µs, ``who`` by and ``why``. ``standing``: what comes of it.
    """

    transaction: Transaction
    ways: tuple[str, ...]
    withdrawn: tuple[str, ...]
    decided: str
    decided_at: int
    standing: Standing
    who: str = ""
    why: str = ""

    @property
    def says(self) -> str:
        """The standing in words."""
        if self.decided == BROKEN:
            return "not its, a person said"
        if self.standing.state == CLEAR and self.standing.shared:
            return "joined, with others"
        return _STANDINGS[self.standing.state] if self.standing.joined or self.standing.state != CLEAR else "not joined"


@dataclass(frozen=True, slots=True)
class Page:
    """All about one alias. ``kept``: events that came under it and name no transaction."""

    alias: Alias
    claimants: tuple[Claimant, ...]
    kept: tuple[ParkedRow, ...]

    @property
    def contested(self) -> bool:
        return any(one.standing.state == CONTESTED for one in self.claimants)


def named(bench: Bench, text: str, what: str) -> Alias:
    """``type:value`` as a person writes it, in the form in which it is kept. Raises ``Invalid`` naming ``what``."""
    kind, value = parts(text.strip())
    kind = kind.strip()
    if not kind or not value.strip():
        raise Invalid(f"not a number with its type: {text[:60]!r}; write TYPE:NUMBER, as payment:PAY-1", field=what)
    if kind not in key_types(bench):
        bench.learn()
    known = key_types(bench)
    if kind not in known:
        raise Invalid(f"no key type {kind[:60]!r}; there are {', '.join(sorted(known)) or 'none'}", field=what)
    require_key(bench.landscape, bench.ring, kind, value, what)
    aliases = [(kind, form) for form in forms(bench.landscape, bench.ring, kind, value)]
    if len(aliases) == 1:
        return aliases[0]
    links, kept = bench.store.load_links(aliases), bench.store.load_kept(aliases)
    return next((alias for alias in aliases if links[alias] or kept[alias]), aliases[0])


def page(bench: Bench, alias: Alias) -> Page:
    """Who claims an alias now."""
    bench.learn()
    rows = bench.store.load_links([alias])[alias]
    kept = sorted(bench.store.load_kept([alias])[alias], key=lambda row: (row.event.time, row.id))
    claims = Claims()
    for row in rows:
        claims.add((row.key_type, row.transaction_id), row.by, row.at, row.state, row.shared, row.version)
    roles = roles_of(bench.flows)
    standing: dict[Transaction, Standing] = {}
    for kind in claims.transaction_types():
        standing.update(claims.resolve(kind, roles.role(kind, alias[0])))
    transactions = dict.fromkeys((row.key_type, row.transaction_id) for row in rows)
    found = [_claimant(one, rows, standing.get(one, _NOTHING)) for one in transactions]
    order = (CONTESTED, CLEAR, VOID, FOREIGN)
    found.sort(key=lambda one: (order.index(one.standing.state), not one.standing.joined, one.transaction))
    return Page(alias, tuple(found), tuple(kept))


def _claimant(transaction: Transaction, rows: Iterable[LinkRow], standing: Standing) -> Claimant:
    own = [row for row in rows if (row.key_type, row.transaction_id) == transaction]
    said = max((row for row in own if row.by == DECISION), key=lambda row: row.version, default=None)
    claims = [row for row in own if row.by != DECISION]
    ways = dict.fromkeys(row.by for row in claims if row.state in (CLAIMED, RECLAIMED))
    withdrawn = dict.fromkeys(row.by for row in claims if row.state not in (CLAIMED, RECLAIMED) and row.by not in ways)
    decided_at = (said.version >> _SHIFT) * 1_000 if said else 0
    decided = (said.state, decided_at, standing, said.who, said.why) if said else ("", 0, standing)
    return Claimant(transaction, tuple(ways), tuple(withdrawn), *decided)


def data(found: Page) -> dict[str, Any]:
    """As plain data."""
    return {
        "alias_type": found.alias[0], "alias": found.alias[1], "contested": found.contested, "kept": len(found.kept),
        "claims": [
            {
                "key_type": one.transaction[0], "transaction_id": one.transaction[1], "joined": one.standing.joined,
                "shared": one.standing.shared, "state": one.standing.state, "by": [alias_of(way) for way in one.ways],
                "withdrawn": [alias_of(way) for way in one.withdrawn], "decision": one.decided or None,
                "decided_at": format_time(one.decided_at) if one.decided else None, "decided_by": one.who, "why": one.why,
            }
            for one in found.claimants
        ],
    }  # fmt: skip


def way_words(way: str) -> str:
    """How it is known that a number belongs to a transaction."""
    if not way:
        return "names both"
    kind, value = parts(alias_of(way))
    return f"known by {kind} {value}" + (", which others share" if way.startswith(SHARED_MARK) else "")


def decide(
    bench: Bench, alias: Alias, transaction: Transaction, *, accept: bool, by: str = "", why: str = ""
) -> Record:
    """The record of a person's word that an alias names a transaction, or does not. Raises ``Invalid`` where it makes no sense.
    Of a number that came round (``7↻2``) the word is of the number, as all claims are."""
    bench.learn()
    given, transaction = transaction, (transaction[0], number_of(transaction[1]))
    roles = roles_of(bench.flows)
    if transaction[0] not in {flow.key for flow in bench.flows.all()}:
        raise Invalid(f"no flow follows transactions by their {transaction[0]}", field="TRANSACTION")
    role: Role = roles.role(transaction[0], alias[0])
    if not role.joins:
        kinds = [name for name, one in roles.of.get(transaction[0], {}).items() if one.joins]
        raise Invalid(
            f"in no flow does a {alias[0]} name the {transaction[0]}; these do: {', '.join(sorted(kinds)) or 'none'}",
            field="ALIAS",
        )
    claims = bench.store.load_links([alias])[alias]
    if not any((row.key_type, row.transaction_id) == transaction for row in claims):
        _require_known(bench, alias, given, accept=accept)
    if len(why) > MAX_TEXT:
        raise Invalid(f"more than {MAX_TEXT} characters", field="--why")
    said = Decision(address(*alias), address(*transaction), "accept" if accept else "break", by[:MAX_TEXT], why)
    body = encode_lines([said])
    # By the same types by which a worker reads it: what it would refuse is refused here, in words.
    Lines(Decision).read(body)
    return Record(EVENTS, address(*alias).encode(), body, ((KIND, b"decision"),))


def _require_known(bench: Bench, alias: Alias, transaction: Transaction, *, accept: bool) -> None:
    """What nobody claims so far may be a slip of the pen."""
    if not accept:
        raise Invalid(f"{' '.join(transaction)} does not claim {' '.join(alias)}, so there is nothing to break")
    kind, id = transaction
    names = [transaction, (kind, number_of(id))]
    if not any(bench.store.load_events(names).values()):
        raise Invalid(f"nothing is known of {' '.join(transaction)} yet", field="TRANSACTION")
