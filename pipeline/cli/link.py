"""``lastseen link``: who claims a number, and a person's word on whose it is."""

from __future__ import annotations

import shlex

import click
from rich.table import Table

from pipeline.answers import links as answers
from pipeline.answers.inert import as_json
from pipeline.answers.words import Clock, count, length
from pipeline.cli.common import FINDINGS, app_of, leave, typed
from pipeline.cli.service import drain_if_free
from pipeline.cli.terminal import console, err, plain
from pipeline.errors import Invalid
from pipeline.store.contract import Alias, Transaction
from schemas.joined import address
from schemas.landscape import Landscape
from schemas.times import HOUR
from tracer.record import Record

SHOW = "show"
_STYLES = {"contested": "bold yellow", "clear": "green", "foreign": "dim", "void": "yellow"}


@click.command()
@click.argument("alias", metavar="ALIAS")
@click.argument("transaction", metavar="[TRANSACTION]", default="")
@click.option(
    "--accept", "word", flag_value="accept", help="It names this transaction, and unless it is shared no other."
)
@click.option("--break", "word", flag_value="break", help="It does not name this transaction.")
@click.option("--why", default="", metavar="TEXT", help="For those who read it later.")
@click.option(
    "--format", "form", type=click.Choice(("table", "json")), default="table", help="How to print who claims it."
)
def link(alias: str, transaction: str, word: str | None, why: str, form: str) -> None:
    """Who claims a number, and whose it is.

    ALIAS and TRANSACTION are written TYPE:NUMBER, as payment:PAY-1 and order:10248. Without an option it is shown who claims
    ALIAS, by what, whether it is contested, and what was decided before. With --accept or --break your word goes into the log; a
    worker takes note of it, joins or parts the events, and judges those concerned again. The latest word counts.
    """
    app = app_of()
    if alias == SHOW:
        alias, transaction = transaction, ""
    with app.bench() as bench:
        one = answers.named(bench, alias, "ALIAS")
        if word is None:
            if transaction or why:
                raise Invalid("say --accept or --break")
            found = answers.page(bench, one)
            if form == "json":
                click.echo(as_json(answers.data(found)))
            else:
                _print(found, bench.landscape, bench.clock())
            if not found.claimants:
                leave(FINDINGS)
            return
        if not transaction:
            raise Invalid("say whose: TYPE:NUMBER of the transaction", field="TRANSACTION")
        whose = answers.named(bench, transaction, "TRANSACTION")
        env = app.config.env
        by = env.get("LOGNAME") or env.get("USER") or env.get("USERNAME") or ""
        record = answers.decide(bench, one, whose, accept=word == "accept", by=by, why=why)
    _say(record, one, whose, accept=word == "accept")


def _say(record: Record, alias: Alias, whose: Transaction, *, accept: bool) -> None:
    """Write it down; where nobody works on an embedded log, see that it takes effect."""
    app = app_of()
    with app.log() as log:
        sink = log.producer()
        try:
            sink.produce([record])
        finally:
            sink.close()
        verb = "names" if accept else "does not name"
        err().print(plain(f"noted: {' '.join(alias)} {verb} {' '.join(whose)}"), soft_wrap=True)
        settled = False
        if app.config.embedded_log and app.config.embedded_store:
            with app.store() as store:
                settled = not drain_if_free(app, log, store)
    look = typed(f"link {shlex.quote(address(*alias))}")
    done = "it is settled" if settled else "a worker settles it within seconds"
    err().print(
        plain(f"{done}; look with {look} and {typed(f'lookup {shlex.quote(whose[1])}')}", "dim"), soft_wrap=True
    )


def _print(found: answers.Page, landscape: Landscape, now: int) -> None:
    out, clock = console(), Clock.of(now, landscape)
    kind = landscape.keys.get(found.alias[0])
    name = f"{(kind.says if kind else '') or found.alias[0]} {found.alias[1]}"
    if not found.claimants:
        out.print(plain(f"No transaction claims {name}."))
    else:
        state = "is contested" if found.contested else f"is claimed by {count(len(found.claimants), 'transaction')}"
        out.print(plain(f"{name} {state}", "bold"))
        out.print(_table(found, clock))
    if found.kept:
        held = f"{count(len(found.kept), 'event')} came under it alone, the first {length(now - found.kept[0].event.time)} ago"
        out.print(plain(f"{held}: {typed(f'lookup {shlex.quote(found.alias[1])}')}", "dim"), soft_wrap=True)
    if found.contested:
        first = next(one for one in found.claimants if one.standing.state == "contested")
        command = f"link {shlex.quote(address(*found.alias))} {shlex.quote(address(*first.transaction))}"
        whose = " ".join(first.transaction)
        out.print(plain(f"If it is of {whose} alone: {typed(f'{command} --accept')}"), soft_wrap=True)
        out.print(plain(f"If it is not of {whose}: {typed(f'{command} --break')}"), soft_wrap=True)


def _table(found: answers.Page, clock: Clock) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for title in ("transaction", "it is", "by an event that", "decided"):
        table.add_column(title, overflow="fold")
    for one in found.claimants:
        ways = [answers.way_words(way) for way in one.ways]
        ways += [f"{answers.way_words(way)} (withdrawn)" for way in one.withdrawn]
        when = f", {clock.short(one.decided_at)}" if one.decided_at > HOUR else ""
        when += f", by {one.who}" if one.who else ""
        when += f": {one.why}" if one.why else ""
        table.add_row(
            plain(" ".join(one.transaction), "bold"),
            plain(one.says, _STYLES.get(one.standing.state, "")),
            plain("; ".join(ways)),
            plain(f"{one.decided}{when}" if one.decided else ""),
        )
    return table
