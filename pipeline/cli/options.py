"""Options that several commands have, and how their values are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from pipeline.answers.inert import as_csv, as_json
from pipeline.cli.common import FINDINGS, FORMATS, leave
from pipeline.errors import Invalid
from schemas.times import parse_duration, parse_time, parse_zone
from schemas.verdict import Status

F = TypeVar("F", bound=Callable[..., Any])
STATUSES = tuple(status.value for status in Status)
MISSING_WORD = "missing"


def format_option(command: F) -> F:
    """``--format table|json|csv``, as ``form``."""
    return click.option(
        "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="How to print it."
    )(command)


def fail_on_option(command: F) -> F:
    """``--fail-on STATUS[,..]|any``."""
    return click.option(
        "--fail-on",
        default="",
        metavar="STATUS[,..]|any",
        callback=_checked,
        help="Exit with 1 if one of these is among what is shown.",
    )(command)


def _checked(_: click.Context, __: click.Parameter, text: str) -> str:
    """Refused before anything is printed."""
    if text.strip().lower() != "any":
        statuses(text, "--fail-on")
    return text


def statuses(text: str, option: str) -> tuple[str, ...]:
    """``lost,stalled``; ``missing`` stands for lost, failed, stalled and unknown. Raises ``Invalid``."""
    found: dict[str, None] = {}
    for word in filter(None, (part.strip().lower().replace("-", "_") for part in text.split(","))):
        if word == MISSING_WORD:
            found.update(dict.fromkeys(("lost", "failed", "stalled", "unknown")))
        elif word in STATUSES:
            found[word] = None
        else:
            raise Invalid(f"no status {word[:40]!r}; there are {', '.join(STATUSES)}, and missing", field=option)
    return tuple(found)


def check_fail_on(text: str, shown: Iterable[str]) -> None:
    """Leave with 1 where a status that was asked for is among those shown."""
    if not text:
        return
    wanted = None if text.strip().lower() == "any" else set(statuses(text, "--fail-on"))
    if any(wanted is None or status in wanted for status in shown):
        leave(FINDINGS)


def moment(text: str | None, zone: str, now: int, option: str) -> int:
    """µs of ``2026-03-04``, ``2026-03-04T12:00`` (in the landscape's zone), RFC 3339, or ``2h`` (ago); 0 for nothing."""
    if not text:
        return 0
    if text[0].isdigit() and text.strip()[-1].isalpha() and text.strip()[-1] not in "Zz":
        try:
            return now - parse_duration(text)
        except Invalid:
            pass
    try:
        return parse_time(text, parse_zone(zone))
    except Invalid as error:
        if "outside the years" in error.reason:
            raise Invalid(f"{text.strip()[:40]} is not between the years 1990 and 2099", field=option) from None
        raise Invalid(f"{error.reason}; write 2026-03-04, 2026-03-04T12:00 or 2h (ago)", field=option) from None


def print_data(form: str, data: Iterable[dict[str, Any]], columns: tuple[str, ...]) -> None:
    """A listing as JSON or CSV."""
    rows = list(data)
    click.echo(as_json(rows) if form == "json" else as_csv(rows, columns).rstrip("\n"))
