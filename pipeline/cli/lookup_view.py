"""How a lookup looks: first the plain answer, then the timeline, then what it rests on."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich.box import ROUNDED, SIMPLE_HEAD
from rich.console import Console, Group
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pipeline.answers.changes import Telling, claimed_words
from pipeline.answers.lookup import Found
from pipeline.answers.report_render import amount_text
from pipeline.answers.unlinked import Held, held_words
from pipeline.answers.words import Clock, Names, length, sentence
from pipeline.cli.common import typed
from pipeline.cli.terminal import STYLES, plain, status_text
from pipeline.cli.unlinked import samples_table
from pipeline.core.correlate import CONTESTED, ways
from pipeline.core.generations import number_of
from pipeline.store.contract import DisputeRow, QuarantineRow
from schemas.joined import address
from schemas.landscape import HASHED, Landscape
from schemas.times import format_duration
from schemas.verdict import Drop, Hop, Outcome, Status, Verdict, Witness

MAX_EVIDENCE = 12
MAX_CHANGES = 6
IN_FULL = 3
_BORDERS = {"lost": "red", "failed": "red", "stalled": "yellow", "unknown": "magenta", "in_progress": "cyan"}
_SIGNS = {
    Outcome.DONE: ("✓", "green"),
    Outcome.FAILED: ("✗", "red"),
    Outcome.CANCELLED: ("✗", "red"),
    Outcome.OPEN: ("…", "cyan"),
}
_WORDS = {Outcome.DONE: "done", Outcome.FAILED: "failed", Outcome.CANCELLED: "cancelled", Outcome.OPEN: "under way"}
_OVERDUE = (Status.LOST, Status.STALLED, Status.FAILED)


def show(out: Console, found: Sequence[Found], landscape: Landscape, value: str, total: int, now: int) -> None:
    """Print all that was found: in full what is missing, or the newest; the rest as a table."""
    if len(found) > 1:
        _overview(out, found, landscape, value, total, now)
    for one in _in_full(found):
        out.print()
        _one(out, one, landscape, one.as_of or now)


def _in_full(found: Sequence[Found]) -> list[Found]:
    wrong = [one for one in found if one.verdict.status in (*_OVERDUE, Status.UNKNOWN)]
    return (wrong or list(found[:1]))[:IN_FULL]


def _overview(out: Console, found: Sequence[Found], landscape: Landscape, value: str, total: int, now: int) -> None:
    transactions = len({one.transaction for one in found})
    more = f", the newest {transactions} of {total}" if total > transactions else ""
    wrong = sum(one.verdict.status in (*_OVERDUE, Status.UNKNOWN) for one in found)
    look = f"; {wrong} of them need{'s' if wrong == 1 else ''} a look" if wrong else ""
    out.print(plain(f"{value} leads to {transactions} transactions{more}, newest first{look}", "bold"))
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for title in ("began", "transaction", "status", "value", "in short"):
        table.add_column(title, no_wrap=title != "in short", overflow="fold" if title == "in short" else "ellipsis")
    for one in found:
        clock = Clock.of(one.as_of or now, landscape)
        table.add_row(
            plain(clock.short(one.verdict.started_at)),
            plain(f"{one.transaction[0]} {one.transaction[1]}", "bold"),
            _status(one.verdict),
            plain(amount_text(one.verdict.value, one.verdict.currency)),
            plain(_short(one)),
        )
    out.print(table)


def _short(one: Found) -> str:
    if one.verdict.status in (*_OVERDUE, Status.UNKNOWN):
        first = one.explanation.sentences[0]
        rest = first.partition(": ")[2] or first
        return rest[:1].upper() + rest[1:]
    last = one.verdict.hops[-1].step if one.verdict.hops else ""
    kinds = dict.fromkeys(finding.kind.value.replace("_", " ") for finding in one.verdict.findings)
    return ", ".join((*([one.flow.label(last)] if last else []), *kinds))


def _status(verdict: Verdict) -> Text:
    return status_text("excluded" if verdict.excluded else verdict.status)


def _one(out: Console, one: Found, landscape: Landscape, now: int) -> None:
    clock, names = Clock.of(now, landscape), Names(one.flow, landscape)
    out.print(_answer(one))
    out.print(_known_as(one, landscape))
    if one.as_of:
        out.print(_said_then(one, clock))
    out.print(Padding(_timeline(one, names, clock), (1, 0, 0, 0)))
    out.print(Padding(_rests_on(one, names, clock), (1, 0, 0, 0)))


def _answer(one: Found) -> Panel:
    verdict = one.verdict
    customer = Text.assemble(("Tell the customer: ", "bold"), plain(one.explanation.tell_customer))
    title = Text.assemble(plain(f" {one.transaction[0]} {one.transaction[1]} ", "bold"), _status(verdict), " ")
    worth = amount_text(verdict.value, verdict.currency)
    below = f" {one.flow.flow} version {one.flow.version}" + (f" · {worth} " if worth else " ")
    return Panel(
        Group(plain(" ".join(one.explanation.sentences)), Text(), customer),
        box=ROUNDED,
        title=title,
        title_align="left",
        subtitle=plain(below, "dim"),
        subtitle_align="right",
        border_style="dim" if verdict.excluded else _BORDERS.get(verdict.status, "green"),
        padding=(1, 2),
    )


def _known_as(one: Found, landscape: Landscape) -> Text:
    known: dict[str, list[str]] = {}
    for row in one.keys:
        known.setdefault(row.key_type, []).append(row.value)
    parts = []
    for kind, values in known.items():
        spec = landscape.keys.get(kind)
        # The 60 letters of a hash say nothing to anybody.
        named = list(dict.fromkeys("(hashed)" if HASHED.fullmatch(value) else value for value in values))
        shown = ", ".join(named[:4]) + (f" and {len(named) - 4} more" if len(named) > 4 else "")
        parts.append(f"{(spec.says if spec else '') or kind} {shown}")
    return plain("Known by " + " · ".join(parts), "dim") if parts else Text()


def _said_then(one: Found, clock: Clock) -> Text:
    said = one.answer.said
    then = f"As of {clock.short(one.as_of, seconds=True)}, judged again on what was recorded by then: "
    text = Text.assemble("\n", plain(then), _status(one.verdict), ".\nSaid then: ")
    if said is None:
        return text.append("nothing yet.")
    text.append_text(status_text(said.status))
    detail = f" {said.drop.replace('_', ' ')}" if said.drop else ""
    return text.append_text(plain(f"{detail}, since {clock.short(said.since, seconds=True)}."))


def show_held(out: Console, one: Held, landscape: Landscape, now: int) -> None:
    """Print what is kept under a number that no transaction claims."""
    kind = landscape.keys.get(one.alias[0])
    words = sentence(held_words(one, (kind.says if kind else "") or one.alias[0])).removesuffix(".")
    clock = Clock.of(now, landscape)
    out.print()
    out.print(plain(f"{words}:", "bold"))
    out.print(samples_table(list(one.rows[:MAX_EVIDENCE]), clock, landscape))
    more = len(one.rows) - MAX_EVIDENCE
    out.print(plain(f"{f'And {more} more. ' if more > 0 else ''}Times in {clock.zone}.", "dim"))
    if one.whose:
        command = typed(f"link {shlex.quote(address(*one.alias))} TYPE:NUMBER --accept")
        out.print(plain(f"If you know whose it is: {command}", "dim"), soft_wrap=True)


# --- the timeline -------------------------------------------------------------------------------------------------------


def _timeline(one: Found, names: Names, clock: Clock) -> Table:
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    table.add_column("when", no_wrap=True)
    table.add_column("", no_wrap=True, width=1)
    table.add_column("step", overflow="fold")
    table.add_column("where", overflow="fold")
    table.add_column("what", overflow="fold")
    table.add_column("took", no_wrap=True, justify="right")
    took = {(edge.to_step, edge.instance): edge.took for edge in one.verdict.edges}
    ways_of, telling = {event.id: ways(event.via) for event in one.events if event.via}, Telling(names, clock)
    for hop in one.verdict.hops:
        sign, style = _SIGNS[hop.outcome]
        what = plain(_WORDS[hop.outcome], style)
        by = dict.fromkeys(way for event in hop.events for way in ways_of.get(event, ()))
        known = telling.known_by(list(by)) if by else ""
        for remark in (f"try {hop.attempt}" if hop.attempt > 1 else "", _stay(hop), hop.error or "", known):
            if remark:
                what.append_text(plain(f", {remark}"))
        lasted = took.pop((hop.step, hop.instance), None) if hop.outcome == Outcome.DONE else None
        time = hop.left_at if hop.left_at is not None else hop.arrived_at
        table.add_row(
            plain(clock.short(time, seconds=True) if time is not None else ""),
            plain(sign, style),
            plain(_step(one, hop.step, hop.instance)),
            plain(names.system(hop.system, hop.step)),
            what,
            plain(format_duration(lasted) if lasted is not None else ""),
        )
    for drop in one.verdict.drops:
        _add_drop(table, one, drop, names, clock)
    return table


def _stay(hop: Hop) -> str:
    """How long it was there, where both ends are known."""
    if hop.arrived_at is None or hop.left_at is None or hop.left_at - hop.arrived_at < 1_000_000:
        return ""
    return f"{format_duration(hop.left_at - hop.arrived_at)} there"


def _add_drop(table: Table, one: Found, drop: Drop, names: Names, clock: Clock) -> None:
    style = STYLES.get(drop.status, "")
    what = {"failed": "failed, not mended", "lost": "lost", "stalled": "overdue", "unknown": "cannot be seen"}[
        drop.status
    ]
    part = f", {drop.missing} of {drop.expected}" if drop.missing and drop.expected > 1 else ""
    when = f"due {clock.short(drop.due)}" if drop.due else ""
    late = (
        f", {length(clock.now - drop.due)} past due"
        if drop.due and clock.now > drop.due and drop.status in _OVERDUE
        else ""
    )
    table.add_row(
        plain(when, style),
        plain("?" if drop.status == Status.UNKNOWN else "✗", style),
        plain(_step(one, drop.to_step, drop.instance), style),
        plain(names.system(drop.system, drop.to_step), style),
        plain(what + part + late, style),
        Text(),
    )


def _step(one: Found, step: str, instance: str) -> str:
    return one.flow.label(step) + (f" ({instance})" if instance else "")


# --- what it rests on ---------------------------------------------------------------------------------------------------


def _rests_on(one: Found, names: Names, clock: Clock) -> Group:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    telling = Telling(names, clock)
    for finding in one.answer.findings:
        table.add_row(plain("note", "yellow"), plain(finding.detail))
    for row in one.disputes:
        for words in filter(None, (claimed_words(row, telling), _advice(row))):
            table.add_row(plain("claim", "yellow"), plain(words))
    for words in unread_words(one.unread, clock):
        table.add_row(plain("unread", "yellow"), plain(words))
    for witness in one.verdict.completeness:
        table.add_row(plain("heard", "dim"), plain(_heard(witness, names, clock)))
    for line in _evidence(one, clock, telling):
        table.add_row(plain("event", "dim"), plain(line))
    if len(one.changes) > MAX_CHANGES:
        table.add_row(
            plain("said", "dim"), plain(f"{len(one.changes) - MAX_CHANGES} times before (--format json has all)")
        )
    for change in one.changes[-MAX_CHANGES:]:
        said = f"{clock.short(change.flip.at, seconds=True)}  {telling.change(change)}"
        table.add_row(plain("said", "dim"), plain(said))
    known = f"Times in {clock.zone}; known through {clock.short(one.answer.as_of, seconds=True)}."
    return Group(plain("What this rests on", "bold"), table, plain(known, "dim"))


def unread_words(rows: Sequence[QuarantineRow], clock: Clock) -> list[str]:
    """Of records that name it and could not be read, and how to see them."""
    told = [
        f"{clock.short(row.at, seconds=True)}  from {row.source or 'no source named'}: {row.reason}:"
        f" {typed(f'quarantine show {shlex.quote(row.id)}')}"
        for row in rows[:IN_FULL]
    ]
    more = len(rows) - IN_FULL
    return [*told, f"and {more} more ({typed('quarantine list')})"] if more > 0 else told


def _advice(row: DisputeRow) -> str:
    """How a person settles what is contested."""
    if row.state != CONTESTED:
        return ""
    alias, transaction = f"{row.alias_type}:{row.alias}", f"{row.key_type}:{number_of(row.transaction_id)}"
    command = f"link {shlex.quote(alias)} {shlex.quote(transaction)}"
    return f"whose is it? {typed(f'{command} --accept')}, or --break where it is not"


def _evidence(one: Found, clock: Clock, telling: Telling) -> list[str]:
    sources = {item.event_id: item for item in one.verdict.evidence}
    lines = []
    for event in one.events:
        if event.id in sources:
            told = f"{clock.short(event.time, seconds=True)}  {event.step} {event.phase}"
            known = f", {telling.known_by(ways(event.via))}" if event.via else ""
            lines.append(f"{told}, from {sources[event.id].source or 'no source named'}{known}: {event.id}")
    more = len(lines) - MAX_EVIDENCE
    return [*lines[:MAX_EVIDENCE], f"and {more} more (--format json has all)"] if more > 0 else lines


def _heard(witness: Witness, names: Names, clock: Clock) -> str:
    name = names.system(witness.system)
    if witness.heard_through is None:
        return f"{name}: never"
    through = f"{name} through {clock.short(witness.heard_through, seconds=True)}"
    gaps = [f"{_edge(begin, clock)} to {_edge(end, clock)}" for begin, end in witness.blind]
    remarks = (
        "now silent" if witness.silent else "",
        "nobody vouches for it" if witness.unvouched else "",
        f"not heard from {', '.join(gaps)}" if gaps else "",
    )
    return ", ".join(filter(None, (through, *remarks)))


def _edge(time: int | None, clock: Clock) -> str:
    return "now" if time is None else "the beginning" if time <= 0 else clock.short(time, seconds=True)
