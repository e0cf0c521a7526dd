"""How the demo looks: what was found, the score, one order as an agent reads it, and what to try next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from types import TracebackType

from rich.box import ROUNDED
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from pipeline.answers.judging import Bench
from pipeline.answers.lookup import Found, lookup
from pipeline.answers.report_render import money_text
from pipeline.answers.words import Clock
from pipeline.app import App
from pipeline.cli.common import program
from pipeline.cli.terminal import console, err, plain, status_text
from pipeline.config import DATA
from pipeline.simulate.score import Ratio, Score
from pipeline.simulate.simulation import Simulation
from pipeline.store.contract import Store, VerdictQuery, VerdictRow
from schemas.times import DAY
from schemas.verdict import MISSING, Status

_STATUSES = (*MISSING, Status.IN_PROGRESS, Status.COMPLETED, Status.CLOSED)
_SHOWN_MISMATCHES = 20
# Steps whose loss a customer feels, furthest first.
_FAR = ("delivered", "shipped", "packed", "picked", "confirmed", "refunded", "paid")


class Progress:
    """How much of the simulated time has passed; on standard error."""

    def __init__(self, begin: int, end: int):
        self._begin = begin
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[day]}"),
            TimeElapsedColumn(),
            console=err(),
        )
        self._task = self._bars.add_task("three weeks of a shop", total=end - begin, day="")

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def at(self, now: int) -> None:
        passed = now - self._begin
        self._bars.update(self._task, completed=passed, day=f"day {-(-passed // DAY)}")

    def say(self, text: str) -> None:
        self._bars.update(self._task, day=text)


def show(app: App, simulation: Simulation, store: Store, result: Score, seconds: float) -> None:
    """Print everything, in the order in which it is understood."""
    out = console()
    rows = [row for row in store.verdicts(VerdictQuery(excluded=None)) if not row.excluded]
    clock = Clock.of(simulation.end, simulation.landscape)
    _found(out, rows, result, len(simulation.ears()), seconds)
    _places(out, rows)
    _heard(out, simulation, rows, clock)
    _scores(out, result)
    bench = Bench(store, simulation.flows, simulation.landscape, simulation.clock)
    lost = _telling(rows)
    if lost is not None:
        found = lookup(bench, lost.transaction_id, lost.key_type)[0][0]
        _one(out, found)
        _next(out, app, found)


def _heading(out: Console, text: str) -> None:
    out.print()
    out.print(plain(text, "bold"))


def _table(*titles: str, right: Iterable[str] = ()) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for title in titles:
        table.add_column(title, justify="right" if title in right else "left", overflow="fold")
    return table


def _found(out: Console, rows: list[VerdictRow], result: Score, systems: int, seconds: float) -> None:
    _heading(out, f"{result.transactions:,} transactions of {systems} systems, judged in {seconds:.0f} seconds")
    counts = Counter((row.flow, row.status) for row in rows)
    used = [status for status in _STATUSES if any(row.status == status for row in rows)]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(Text("flow", "dim"))
    for status in used:
        table.add_column(status_text(status), justify="right")
    for flow in sorted({row.flow for row in rows}):
        numbers = (counts[flow, status] for status in used)
        table.add_row(plain(flow), *(plain(f"{number:,}" if number else "·") for number in numbers))
    out.print(table)


def _places(out: Console, rows: list[VerdictRow]) -> None:
    _heading(out, "Where they dropped")
    groups: dict[tuple[str, str, str, str, str, str], list[VerdictRow]] = {}
    for row in rows:
        if row.status in MISSING and row.drop_kind:
            place = (row.flow, row.drop_kind, row.drop_from_system, row.drop_from, row.drop_system, row.drop_to)
            groups.setdefault(place, []).append(row)
    table = _table("number", "flow", "where", "of them", "money", right=("number",))
    for group, found in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        statuses = Counter(row.status for row in found)
        said = ", ".join(f"{statuses[status]} {status.value}" for status in MISSING if statuses[status])
        table.add_row(
            plain(len(found)), plain(group[0], "dim"), plain(_place(*group[1:])), plain(said), plain(_money(found))
        )
    out.print(table)


def _place(kind: str, from_system: str, from_step: str, system: str, step: str) -> str:
    if kind in ("inside", "failed"):
        return f"{kind if kind == 'inside' else 'failed in'} {system} ({step})"
    word = "between" if kind == "between" else "on the way,"
    return f"{word} {from_system} ({from_step}) and {system} ({step})"


def _money(rows: list[VerdictRow]) -> str:
    sums: dict[str, float] = {}
    for row in rows:
        if row.value is not None:
            sums[row.currency] = sums.get(row.currency, 0.0) + row.value
    return money_text(dict(sorted(sums.items())))


def _heard(out: Console, simulation: Simulation, rows: list[VerdictRow], clock: Clock) -> None:
    _heading(out, "What could not be heard")
    for one in simulation.disturbances:
        what = "was not heard at all" if one.kind == "blackout" else "was heard late"
        said = f"{one.system} {what}, {clock.short(one.begin)} to {clock.short(one.end)}"
        out.print(plain(f"  {said}"))
    unknown = sum(row.status == Status.UNKNOWN for row in rows)
    seen = sum("unobserved" in row.findings and row.status not in MISSING for row in rows)
    out.print(
        plain(
            f"  That leaves {unknown} transactions unknown, each with its probable place: not one of them is called lost. "
            f"{seen} more went on although a step of theirs was not heard."
        )
    )


def _scores(out: Console, result: Score) -> None:
    _heading(out, "Held against the truth")
    table = _table("", "found", "precision", "recall", right=("found", "precision", "recall"))
    table.add_row(plain("missing, at the right place"), *_ratio(result.missing))
    table.add_row(plain("findings"), *_ratio(result.findings))
    out.print(table)
    out.print()
    stories = _table("what was done to them", "flow", "number", "told exactly", right=("number", "told exactly"))
    for (flow, fault), (number, right) in sorted(result.stories.items()):
        style = "green" if number == right else "bold red"
        name = fault.replace("_", " ") or "nothing, all went well"
        stories.add_row(plain(name), plain(flow, "dim"), plain(f"{number:,}"), plain(f"{right:,}", style))
    out.print(stories)
    for mismatch in result.mismatches[:_SHOWN_MISMATCHES]:
        out.print(plain(f"  {mismatch}", "red"), soft_wrap=True)
    if len(result.mismatches) > _SHOWN_MISMATCHES:
        out.print(plain(f"  and {len(result.mismatches) - _SHOWN_MISMATCHES:,} more", "red"))


def _ratio(ratio: Ratio) -> tuple[Text, Text, Text]:
    style = "bold green" if ratio.precision == ratio.recall == 1 else "bold red"
    number = plain(f"{ratio.found:,} of {ratio.real:,}")
    return number, plain(_percent(ratio.precision), style), plain(_percent(ratio.recall), style)


def _percent(share: float) -> str:
    """Never rounded up to a hundred."""
    return "100 %" if share == 1 else f"{min(share * 100, 99.99):.2f} %"


def _telling(rows: list[VerdictRow]) -> VerdictRow | None:
    """An order that is lost, best one that was paid for (it can be found by its payment) and got far."""
    orders = [row for row in rows if row.flow == "order" and row.status in (Status.LOST, Status.STALLED)]

    def rank(row: VerdictRow) -> tuple[bool, int, float]:
        far = _FAR.index(row.drop_to) if row.drop_to in _FAR else len(_FAR)
        return row.status != Status.LOST, far, -(row.value or 0)

    return min(orders, key=rank, default=None)


def _one(out: Console, found: Found) -> None:
    _heading(out, f"One of them, as a support agent reads it: {found.transaction[0]} {found.transaction[1]}")
    said = plain(" ".join(found.explanation.sentences))
    customer = Text.assemble(("Tell the customer: ", "bold"), plain(found.explanation.tell_customer))
    out.print(Panel(Text.assemble(said, "\n\n", customer), box=ROUNDED, border_style="red", padding=(1, 2)))


def _next(out: Console, app: App, found: Found) -> None:
    _heading(out, "Try next")
    values = {row.key_type: row.value for row in found.keys}
    tries = [
        *([(f"lookup {values['payment']}", "the same order, by its payment reference")] if "payment" in values else []),
        *([(f"lookup {values['customer']}", "all that this customer did")] if "customer" in values else []),
        ("list --status lost", "what is lost, and between which systems"),
        ("list --finding duplicate", "who was charged twice"),
        ("report", "what was missing at the end of yesterday: HTML, CSV and JSON"),
        ("sources", "who is being heard, and through when"),
    ]
    folder = app.config.data
    given = "" if folder == DATA else f" --data {folder}"
    for command, meaning in tries:
        out.print(plain(f"  {program()} {command}{given}", "bold"), plain(f"  # {meaning}", "dim"), soft_wrap=True)
