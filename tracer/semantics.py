"""What OpenTelemetry's semantic conventions say of a span, in the old spelling and the new.

The new name is looked at before the old one. Messaging: ``messaging.operation.type`` (1.26) was ``messaging.operation``,
``messaging.destination.name`` was ``messaging.destination``. HTTP (1.23): ``http.response.status_code`` was ``http.status_code``,
``server.address`` was ``net.peer.name``, ``url.full`` was ``http.url``. Databases: ``db.system.name`` was ``db.system``. Peers:
``service.peer.name`` was ``peer.service``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

from tracer.clean import MAX_TEXT, name_of, text_of

_SEND = ("send", "publish")
_RECEIVE = ("receive", "process", "deliver")
_OF_MESSAGES = ("create", "settle")


def operation(attributes: Mapping[str, Any], kind: str) -> Literal["send", "receive", "none", ""]:
    """What is done with a message; ``none``: nothing that moves it; "": the span is not about one. ``kind``: the span's."""
    said = first(attributes, "messaging.operation.type", "messaging.operation", "messaging.operation.name")
    name = said.lower() if isinstance(said, str) else ""
    if name in _SEND:
        return "send"
    if name in _RECEIVE:
        return "receive"
    if name in _OF_MESSAGES:
        return "none"
    return "send" if kind == "producer" else "receive" if kind == "consumer" else ""


def address(attributes: Mapping[str, Any]) -> str:
    """The host that a client called, without its port."""
    host = first(attributes, "server.address", "net.peer.name", "http.host", "net.peer.ip")
    if not host:
        url = first(attributes, "url.full", "http.url")
        try:
            host = urlsplit(url).hostname if isinstance(url, str) else None
        except ValueError:
            host = None
    text = name_of(host) if host else ""
    name, colon, port = text.rpartition(":")
    return name if colon and port.isdecimal() and ":" not in name else text


def error_of(attributes: Mapping[str, Any], exceptions: Sequence[Mapping[str, Any]], message: str) -> str:
    """What went wrong, as far as it is told; never empty.

    Args:
        exceptions: attributes of the span's exception events, in order. ``message``: the description of its status.
    """
    for exception in reversed(exceptions):
        said = [exception.get(f"exception.{part}") for part in ("type", "message")]
        if text := ": ".join(text_of(part) for part in said if part):
            return text[:MAX_TEXT]
    if message:
        return text_of(message)
    kind = first(attributes, "error.type", "exception.type", "error.message")
    code = first(attributes, "http.response.status_code", "http.status_code", "rpc.response.status_code")
    return text_of(kind) if kind else f"HTTP status {text_of(code, 20)}" if code else "failed, without saying why"


def destination(attributes: Mapping[str, Any]) -> Any:
    """The topic or queue; None where none is named."""
    return first(attributes, "messaging.destination.name", "messaging.destination")


def asks_database(attributes: Mapping[str, Any]) -> bool:
    return first(attributes, "db.system.name", "db.system") is not None


def first(attributes: Mapping[str, Any], *names: str) -> Any:
    """The value of the first name that is there: the new spelling before the old."""
    for name in names:
        value = attributes.get(name)
        if value is not None and value != "":
            return value
    return None
