"""Log formats of web servers, as their configuration writes them: Apache's ``%h %l %u %t "%r"``, nginx's ``$remote_addr``.

A format becomes one pattern of which every part is possessive and ends where the next literal text begins: linear in the line.
"""

from __future__ import annotations

import re
from typing import NamedTuple

COMMON = '%h %l %u %t "%r" %>s %b'
COMBINED = f'{COMMON} "%{{Referer}}i" "%{{User-Agent}}i"'
NAMED = {
    "common": COMMON,
    "combined": COMBINED,
    "vhost_common": f"%v:%p {COMMON}",
    "vhost_combined": f"%v:%p {COMBINED}",
}

_DIRECTIVE = re.compile(r"%(?:[<>]|!?\d{3}(?:,\d{3})*)?(?:\{([^{}]{1,100})\})?(\^?[A-Za-z]{1,3}|%)")
_VARIABLE = re.compile(r"\$(?:\{(\w{1,100})\}|(\w{1,100}))")
_APACHE = {
    "h": "client", "a": "address", "A": "local_address", "l": "ident", "u": "user", "t": "time", "r": "request", "s": "status",
    "b": "bytes", "B": "bytes", "O": "bytes_sent", "I": "bytes_received", "S": "bytes_moved", "v": "host", "V": "host",
    "p": "port", "D": "duration_us", "T": "duration_s", "m": "method", "U": "path", "q": "query", "H": "protocol",
    "X": "connection", "k": "keepalives", "P": "process", "f": "file", "L": "log_id", "R": "handler",
}  # fmt: skip
_NUMBERS = ("status", "bytes", "bytes_sent", "bytes_received", "bytes_moved", "port", "duration_us")
_APACHE_NAMED = {"i": "http_", "o": "sent_http_", "C": "cookie_", "e": "env_", "n": "note_", "x": "variable_"}
_NGINX = {
    "remote_addr": "client", "remote_user": "user", "time_local": "time", "time_iso8601": "time", "body_bytes_sent": "bytes",
    "request_method": "method", "request_uri": "target", "uri": "path", "server_protocol": "protocol", "server_port": "port",
}  # fmt: skip
_HEADERS = {"http_referer": "referer", "http_user_agent": "user_agent", "http_host": "http_host"}


class LogFormat(NamedTuple):
    """``pattern``: matches a whole line; its groups are the fields ``names``, in order, of which ``numbers`` are integers."""

    pattern: re.Pattern[str]
    names: tuple[str, ...]
    numbers: tuple[str, ...]


def compiled(log_format: str) -> LogFormat:
    """A format by its name, or as it is written. Raises ``ValueError`` where it cannot tell a line's fields apart."""
    parts = _parts(NAMED.get(log_format, log_format))
    names = tuple(name for name, _ in parts if name)
    if not names:
        raise ValueError(
            f"unknown log format {log_format[:40]!r}; there are {', '.join(NAMED)}, or as in the server's configuration"
        )
    double = [name for name in names if names.count(name) > 1]
    if double:
        raise ValueError(f"the log format has the field {double[0]} twice")
    pattern = ""
    for index, (name, text) in enumerate(parts):
        if not name:
            pattern += re.escape(text)
            continue
        following = parts[index + 1][1] if index + 1 < len(parts) else ""
        if index + 1 < len(parts) and not following:
            raise ValueError(
                f"in the log format nothing stands between {name} and {parts[index + 1][0]}: they cannot be told apart"
            )
        quoted = following.startswith('"') and index > 0 and parts[index - 1][1].endswith('"')
        pattern += f"({_value(name, following, quoted)})"
    return LogFormat(re.compile(pattern), names, tuple(name for name in names if name in _NUMBERS))


def _value(name: str, following: str, quoted: bool) -> str:
    if quoted:
        return r'(?:[^"\\]++|\\.)*+'
    if name == "port":
        return r"\d++"
    if not following:
        return r"\S*+"
    end = re.escape(following[0])
    if name == "host":
        return f"[^{end} ]*+"
    if name == "user" and len(following) > 1:
        # May hold blanks: it ends where all of what follows begins.
        return f"(?:(?!{re.escape(following)}).)*+"
    if name.startswith("upstream_"):
        # One after the other, as nginx asked them.
        return f"[^{end},]*+(?:(?:,| :) [^{end},]*+)*+"
    return f"[^{end}]*+"


def _parts(text: str) -> list[tuple[str, str]]:
    """Names of fields, and literal texts as ("", text); no two literals one behind the other."""
    apache = "$" not in text
    parts: list[tuple[str, str]] = []
    literal, at = "", 0
    for found in (_DIRECTIVE if apache else _VARIABLE).finditer(text):
        literal += _literal(text[at : found.start()], apache)
        at = found.end()
        if found[0] == "%%":
            literal += "%"
            continue
        name = _directive(found) if apache else _variable(found)
        if name == "query" and not literal and parts[-1:] == [("path", "")]:
            parts[-1] = ("target", "")
            continue
        bracket = apache and name == "time" and found[1] is None
        literal += "[" * bracket
        parts += [("", literal)] * bool(literal) + [(name, "")]
        literal = "]" * bracket
    literal += _literal(text[at:], apache)
    return parts + [("", literal)] * bool(literal)


def _literal(text: str, apache: bool) -> str:
    if apache and "%" in text:
        raise ValueError(f"the log format has a % that begins no directive: {text[:40]!r}")
    return text


def _directive(found: re.Match[str]) -> str:
    argument, letter = found[1], found[2]
    if argument is None and letter in _APACHE:
        return _APACHE[letter]
    if letter in _APACHE_NAMED and argument is not None:
        name = _APACHE_NAMED[letter] + argument.lower().replace("-", "_")
        return _HEADERS.get(name, name)
    if argument is not None and letter == "t":
        return "time" if argument not in ("usec_frac", "msec_frac") else argument
    if argument is not None and letter == "T":
        return f"duration_{argument}"
    if argument is not None and letter in ("a", "h", "p", "P"):
        return f"{_APACHE[letter]}_{argument}" if letter in ("a", "p") else _APACHE[letter]
    raise ValueError(f"the log format has the directive {found[0][:40]}, which is not known")


def _variable(found: re.Match[str]) -> str:
    name = found[1] or found[2]
    return _NGINX.get(name) or _HEADERS.get(name, name)
