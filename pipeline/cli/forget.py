"""``lastseen forget``: a person's data goes from every table and does not come back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import click
from rich.table import Table

from pipeline.answers import erasure
from pipeline.answers.erasure import Holdings
from pipeline.answers.forms import is_hashed, missing_keys, missing_words
from pipeline.answers.inert import as_json
from pipeline.answers.words import count
from pipeline.cli.common import FINDINGS, app_of, leave
from pipeline.cli.service import drain_if_free
from pipeline.cli.terminal import console, err, plain
from pipeline.errors import Invalid
from pipeline.log import Log
from pipeline.work.reading import Reading
from tracer.record import Ack, Record

SHOWN = 20
# Between looks at what a worker elsewhere has done by now.
_LOOK_EVERY = 0.5


@click.command()
@click.argument("key", metavar="KEY")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@click.option("--why", default="", metavar="TEXT", help="For those who read the log; it is not kept in the store.")
@click.option(
    "--wait", type=click.IntRange(0), default=60, show_default=True, help="Seconds to wait for running workers."
)
@click.option(
    "--format", "form", type=click.Choice(("table", "json")), default="table", help="How to print the report."
)
def forget(key: str, yes: bool, dry_run: bool, why: str, wait: int, form: str) -> None:
    """Delete all that is kept of a person or a transaction.

    KEY is written TYPE:VALUE, as customer:VINET or order:10248; the type can be left out where only one has the value. All
    transactions that carry it go whole, with what is kept under their numbers and what is in quarantine. Of transactions of
    another kind that carry an order's number only that number goes. Salted hashes stay, by which its return is refused. Of what the
    landscape declares pii: hash, the plain value finds what is kept as a hash, by every key in LASTSEEN_PII_KEY.

    Exit code 1 if something is left (a worker that does not run, a bug), or may be, as a key by which it was hashed is missing.
    """
    app = app_of()
    _, landscape = app.definitions()
    with app.store(create=False) as store, app.log() as log:
        forms = erasure.keys_of(store, landscape, app.keyring(), key)
        missing = missing_keys(store, app.keyring(), forms[0][0]) if is_hashed(landscape, forms[0][0]) else []
        if missing:
            err().print(plain(missing_words(forms[0][0], missing), "bold red"), soft_wrap=True)
        before = erasure.holdings(store, landscape, forms)
        env = app.config.env
        by = env.get("LOGNAME") or env.get("USER") or env.get("USERNAME") or ""
        told = erasure.words(store, forms, log.partitions(), by, why)
        _preview(before)
        if dry_run:
            if form == "json":
                click.echo(as_json(_data(before)))
            return
        if not yes and not _agreed(before):
            raise Invalid("nothing was deleted")
        with closing(Reading(log, landscape, _say(log, told))) as reading:
            if app.config.embedded_log and app.config.embedded_store:
                drain_if_free(app, log, store)
            # In this order: what is left is asked when all was read.
            unread, after = _after(
                lambda: (reading.unread(), erasure.holdings(store, landscape, forms, before.transactions)), wait
            )
        report = {**erasure.report(before, after, app.clock(), log.retention(), unread), "keys_missing": missing}
    click.echo(as_json(report)) if form == "json" else _print(report)
    if missing or not report["done"]:
        leave(FINDINGS)


def _data(found: Holdings) -> dict[str, Any]:
    return {
        "key": list(found.key), "transactions": [list(one) for one in found.transactions],
        "naming": [list(one) for one in found.naming], "rows": dict(found.rows), "refused_already": found.marked,
    }  # fmt: skip


def _preview(found: Holdings) -> None:
    """To standard error: standard output is for the report."""
    out = err()
    out.print(plain(f"{' '.join(found.key)}: {_of(found)}", "bold"), soft_wrap=True)
    for one in found.transactions[:SHOWN]:
        out.print(plain(f"  {' '.join(one)} goes"), soft_wrap=True)
    for one in found.naming[:SHOWN]:
        out.print(plain(f"  {' '.join(one)} stays, without the name"), soft_wrap=True)
    more = max(len(found.transactions) - SHOWN, 0) + max(len(found.naming) - SHOWN, 0)
    if more:
        out.print(plain(f"  and {more:,} more", "dim"))


def _of(found: Holdings) -> str:
    rows = ", ".join(f"{number:,} in {table}" for table, number in found.rows.items())
    return f"{count(len(found.transactions), 'transaction')}; rows: {rows or 'none'}"


def _agreed(found: Holdings) -> bool:
    return click.confirm(f"Delete all of it for ever ({found.total:,} rows)?", err=True)


def _say(log: Log, records: list[Record]) -> Sequence[Ack]:
    sink = log.producer()
    try:
        return sink.produce(records)
    finally:
        sink.close()


def _after(look: Callable[[], tuple[list[int], Holdings]], wait: int) -> tuple[list[int], Holdings]:
    until = time.monotonic() + wait
    while True:
        unread, found = look()
        if (found.marked and not found.total and not unread) or time.monotonic() >= until:
            return unread, found
        time.sleep(_LOOK_EVERY)


def _print(report: dict[str, Any]) -> None:
    out = console()
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("where")
    table.add_column("rows", justify="right")
    table.add_column("left", justify="right")
    for row in report["tables"]:
        table.add_row(
            plain(row["where"]), plain(f"{row['rows']:,}"), plain(f"{row['left']:,}", "red" if row["left"] else "green")
        )
    if report["tables"]:
        out.print(table)
    if report["done"]:
        out.print(plain(f"forgotten at {report['at']}; its return is refused", "green"))
    else:
        unread = ", ".join(map(str, report["partitions_unread"]))
        why = f"no worker has read the word in partition {unread}" if unread else "something is left"
        out.print(plain(f"not done yet: {why}. Look again with --dry-run", "red"), soft_wrap=True)
    gone = report["log_removed_by"]
    if gone is None:
        out.print(
            plain("the log keeps its copy for ever: give the topic lastseen.events a retention", "yellow"),
            soft_wrap=True,
        )
    else:
        when = gone if gone.startswith("as soon") else f"by {gone}"
        out.print(plain(f"the log's own copy is gone {when}", "dim"), soft_wrap=True)
