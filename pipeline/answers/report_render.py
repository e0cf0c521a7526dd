"""The report as HTML, CSV and JSON: three forms of one `Report`, which alone does the counting."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from pipeline.answers.inert import as_csv, as_json, inert
from pipeline.answers.report_numbers import Entry, Group, Money, Report
from pipeline.answers.words import Clock, length
from schemas.times import format_time, parse_zone
from schemas.verdict import DropKind

COLUMNS = (
    "flow", "key_type", "transaction_id", "status", "kind", "from_step", "from_system", "to_step", "system", "since", "due",
    "started_at", "instance", "missing", "expected", "error", "silent", "findings", "more", "value", "currency", "resolved",
    "unread",
)  # fmt: skip
_TIMES = frozenset(("since", "due", "started_at"))


def file_name(report: Report, form: str) -> str:
    """``report-2026-03-04.html``; with the flow's name where it is one flow's only."""
    flow = re.sub(r"[^A-Za-z0-9_-]", "_", report.flow)
    return f"report-{report.day}{f'-{flow}' if flow else ''}.{form}"


def write(report: Report, folder: Path) -> list[Path]:
    """All three files, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for form, render in RENDER.items():
        path = folder / file_name(report, form)
        draft = path.with_name(f".{path.name}.part")
        draft.write_text(render(report), encoding="utf-8")
        draft.replace(path)
        paths.append(path)
    return paths


# --- plain data ---------------------------------------------------------------------------------------------------------


def entry_data(entry: Entry) -> dict[str, Any]:
    """An entry with times in RFC 3339 and null where there is nothing."""
    data: dict[str, Any] = {}
    for name in COLUMNS:
        value = getattr(entry, name)
        if name in _TIMES:
            value = format_time(value) if value else None
        data[name] = list(value) if isinstance(value, tuple) else (None if value == "" else value)
    return data


def report_data(report: Report) -> dict[str, Any]:
    """All numbers, as the JSON file has them."""
    return {
        "day": report.day,
        "zone": report.zone,
        "begin": format_time(report.begin),
        "end": format_time(report.end),
        "made_at": format_time(report.made_at),
        "known_through": format_time(max(report.known_through, 0)),
        "flow": report.flow or None,
        "hearing": [
            {
                "system": heard.system,
                "heard_through": None if heard.heard_through is None else format_time(max(heard.heard_through, 0)),
                "not_heard": [[format_time(begin), format_time(end)] for begin, end in heard.deaf],
                "silent": heard.silent,
                "unvouched": heard.unvouched,
                "unknown": heard.unknown,
            }
            for heard in report.systems
        ],
        "totals": {
            "started": report.started,
            "missing": len(report.missing),
            "statuses": dict(report.statuses),
            "unknown": report.unknown,
            "resolved_since": len(report.resolved),
            "excluded": report.excluded,
            "excluded_total": report.excluded_total,
            "money": dict(report.money),
            "money_by_status": {status: dict(money) for status, money in report.money_by_status.items()},
        },
        "by_drop": [
            {
                "flow": group.flow, "kind": group.kind or None, "from_step": group.from_step or None,
                "from_system": group.from_system or None, "to_step": group.to_step, "system": group.system,
                "count": group.count, "statuses": dict(group.statuses), "money": dict(group.money),
            }
            for group in report.by_drop
        ],
        "by_hour": list(report.by_hour),
        "earlier": report.earlier,
        "missing": [entry_data(entry) for entry in report.missing],
        "resolved": [entry_data(entry) for entry in report.resolved],
    }  # fmt: skip


def as_json_text(report: Report) -> str:
    return as_json(report_data(report)) + "\n"


def as_csv_text(report: Report) -> str:
    return as_csv((entry_data(entry) for entry in (*report.missing, *report.resolved)), COLUMNS)


# --- HTML ---------------------------------------------------------------------------------------------------------------


def as_html(report: Report) -> str:
    """One page without any other resource: style and chart are within it, scripts are forbidden by its own policy."""
    clock = Clock(report.made_at, parse_zone(report.zone))
    tallest = max((*report.by_hour, 1))
    bars = [(hour, count, round(100 * count / tallest, 1)) for hour, count in enumerate(report.by_hour)]
    return _template().render(
        report=report,
        bars=bars,
        clock=clock,
        money=money_text,
        place=place_text,
        amount=amount_text,
        length=length,
    )


@cache
def _template() -> Template:
    loader = PackageLoader("pipeline.answers", "templates")
    made = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_inert,
    )
    return made.get_template("report.html.j2")


def _inert(value: Any) -> Any:
    """A bidi override turns what is read around; it is written out here as on a terminal."""
    if isinstance(value, Markup):
        return Markup(inert(value))  # noqa: S704  (escaped before; this only writes characters out)
    return inert(value) if isinstance(value, str) else value


def money_text(money: Money) -> str:
    """ "1,204.50 EUR · 12.00 USD"; "" for none."""
    return " · ".join(amount_text(amount, currency) for currency, amount in money.items())


def amount_text(amount: float | None, currency: str) -> str:
    return "" if amount is None else f"{amount:,.2f} {currency}".strip()


def place_text(entry: Entry | Group) -> str:
    """Where it dropped, in systems and steps: "on the way from payments (paid) to warehouse (picked)"."""
    target = _at(entry.system, entry.to_step)
    origin = _at(entry.from_system, entry.from_step)
    match entry.kind:
        case DropKind.INSIDE:
            return f"inside {target}"
        case DropKind.FAILED:
            return f"failed in {target}"
        case DropKind.IN_TRANSIT if origin:
            return f"on the way from {origin} to {target}"
        case DropKind.BETWEEN if origin:
            return f"between {origin} and {target}"
    return f"before {target}" if entry.to_step else ""


def _at(system: str, step: str) -> str:
    return f"{system} ({step})" if step else system


RENDER: Mapping[str, Callable[[Report], str]] = {"html": as_html, "csv": as_csv_text, "json": as_json_text}
