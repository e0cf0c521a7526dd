"""``lastseen audit``: was all that sources sent found again, and if not, which numbers are missing."""

from __future__ import annotations

import click
from rich.table import Table
from rich.text import Text

from pipeline.answers import audit as answers
from pipeline.answers.audit import BALANCED, MISSING, NOT_NUMBERED, NOT_VOUCHED, PENDING, SHED, Audit, Balance, Gap
from pipeline.answers.inert import as_json
from pipeline.answers.words import Clock, count, listing
from pipeline.cli.common import FINDINGS, app_of, leave
from pipeline.cli.options import format_option, moment, print_data
from pipeline.cli.terminal import console, plain
from pipeline.errors import Invalid
from pipeline.store.accounts import EXPIRED, FORGOTTEN, QUARANTINED, REPEATED, STORED
from schemas.landscape import Landscape
from schemas.times import EARLIEST

SHOWN_GAPS = 5
SHOWN_BALANCED = 30
_STYLES = {MISSING: "bold red", NOT_VOUCHED: "yellow", NOT_NUMBERED: "yellow", PENDING: "cyan", BALANCED: "green"}
_SELDOM = (SHED, "in flight")
# Of what is called stored in the table.
_ONCE = {
    REPEATED: "stored under another number",
    EXPIRED: "stored until they expired",
    FORGOTTEN: "stored until they were forgotten",
}


@click.command()
@click.option(
    "--from", "begin", default="", metavar="TIME", help="Epochs that were alive after this date or time, or 2h (ago)."
)
@click.option("--to", "end", default="", metavar="TIME", help="Epochs that began before this.")
@click.option("--source", default="", metavar="NAME", help="Only this source.")
@click.option(
    "--fail-on",
    type=click.Choice(["missing", "any"]),
    help="Exit with 1 if numbers are missing (any: or something cannot be balanced).",
)
@format_option
def audit(begin: str, end: str, source: str, fail_on: str | None, form: str) -> None:
    """Was all that was sent found again? Per source and boot, by running numbers: sent = stored, quarantined or shed.

    Numbers that were sent and are not settled yet are in flight, not missing. A boot is balanced as a whole: --from and --to
    choose those that were alive between the two. Sources without running numbers are counted, and never called balanced.
    """
    with app_of().bench() as bench:
        zone, now = bench.landscape.zone, bench.clock()
        since, until = moment(begin, zone, now, "--from"), moment(end, zone, now, "--to")
        if since and until and since >= until:
            raise Invalid("--from must be before --to", field="--from")
        found = answers.audit(bench.store, since, until, source)
    if form == "json":
        click.echo(as_json(answers.data(found)))
    elif form == "csv":
        print_data(form, map(answers.flat, found.epochs), answers.COLUMNS)
    else:
        _print(found, Clock.of(now, bench.landscape), bench.landscape)
    bad = {MISSING} if fail_on == "missing" else {MISSING, NOT_VOUCHED, NOT_NUMBERED}
    if fail_on and found.results & bad:
        leave(FINDINGS)


def _print(found: Audit, clock: Clock, landscape: Landscape) -> None:
    out = console()
    if not found.epochs:
        within = " in that period" if found.begin or found.end else ""
        out.print(plain(f"No source has sent anything{within}.", "dim"))
        return
    balanced = [one for one in found.epochs if one.result == BALANCED]
    others = [one for one in found.epochs if one.result != BALANCED]
    shown = [*others, *balanced[:SHOWN_BALANCED]]
    out.print(_table(shown, clock))
    if len(balanced) > SHOWN_BALANCED:
        out.print(plain(f"and {len(balanced) - SHOWN_BALANCED:,} more that balance (--format csv lists all)", "dim"))
    told = [line for one in shown for line in _told(one, clock)]
    if told:
        out.print()
    for line in told:
        out.print(line, soft_wrap=True)
    out.print()
    out.print(_sum(found, balanced))
    out.print(plain(f"Times in {landscape.zone}.", "dim"))


def _table(shown: list[Balance], clock: Clock) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    parts = [(title, values) for title, values in _parts(shown).items() if title not in _SELDOM or any(values)]
    for title in ("source", "boot", "result"):
        table.add_column(title, overflow="fold", no_wrap=title != "source")
    for title, _ in parts:
        table.add_column(title, justify="right", no_wrap=True)
    for place, one in enumerate(shown):
        table.add_row(
            plain(one.source or "no source named", "bold" if one.source else "dim"),
            plain(clock.short(one.epoch) if one.epoch >= EARLIEST else one.epoch or ""),
            plain(one.result.replace("_", " "), _STYLES[one.result]),
            *(
                plain(f"{values[place]:,}", "bold red" if title == MISSING and values[place] else "")
                for title, values in parts
            ),
        )
    return table


def _parts(shown: list[Balance]) -> dict[str, list[int]]:
    """Title to the numbers below it. What is stored under another number, or was and is deleted, is with what is stored."""
    return {
        "settled": [one.owed for one in shown],
        STORED: [sum(one.found.get(how, 0) for how in (STORED, *_ONCE)) for one in shown],
        QUARANTINED: [one.found.get(QUARANTINED, 0) for one in shown],
        SHED: [one.found.get(SHED, 0) for one in shown],
        MISSING: [one.missing for one in shown],
        "in flight": [one.in_flight for one in shown],
    }


def _told(one: Balance, clock: Clock) -> list[Text]:
    """What the table has no room for."""
    lines: list[str] = []
    if one.result == MISSING:
        shown = one.gaps[:SHOWN_GAPS]
        lines += ["missing are", *(f"  {_gap(gap, clock)}" for gap in shown)]
        if more := one.more_gaps + len(one.gaps) - len(shown):
            lines.append(f"  and {more:,} more ranges (--format json has {answers.MAX_GAPS})")
        if one.untold:
            lines.append(f"  {one.untold:,} of these were shed; the source could not tell which")
    if one.result == NOT_NUMBERED:
        stored, refused = one.unnumbered
        kept = f" and {count(refused, 'record')} in quarantine" if refused else ""
        lines.append(f"{count(stored, 'event')} stored{kept} without running numbers: nothing to balance by")
    if one.result == NOT_VOUCHED:
        lines.append(f"{count(one.beyond, 'number')} found, and no marker or goodbye that says how many were sent")
    parts = [f"{one.found[how]:,} {words}" for how, words in _ONCE.items() if one.found.get(how)]
    if parts:
        lines.append(f"of what is stored {listing(parts)}")
    if lines:
        boot = clock.short(one.epoch) if one.epoch >= EARLIEST else f"boot {one.epoch}"
        lines[0] = f"{one.source or 'no source named'}, {boot}: {lines[0]}"
    return [plain(line) for line in lines]


def _gap(gap: Gap, clock: Clock) -> str:
    number = (
        f"{gap.first:,}" if gap.first == gap.last else f"{gap.first:,} to {gap.last:,} ({gap.last - gap.first + 1:,})"
    )
    times = [
        f"{word} {clock.short(at, seconds=True)}" for word, at in (("after", gap.after), ("before", gap.before)) if at
    ]
    return f"{number}, recorded {' and '.join(times)}" if times else number


def _sum(found: Audit, balanced: list[Balance]) -> Text:
    owed = sum(one.owed for one in found.epochs)
    said = f"{count(len(balanced), 'boot')} of {len(found.epochs):,} balanced; "
    if found.missing:
        return plain(f"{said}{found.missing:,} of {count(owed, 'number')} missing.", "bold red")
    style = "green" if len(balanced) == len(found.epochs) else "yellow"
    return plain(f"{said}none of {count(owed, 'number')} missing.", style)
