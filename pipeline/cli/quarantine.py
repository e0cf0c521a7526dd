"""``lastseen quarantine``: what made no event, why, and trying it again."""

from __future__ import annotations

import click
from rich.table import Table

from pipeline.answers import quarantine as kept
from pipeline.answers.inert import as_json
from pipeline.cli.common import FINDINGS, app_of, leave, typed
from pipeline.cli.options import format_option, print_data
from pipeline.cli.service import drain_if_free
from pipeline.cli.terminal import console, err, plain
from pipeline.store.contract import QuarantineRow

SHOWN_BYTES = 4_000
SHOWN_REFUSED = 20


@click.group()
def quarantine() -> None:
    """What made no event: kept, counted, retryable."""


@quarantine.command("list")
@click.option("--source", default="", help="Only what this source sent.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many.")
@click.option("--fail-on", type=click.Choice(["any"]), help="Exit with 1 if there is anything.")
@format_option
def list_(source: str, limit: int, fail_on: str | None, form: str) -> None:
    """What is kept, newest first, and how much of what."""
    with app_of().store(create=False) as store:
        rows = kept.rows(store, source, limit)
        totals = [total for total in kept.totals(store) if not source or total[0] == source]
    if form == "table":
        _print(rows, totals)
    else:
        print_data(form, map(kept.data, rows), kept.COLUMNS)
    if fail_on and totals:
        leave(FINDINGS)


def _print(rows: list[QuarantineRow], totals: list[tuple[str, str, int]]) -> None:
    out = console()
    if not totals:
        out.print(plain("Nothing is in quarantine.", "green"))
        return
    counts = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    counts.add_column("number", justify="right")
    counts.add_column("source")
    counts.add_column("reason", overflow="fold")
    for source, reason, number in totals[:20]:
        counts.add_row(plain(f"{number:,}"), plain(source or "no source named"), plain(reason))
    out.print(counts)
    out.print()
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for title in ("id", "at", "source", "field", "reason"):
        table.add_column(title, overflow="fold", no_wrap=title == "at")
    for row in rows:
        at = str(kept.data(row)["at"])[:19].replace("T", " ")
        table.add_row(plain(row.id), plain(at), plain(row.source), plain(row.field), plain(row.reason))
    out.print(table)
    show, again = typed("quarantine show ID"), typed("quarantine retry ID", flows=True)
    out.print(plain(f"{show} shows one, {again} tries it again", "dim"), soft_wrap=True)


@quarantine.command("show")
@click.argument("id_", metavar="ID")
@click.option("--format", "form", type=click.Choice(("table", "json")), default="table", help="How to print it.")
def show(id_: str, form: str) -> None:
    """One of them, with its bytes."""
    with app_of().store(create=False) as store:
        data = kept.data(kept.one(store, id_), payload=True)
    if form == "json":
        click.echo(as_json(data))
        return
    out = console()
    for name, value in data.items():
        if name == "payload":
            break
        out.print(plain(f"{name:8}", "dim").append_text(plain(value)))
    text = str(data["payload"])
    out.print()
    out.print(plain(text[:SHOWN_BYTES]), soft_wrap=True)
    if len(text) > SHOWN_BYTES:
        out.print(plain(f"and {len(text) - SHOWN_BYTES:,} characters more (--format json has all)", "dim"))


@quarantine.command("retry")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--source", default="", help="All that this source sent.")
@click.option("--all", "everything", is_flag=True, help="All there is.")
def retry(ids: tuple[str, ...], source: str, everything: bool) -> None:
    """Send what is kept once more, for instance after the mapping or the sender was mended.

    What is bad still comes back under a new id. What lastseen load set aside is no event yet: mend the mapping and load
    again. Exit code 1 if there was such a one.
    """
    app = app_of()
    with app.store(create=False) as store, app.log() as log:
        sink = log.producer()
        try:
            done, refused = kept.retry(store, sink.produce, ids, source, everything)
        finally:
            sink.close()
        err().print(plain(f"{done:,} sent again" if done else "there was nothing to send again"))
        if done and app.config.embedded_log and app.config.embedded_store:
            reader = drain_if_free(app, log, store)
            err().print(plain(f"left to the worker that runs: {reader}" if reader else "and judged", "dim"))
    for row in refused[:SHOWN_REFUSED]:
        err().print(plain(f"{row.id}: {row.reason}: mend the mapping and load again"), soft_wrap=True)
    if len(refused) > SHOWN_REFUSED:
        err().print(plain(f"and {len(refused) - SHOWN_REFUSED:,} more that only loading again mends"))
    if refused:
        leave(FINDINGS)
