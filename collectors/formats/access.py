"""Access logs of web servers: Apache, nginx and all that write as they do."""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from typing import Annotated, Any
from urllib.parse import parse_qsl, unquote

from pydantic import AfterValidator, BeforeValidator, Field

from collectors.formats.contract import Item
from collectors.formats.lines import LineFormat
from collectors.formats.log_format import LogFormat, compiled
from collectors.inputs.record import Row, Unreadable

_TIME = re.compile(r"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d:\d\d:\d\d) ([+-]\d\d)(\d\d)", re.ASCII)
_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_MONTHS = {
    name: f"{month:02}" for month, name in enumerate(re.findall("...", "JanFebMarAprMayJunJulAugSepOctNovDec"), 1)
}
_CONTROLS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


def _known(formats: tuple[str, ...]) -> tuple[str, ...]:
    for one in formats:
        compiled(one)
    return formats


LogFormats = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=4000)], ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    AfterValidator(_known),
    Field(min_length=1, max_length=20),
]


class AccessFormat(LineFormat):
    """``log_format``: one or several, tried in order: ``common``, ``combined``, ``vhost_common``, ``vhost_combined``, or as it
    stands in the server's configuration.

    Fields: ``client``, ``ident``, ``user``, ``time`` (RFC 3339), ``request``, ``status``, ``bytes``, ``referer``,
    ``user_agent``, ``host``, ``port``, ``duration_us``; of the request ``method``, ``target``, ``protocol``, ``path``, its parts
    ``segments`` (of ``/orders/10248`` is ``segments.1`` 10248) and ``params``, the query's. Other headers are ``http_x_order``
    and ``sent_http_x_order``; other variables of nginx keep their names. A field that is ``-`` is not there.
    """

    log_format: LogFormats = ("vhost_combined", "combined", "common")

    @cached_property
    def _compiled(self) -> tuple[LogFormat, ...]:
        return tuple(compiled(one) for one in self.log_format)

    def items(self, text: str, raw: bytes, line: int) -> tuple[Item, ...]:
        for pattern, names, numbers in self._compiled:
            found = pattern.fullmatch(text)
            if found is not None:
                return (Row(line, _fields(text, names, found.groups(), numbers), raw),)
        return (Unreadable(line, f"not as the log format says ({', '.join(self.log_format)})"[:300], raw),)


def _fields(text: str, names: tuple[str, ...], values: tuple[str, ...], numbers: tuple[str, ...]) -> dict[str, Any]:
    fields: dict[str, Any] = {name: value for name, value in zip(names, values, strict=True) if value != "-"}
    if "\\" in text:
        fields = {name: _unescaped(value) if "\\" in value else value for name, value in fields.items()}
    time = fields.get("time")
    if time is not None and len(time) == 26:
        fields["time"] = _rfc3339(time)
    _take_apart(fields)
    for name in numbers:
        value = fields.get(name)
        if value is not None and value.isascii() and value.isdigit() and len(value) < 16:
            fields[name] = int(value)
    return fields


def _take_apart(fields: dict[str, Any]) -> None:
    """The parts of a request, where it is one: servers log what came, whatever it was."""
    request = fields.get("request")
    if request is not None:
        method, _, rest = request.partition(" ")
        target, _, protocol = rest.rpartition(" ")
        if not protocol.startswith("HTTP/"):
            target, protocol = rest, ""
        if not target or not method.isalpha():
            return
        fields["method"], fields["target"] = method, target
        if protocol:
            fields["protocol"] = protocol
    if "target" in fields:
        path, _, query = fields["target"].partition("?")
    else:
        path, query = fields.get("path", ""), fields.get("query", "").removeprefix("?")
    if path.startswith("/"):
        fields["path"] = path
        segments = path[1:].split("/")
        fields["segments"] = [unquote(one) for one in segments] if "%" in path else segments
    if query:
        fields["params"] = dict(parse_qsl(query, keep_blank_values=True))


@lru_cache(maxsize=1024)
def _rfc3339(text: str) -> str:
    """``17/May/2015:10:05:03 +0000`` as RFC 3339; what is written otherwise stays, for the mapping to say how it is read."""
    found = _TIME.fullmatch(text)
    if found is None or found[2] not in _MONTHS:
        return text
    day, month, year, time, hours, minutes = found.groups()
    return f"{year}-{_MONTHS[month]}-{day}T{time}{hours}:{minutes}"


def _unescaped(text: str) -> str:
    r"""``\"`` and ``\xe2\x82\xac`` as what they stand for; bytes that are not UTF-8 stay as they are written."""
    try:
        return _ESCAPE.sub(_escaped_byte, text.encode()).decode()
    except UnicodeDecodeError:
        return text


def _escaped_byte(found: re.Match[bytes]) -> bytes:
    return bytes.fromhex(found[1].decode()) if found[1] else _CONTROLS.get(found[2], found[2])
