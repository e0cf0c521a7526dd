"""Lookup: any value that anybody knows a transaction by, to where it is; and listings in the same form.

A value is normalised as the landscape says, for every key type it could be. One that names several transactions (a
customer, a number used by two key types) yields them all, newest first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.answers.answer import Answer, SaidAnswer, answer, claims, history, known_by, place
from pipeline.answers.changes import Change, Telling, changes, correction
from pipeline.answers.explain import Explanation, explain, unexplained
from pipeline.answers.forms import forms
from pipeline.answers.judging import Bench, chunks, is_stand_in, known_through, stand_in, stored_verdict
from pipeline.answers.unread import unread_of
from pipeline.answers.words import Clock, Names
from pipeline.core.hearing import Knowledge
from pipeline.errors import Invalid
from pipeline.store.contract import (
    UNJUDGED,
    Alias,
    DisputeRow,
    FlipRow,
    KeyRow,
    QuarantineRow,
    Transaction,
    VerdictQuery,
    VerdictRow,
)
from pipeline.store.whole import Whole, both, load_whole
from schemas.flow import Flow
from schemas.verdict import MISSING, Verdict
from schemas.wire import Observed


@dataclass(frozen=True, slots=True)
class Found:
    """One transaction under one flow, with all that a page about it shows.

    ``events``: those recorded by then, earliest first. ``flips``: what was said when, up to then; ``changes``: the same, and what
    had come to know. ``disputes``: what it was told of its numbers. ``unread``: what names it and could not be read, where
    something is missing. ``as_of``: µs asked for, 0 for now.
    """

    transaction: Transaction
    flow: Flow
    verdict: Verdict
    explanation: Explanation
    answer: Answer
    events: tuple[Observed, ...]
    keys: tuple[KeyRow, ...]
    flips: tuple[FlipRow, ...]
    changes: tuple[Change, ...] = ()
    disputes: tuple[DisputeRow, ...] = ()
    unread: tuple[QuarantineRow, ...] = ()
    as_of: int = 0


def lookup(bench: Bench, value: str, key_type: str = "", as_of: int = 0, limit: int = 100) -> tuple[list[Found], int]:
    """All that ``value`` names, newest first, at most ``limit`` transactions; and how many there are.

    ``key_type`` narrows the search to one kind of key. ``as_of`` µs: judged again on what was recorded by then, beside what
    was said then. Raises ``Invalid`` for an unknown key type.
    """
    named, heard = both(lambda: _named(bench, value, key_type), lambda: bench.store.hearing(as_of))
    transactions = list(named)
    shown = transactions
    if len(transactions) > limit:
        shown = _newest_first(transactions, bench.store.load_verdicts(transactions))[:limit]
    loaded = load_whole(bench.store, shown, as_of)
    own = {transaction: _with_own_keys(bench, transaction, whole) for transaction, whole in loaded.items()}
    stored = {transaction: whole for transaction, whole in own.items() if not named[transaction].isdisjoint(whole.keys)}
    others = len(shown) - len(stored)
    shown = [transaction for transaction in shown if transaction in stored]
    shown = _newest_first(shown, {transaction: whole.rows for transaction, whole in stored.items()})
    bench.cover(row for whole in stored.values() for row in whole.rows)
    if as_of or not all(whole.rows for whole in stored.values()):
        # Here it is not rows that say by which flows to judge.
        bench.learn()
    knowledge = bench.knowledge_from(heard)
    missing = {transaction: whole.keys for transaction, whole in stored.items() if as_of or _may_be_missing(whole)}
    unread = unread_of(bench, missing, as_of) if missing else {}
    make = _as_of if as_of else _now
    found = [
        one
        for transaction in shown
        for one in make(bench, _Known(transaction, *stored[transaction], unread.get(transaction, ())), knowledge, as_of)
    ]
    found.sort(key=lambda one: -one.verdict.started_at)
    return found, len(transactions) - others


def _with_own_keys(bench: Bench, transaction: Transaction, whole: Whole) -> Whole:
    """Without the keys that came with events which are another's by now: kept with it while an alias was in dispute, they name
    somebody else."""
    state = bench.state(transaction, whole.events, whole.disputes) if whole.disputes else None
    if state is None or not state.standings or state.bounded:
        return whole
    own = {item for event in state for item in event.keys.items()}
    return whole._replace(
        keys=[
            row for row in whole.keys if row.key_type in (transaction[0], UNJUDGED) or (row.key_type, row.value) in own
        ]
    )


def _may_be_missing(whole: Whole) -> bool:
    return not whole.rows or any(row.status in MISSING for row in whole.rows)


def find(bench: Bench, value: str, key_type: str = "") -> list[Transaction]:
    """Transactions that ``value`` names, in the form in which each key type keeps it."""
    return list(_named(bench, value, key_type))


def _named(bench: Bench, value: str, key_type: str) -> dict[Transaction, set[KeyRow]]:
    """The same, and by which keys."""
    normal = [form for _, form in forms_of(bench, value, key_type)]
    asked = dict.fromkeys((*normal, *(() if key_type else (value.strip(),))))
    found: dict[Transaction, set[KeyRow]] = {}
    for form in asked:
        for row in bench.store.find_keys(form, key_type):
            if row.value in forms(bench.landscape, bench.ring, row.key_type, value):
                found.setdefault((row.transaction_type, row.transaction_id), set()).add(row)
    return found


def forms_of(bench: Bench, value: str, key_type: str = "") -> list[Alias]:
    """What ``value`` may mean: (key type, normal form), of every type or the one named. Raises ``Invalid`` for an unknown one."""
    types = key_types(bench)
    if key_type and key_type not in types:
        bench.learn()
        types = key_types(bench)
    if key_type and key_type not in types:
        raise Invalid(f"no key type {key_type[:60]!r}; there are {', '.join(sorted(types)) or 'none'}")
    asked = [key_type] if key_type else types
    return [(kind, form) for kind in asked for form in forms(bench.landscape, bench.ring, kind, value)]


def key_types(bench: Bench) -> dict[str, None]:
    """All that the landscape or a flow knows."""
    of_flows = (kind for flow in bench.flows.all() for kind in (flow.key, *flow.keys))
    return dict.fromkeys((*bench.landscape.keys, *of_flows))


def _newest_first(
    transactions: Sequence[Transaction], verdicts: Mapping[Transaction, Sequence[VerdictRow]]
) -> list[Transaction]:
    started = {
        transaction: max((row.started_at for row in verdicts.get(transaction, ())), default=0)
        for transaction in transactions
    }
    return sorted(transactions, key=lambda transaction: (-started[transaction], transaction))


class _Known(NamedTuple):
    """A transaction, and what the store holds of it: its ``Whole``."""

    transaction: Transaction
    rows: Sequence[VerdictRow]
    events: list[Observed]
    keys: list[KeyRow]
    flips: list[FlipRow]
    disputes: list[DisputeRow]
    unread: tuple[QuarantineRow, ...] = ()

    def shown_keys(self) -> tuple[KeyRow, ...]:
        """Without the mark of those that no flow judges."""
        return tuple(row for row in self.keys if row.key_type != UNJUDGED)


def _now(bench: Bench, known: _Known, knowledge: Knowledge, _: int) -> Iterator[Found]:
    """What is said now; judged here only where no worker has judged it yet."""
    now = bench.clock()
    told = [bench.told(row, known.events, knowledge, known.disputes) for row in known.rows]
    state = bench.state(known.transaction, known.events, known.disputes)
    for flow, verdict in told or bench.judged(state, knowledge):
        said = [flip for flip in known.flips if flip.flow == flow.flow]
        yield _found(bench, known, flow, verdict, said, known_through(knowledge, now), now)


def _as_of(bench: Bench, known: _Known, knowledge: Knowledge, as_of: int) -> Iterator[Found]:
    """Judged again on what was recorded by then, beside what was said then."""
    known = known._replace(events=[event for event in known.events if event.recorded_at <= as_of])
    if not known.events:
        return
    rows = {row.flow: row for row in known.rows}
    flips = [flip for flip in known.flips if flip.at <= as_of]
    state = bench.state(known.transaction, known.events, known.disputes)
    ended = any(row.ended_at and row.ended_at <= as_of for row in rows.values())
    for flow, verdict in bench.judged(state, knowledge, ended=ended):
        said = [flip for flip in flips if flip.flow == flow.flow]
        yield _found(bench, known, flow, verdict, said, as_of, as_of, as_of)
    for row in rows.values():
        if bench.flow_of(row) is None:
            said = [flip for flip in flips if flip.flow == row.flow]
            verdict = stored_verdict(_as_said(row, said[-1] if said else None))
            yield _found(bench, known, stand_in(row), verdict, said, as_of, as_of, as_of)


def _as_said(row: VerdictRow, flip: FlipRow | None) -> VerdictRow:
    """A row as it was when ``flip`` was the last; nobody says how a transaction begins well."""
    then = row._replace(status="in_progress", ended_at=0, drop_kind="", findings=(), waits=(), body="")
    if flip is None:
        return then
    return then._replace(
        status=flip.status, drop_kind=flip.drop_kind, drop_from=flip.drop_from, drop_to=flip.drop_to,
        drop_system=flip.drop_system, drop_since=flip.at, findings=flip.findings, body=flip.body,
    )  # fmt: skip


def _found(
    bench: Bench,
    known: _Known,
    flow: Flow,
    verdict: Verdict,
    flips: Sequence[FlipRow],
    through: int,
    now: int,
    as_of: int = 0,
) -> Found:
    ordered = tuple(sorted(known.events, key=lambda event: (event.time, event.id)))
    found = changes(flips, ordered, known.disputes)
    unread = known.unread if verdict.status in MISSING else ()
    words = _words(bench, verdict, flow, known.transaction, now, through, found, len(unread))
    told = answer(known.transaction, verdict, flow, bench.landscape, words.text, through, known_by(ordered))
    told = told.model_copy(
        update={
            "history": history(found, Telling(Names(flow, bench.landscape), Clock.of(now, bench.landscape))),
            "claims": claims(known.disputes),
            "unread": tuple(row.id for row in unread),
            **({"said": _said(flips[-1])} if as_of and flips else {}),
        }
    )
    return Found(
        known.transaction, flow, verdict, words, told, ordered, known.shown_keys(), tuple(flips), found,
        tuple(known.disputes), unread, as_of,
    )  # fmt: skip


def _words(
    bench: Bench,
    verdict: Verdict,
    flow: Flow,
    transaction: Transaction,
    now: int,
    through: int,
    found: Sequence[Change] = (),
    unread: int = 0,
) -> Explanation:
    if is_stand_in(flow):
        return unexplained(flow.flow)
    telling = Telling(Names(flow, bench.landscape), Clock.of(now, bench.landscape), plain=True)
    return explain(
        verdict, flow, bench.landscape, transaction_id=transaction[1], now=now, known_through=through,
        changed=correction(found, telling), unread=unread,
    )  # fmt: skip


def _said(flip: FlipRow) -> SaidAnswer:
    return SaidAnswer(status=flip.status, since=flip.at, drop=place(flip), findings=flip.findings)


def list_rows(bench: Bench, query: VerdictQuery) -> list[VerdictRow]:
    """Stored verdicts, newest first: what a table of a listing shows."""
    return list(bench.store.verdicts(query))


def list_answers(bench: Bench, rows: Sequence[VerdictRow]) -> Iterator[Answer]:
    """The same in the documented form, with path and explanation."""
    bench.cover(rows)
    knowledge, now = bench.knowledge(), bench.clock()
    through = known_through(knowledge, now)
    for chunk in chunks(rows):
        transactions = list(dict.fromkeys((row.key_type, row.transaction_id) for row in chunk))
        events, disputes = bench.store.load_events(transactions), bench.store.load_disputes(transactions)
        for row in chunk:
            transaction = (row.key_type, row.transaction_id)
            own = events.get(transaction, [])
            flow, verdict = bench.told(row, own, knowledge, disputes.get(transaction, []))
            words = _words(bench, verdict, flow, transaction, now, through)
            yield answer(transaction, verdict, flow, bench.landscape, words.text, through, known_by(own))
