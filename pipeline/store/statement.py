"""What a request of ClickHouse's HTTP interface asks for: statement, rows, parameters, settings, format."""

from __future__ import annotations

import re
import zlib
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field

import lz4.frame

MAX_BODY = 1 << 30

# Consumed by the interface itself, or without meaning here; everything else in a query string is a setting.
_NOT_SETTINGS = frozenset({
    "query", "database", "default_format", "user", "password", "quota_key", "session_id", "session_timeout", "session_check",
    "query_id", "compress", "decompress", "buffer_size", "wait_end_of_query", "client_protocol_version", "role", "stacktrace",
    "enable_http_compression", "http_zlib_compression_level", "send_progress_in_http_headers",
    "http_headers_progress_interval_ms",
})  # fmt: skip
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME = rb'(?:`[^`]+`|"[^"]+"|\w+)'
# An INSERT whose rows follow it in a format of their own: everything up to FORMAT, the format, and where the rows begin.
_INSERT = re.compile(
    rb"\s*(INSERT\s+INTO\s+(?:TABLE\s+)?" + _NAME + rb"(?:\." + _NAME + rb")?\s*(?:\((?:[^()`]|`[^`]*`)*\))?\s*"
    rb"(?:SETTINGS\s+[^\n]*?)?)\s*FORMAT\s+(\w+)[ \t]*(?:\r?\n|$|\s)",
    re.IGNORECASE,
)  # fmt: skip
_ANY_INSERT = re.compile(rb"\s*INSERT\b", re.IGNORECASE)
_TRAILING_FORMAT = re.compile(rb"\bFORMAT\s+(\w+)\s*;?\s*\Z", re.IGNORECASE)
_ANSWERS = re.compile(
    rb"(?:\s|--[^\n]*\n|/\*.*?\*/|\()*(?:SELECT|WITH|SHOW|DESC|DESCRIBE|EXISTS|EXPLAIN|CHECK)\b", re.I | re.S
)
_BOUNDARY = re.compile(r'boundary=(?:"([^"]+)"|([^\s;]+))')
_FIELD = re.compile(rb'\bname="([^"]*)"')
# The engine streams nothing else.
_STREAMABLE = re.compile(rb"\s*(?:SELECT|WITH)\b", re.IGNORECASE)


class BadRequest(Exception):  # noqa: N818  (answered with its code, never seen by users)
    """``code``: ClickHouse's number for it."""

    def __init__(self, code: int, reason: str):
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True)
class Statement:
    """``sql``: to be run; ``rows`` in ``rows_format`` follow where it is an insert with data. ``answer_format``: of the result, ""
    where there is none. ``parameters``: as ClickHouse escapes them. ``buffered``: answer only when all is known to be well.
    ``asks``: it is a SELECT."""

    sql: bytes
    database: str = ""
    rows: bytes = b""
    rows_format: str = ""
    answer_format: str = ""
    default_format: str = "TabSeparated"
    parameters: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    buffered: bool = True
    asks: bool = False


def parse(query: Mapping[str, str], headers: Mapping[str, str], body: bytes, *, read_only: bool) -> Statement:
    """Statement of a request. ``headers``: names in lower case. Raises ``BadRequest``."""
    if headers.get("content-type", "").startswith("multipart/form-data"):
        query, body = {**query, **_form(body, headers["content-type"])}, b""
    if query.get("compress", "0") != "0" or query.get("decompress", "0") != "0":
        raise BadRequest(48, "compress and decompress are not implemented here; use Content-Encoding")
    body = decompressed(body, headers.get("content-encoding", ""))
    text = query.get("query", "").encode("utf-8", "surrogateescape")
    sql = text + b"\n" + body if text and body else text or body
    settings = {
        name: value for name, value in query.items() if name not in _NOT_SETTINGS and not name.startswith("param_")
    }
    if bad := next((name for name in settings if not _SETTING.fullmatch(name)), None):
        raise BadRequest(115, f"{bad[:60]!r} is no name of a setting")
    if read_only:
        settings["readonly"] = "2"
    default = query.get("default_format") or headers.get("x-clickhouse-format") or "TabSeparated"
    insert = _INSERT.match(sql, 0, min(len(sql), 1 << 16))
    trailing = None if _ANY_INSERT.match(sql) else _TRAILING_FORMAT.search(sql, max(0, len(sql) - 200))
    asks = bool(_STREAMABLE.match(sql))
    return Statement(
        sql=insert[1] if insert else sql,
        database=query.get("database") or headers.get("x-clickhouse-database", ""),
        rows=sql[insert.end() :] if insert else b"",
        rows_format=insert[2].decode() if insert else "",
        answer_format=(trailing[1].decode() if trailing else default) if _ANSWERS.match(sql) else "",
        default_format=default,
        parameters={name[6:]: value for name, value in query.items() if name.startswith("param_")},
        settings=settings,
        buffered=query.get("wait_end_of_query", "0") != "0" or not asks,
        asks=asks,
    )


def _form(body: bytes, content_type: str) -> dict[str, str]:
    """Fields of a form: so drivers send parameters that are too long for a URL. Raises ``BadRequest``."""
    boundary = _BOUNDARY.search(content_type)
    if not boundary:
        raise BadRequest(36, "a form without a boundary")
    fields = {}
    for part in (b"\r\n" + body).split(b"\r\n--" + (boundary[1] or boundary[2]).encode())[1:-1]:
        head, _, value = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = _FIELD.search(head)
        if not name or b"filename=" in head:
            raise BadRequest(48, "external tables are not implemented here")
        fields[name[1].decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
    return fields


def secret_of(query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """The token that came along, by whichever of ClickHouse's ways; "" for none."""
    if headers.get("x-clickhouse-key"):
        return headers["x-clickhouse-key"]
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() == "basic":
        try:
            return b64decode(value, validate=True).decode().partition(":")[2]
        except ValueError:
            return ""
    return query.get("password", "")


def decompressed(body: bytes, encoding: str) -> bytes:
    """Raises ``BadRequest`` for an unknown encoding, damage, or more than ``MAX_BODY``."""
    try:
        if encoding in ("", "identity"):
            return body
        if encoding in ("gzip", "deflate"):
            unzip = zlib.decompressobj(47)
            out, whole = unzip.decompress(body, MAX_BODY), unzip.eof
        elif encoding == "lz4":
            unlz4 = lz4.frame.LZ4FrameDecompressor()  # type: ignore[no-untyped-call]
            out, whole = unlz4.decompress(body, max_length=MAX_BODY), unlz4.eof  # type: ignore[no-untyped-call]
        elif encoding == "zstd":
            from backports import zstd

            unzstd = zstd.ZstdDecompressor()
            out, whole = unzstd.decompress(body, MAX_BODY), unzstd.eof
        else:
            raise BadRequest(48, f"unknown Content-Encoding {encoding[:40]!r}; gzip, deflate, lz4 and zstd are read")
    except BadRequest:
        raise
    except Exception as error:
        raise BadRequest(271, f"cannot decompress the request: {error}") from None
    if not whole:
        raise BadRequest(271, "the request's compressed body is cut short or too large")
    return bytes(out)
