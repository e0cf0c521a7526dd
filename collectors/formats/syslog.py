"""Syslog: RFC 5424 with structured data, and RFC 3164 as it is really written, told apart record by record.

Fields: ``protocol`` (``rfc5424``, ``rfc3164``), ``priority``, ``facility`` and ``severity`` (names), ``time``, ``host``, ``app``,
``pid``, ``msgid``, ``sd.<id>.<name>``, ``message``; what a record does not say is absent. ``peer``: the address that it came from.

RFC 3164 names no year and no zone. Where it is known when a message was received (the pseudo-header ``received``, which the
syslog and Kafka inputs set), ``time`` has the year that brings it nearest to that; otherwise it stays as written, ``Oct 11
22:14:15``, for the mapping's ``times``. Its zone is the mapping's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cached_property
from importlib import import_module
from typing import Any

from pydantic import ConfigDict, Field, ValidationError, field_validator

import collectors.formats as registry
from collectors.formats.contract import Format, Item, Ready
from collectors.formats.lines import LineFormat
from collectors.formats.syslog_data import structured_data
from collectors.inputs.record import Row, Unreadable
from schemas.event import first_fault
from schemas.times import LATEST, to_datetime

FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp", "audit", "alert",
    "clock", *(f"local{number}" for number in range(8)),
)  # fmt: skip
SEVERITIES = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")
RECEIVED = "received"
PEER = "peer"
"""Pseudo-headers: microseconds since 1970 UTC, in digits; the sender's address."""

# Every pattern is anchored, and no repetition in it stands within another: they are linear.
_PRIORITY = re.compile(r"<(\d{1,3})>")
_NEW = re.compile(
    r"([1-9]\d{0,2}) (-|\d{4}-\d\d-\d\d[Tt][\d:.]{5,20}(?:[Zz]|[+-]\d\d:\d\d)) "
    r"(\S{1,255}) (\S{1,48}) (\S{1,128}) (\S{1,32}) "
)
_OLD_TIME = re.compile(
    r"((?:\d{4} )?[*.]?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d (?:\d{4} )?\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
    r"|\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:[Zz]|[+-]\d\d:?\d\d)?):? "
)
_TAG = re.compile(r"([A-Za-z0-9_%][^\s:\[\]]{0,63})(?:\[([^\]\s]{0,64})\])?: ?")
_HOST = re.compile(r"(\S{1,255}) ")
_YEARLESS = re.compile(r"([A-Z][a-z]{2}) ([ \d]\d) (\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?$")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class SyslogFormat(LineFormat):
    """``content``: a format that messages are written in (``json``, ``{regex: {…}}``). Its fields stand under their own names, and
    those of the syslog record under ``syslog.*``; a message that cannot be read by it cannot be read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    content: str | dict[str, dict[str, Any] | None] | None = Field(default=None)

    @field_validator("content")
    @classmethod
    def _known(cls, value: Any) -> Any:
        if value is not None:
            _format(value)
        return value

    @cached_property
    def _content(self) -> Format | None:
        return None if self.content is None else _format(self.content)

    def items(self, text: str, raw: bytes, line: int) -> tuple[Item, ...]:
        return self._read(text, raw, line, {}, None)

    def message(self, body: bytes, headers: Mapping[str, str]) -> list[Item]:
        """One record, line breaks in it included. RFC 5424 lets a message be no UTF-8: such bytes are replaced."""
        body = body.rstrip(b"\r\n\0")
        text = body.decode(self.encoding, "replace")
        told = headers.get(RECEIVED, "")
        received = int(told) if told.isascii() and told.isdigit() and len(told) < 20 else None
        known = {"peer": headers[PEER]} if headers.get(PEER) else {}
        return list(self._read(text, body, 1, known, received)) if text.strip() else []

    def _read(
        self, text: str, raw: bytes, line: int, known: Mapping[str, Any], received: int | None
    ) -> tuple[Item, ...]:
        fields = dict(known)
        start = _PRIORITY.match(text)
        if start:
            priority = int(start[1])
            if priority > 191:
                return (Unreadable(line, f"a priority is at most 191; this has {priority}", raw),)
            fields |= {
                "priority": priority, "facility": FACILITIES[priority >> 3], "severity": SEVERITIES[priority & 7],
            }  # fmt: skip
        rest = text[start.end() :] if start else text
        new = _NEW.match(rest)
        try:
            message = _new(fields, new, rest) if start and new else _old(fields, rest, received)
        except ValueError as error:
            return (Unreadable(line, str(error), raw),)
        if message:
            fields["message"] = message
        return (Row(line, fields, raw),) if self._content is None else self._inner(fields, raw, line)

    def _inner(self, fields: Mapping[str, Any], raw: bytes, line: int) -> tuple[Item, ...]:
        assert self._content is not None
        outer = {f"syslog.{name}": value for name, value in fields.items()}
        items: list[Item] = []
        for item in self._content.message(fields.get("message", "").encode("utf-8", "replace"), {}):
            if isinstance(item, Row):
                items.append(Row(line, {**outer, **item.fields}, raw))
            elif isinstance(item, Ready):
                items.append(Ready(line, item.event, raw))
            else:
                items.append(Unreadable(line, f"message: {item.reason}", raw))
        return tuple(items) or (Row(line, outer, raw),)


def _format(told: str | Mapping[str, Any]) -> Format:
    """Raises ``ValueError``."""
    name, options = (told, {}) if isinstance(told, str) else next(iter(told.items()), ("", {}))
    if name not in registry.FORMATS or name == "syslog" or (not isinstance(told, str) and len(told) != 1):
        raise ValueError(f"content is one format, of {', '.join(sorted(set(registry.FORMATS) - {'syslog'}))}")
    module, _, kind = registry.FORMATS[name].partition(":")
    try:
        found: Format = getattr(import_module(module), kind).model_validate(options or {})
    except ValidationError as error:
        raise ValueError(str(first_fault(error))) from None
    return found


def _new(fields: dict[str, Any], head: re.Match[str], rest: str) -> str:
    """RFC 5424. Returns the message; raises ``ValueError`` for structured data that is not whole."""
    fields["protocol"] = "rfc5424"
    for name, value in zip(("time", "host", "app", "pid", "msgid"), head.groups()[1:], strict=True):
        if value != "-":
            fields[name] = value
    data, at = structured_data(rest, head.end())
    fields |= data
    if at < len(rest) and rest[at] != " ":
        raise ValueError("structured data is followed by something else than a space")
    return rest[at + 1 :].removeprefix("\ufeff")


def _old(fields: dict[str, Any], rest: str, received: int | None) -> str:
    """RFC 3164, of which every part may be missing. Returns the message."""
    fields["protocol"] = "rfc3164"
    stamp = _OLD_TIME.match(rest)
    if stamp:
        fields["time"] = _dated(stamp[1].lstrip("*."), received)
        rest = rest[stamp.end() :]
        host = _HOST.match(rest)
        # "app[1]: text" and "app: text" have no host; "host app: text" and "host text" do.
        if host and not _TAG.match(rest):
            fields["host"] = host[1]
            rest = rest[host.end() :]
    tag = _TAG.match(rest)
    if tag:
        fields["app"] = tag[1]
        if tag[2]:
            fields["pid"] = tag[2]
        rest = rest[tag.end() :]
    return rest


def _dated(stamp: str, received: int | None) -> str:
    """A time without a year, with the year that brings it nearest to when it was received; everything else as it is."""
    found = _YEARLESS.match(stamp)
    if found is None or received is None or received >= LATEST:
        return stamp
    here = to_datetime(received).replace(tzinfo=None)
    month, day = _MONTHS.index(found[1]) + 1, int(found[2])
    best: tuple[timedelta, str] | None = None
    for year in (here.year - 1, here.year, here.year + 1):
        text = f"{year:04d}-{month:02d}-{day:02d} {found[3]}"
        try:
            distance = abs(datetime.fromisoformat(text) - here)
        except ValueError:
            continue  # the 29th of February
        if best is None or distance < best[0]:
            best = distance, text + (f".{found[4][:6]:0<6}" if found[4] else "")
    return best[1] if best else stamp
