"""Where an input listens, and who may speak to it.

On loopback only, unless a file says otherwise. Beyond loopback an HTTP or gRPC input asks for a token (the environment's
``LASTSEEN_INTAKE_TOKEN``), or for the word ``anonymous: true`` by which somebody decides that everybody in reach may send.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from collectors.collector import Duration
from collectors.formats.contract import Format, Item
from collectors.inputs.received import MAX_HELD, MAX_WAITING
from collectors.inputs.sampled import message_or_lines
from schemas.errors import Invalid
from schemas.times import SECOND
from tracer.errors import Unavailable

TOKEN = "LASTSEEN_INTAKE_TOKEN"  # noqa: S105  (the variable's name)
Port = Annotated[int, Field(ge=0, le=65535)]


class Tls(BaseModel):
    """PEM files by path; ``ca``: clients must show a certificate that it signed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cert: str
    key: str
    ca: str | None = None

    def paths(self, base: Path) -> tuple[Path, Path, Path | None]:
        """Raises ``Invalid`` for a file that cannot be read."""
        found = [base / name for name in (self.cert, self.key, self.ca) if name is not None]
        for path in found:
            try:
                path.open("rb").close()
            except OSError as error:
                raise Invalid(f"{path} cannot be read: {error.strerror}", field="tls") from None
        return found[0], found[1], found[2] if self.ca is not None else None

    def context(self, base: Path) -> ssl.SSLContext:
        """Raises ``Invalid``."""
        cert, key, ca = self.paths(base)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(cert, key)
            if ca is not None:
                context.load_verify_locations(ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (ssl.SSLError, OSError) as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            raise Invalid(f"{cert} and {key} are no certificate and its key: {reason}", field="tls") from None
        return context


class Listening(BaseModel):
    """What all inputs that receive have in common.

    ``host``: an address to listen at. ``max_waiting``, ``max_held``: requests, and bytes of them, that are taken in and not yet
    acknowledged by the log; senders beyond are told to come again. ``max_connections``: at once. ``idle``: how long a sender may
    take for what it has begun.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: Annotated[str, Field(min_length=1, max_length=255)] = "127.0.0.1"
    tls: Tls | None = None
    max_waiting: Annotated[int, Field(ge=1, le=10_000)] = MAX_WAITING
    max_held: Annotated[int, Field(ge=1024)] = MAX_HELD
    max_connections: Annotated[int, Field(ge=1, le=100_000)] = 256
    idle: Annotated[Duration, Field(gt=0)] = 20 * SECOND


class Intake(Listening):
    """An input that answers: HTTP, gRPC. ``max_body``: bytes of a request, decompressed. ``patience``: how long a sender waits for
    the log's acknowledgement before it is told to come again. ``retry_after``: when. ``expect``: how often senders that are there
    send something: no more is vouched for than was heard, and that it falls silent is told."""

    anonymous: bool = False
    max_body: Annotated[int, Field(ge=1024, le=256 * 1024 * 1024)] = 8 * 1024 * 1024
    patience: Annotated[Duration, Field(gt=0)] = 8 * SECOND
    retry_after: Annotated[Duration, Field(ge=SECOND)] = SECOND
    expect: Duration = 0

    def sample(self, layout: Format, data: bytes, now: int) -> list[Item]:  # noqa: ARG002  (other inputs ask it)
        """A file as one request, or as one a line."""
        return message_or_lines(layout, data, {})

    @model_validator(mode="after")
    def _fits(self) -> Any:
        if self.max_held < self.max_body:
            raise ValueError("max_held is less than max_body: no request of that size could ever be taken in")
        return self

    def token(self, env: Mapping[str, str]) -> str:
        """The token that senders must show; "" for none. Raises ``Invalid`` where everybody in reach could send."""
        token = env.get(TOKEN, "")
        if not token and not self.anonymous and not is_loopback(self.host):
            raise Invalid(
                f"listens beyond this machine: set {TOKEN} in the environment, or write anonymous: true", field="host"
            )
        return token


def allowed(token: str, shown: str | None) -> bool:
    """``shown``: the header ``Authorization``."""
    if not token:
        return True
    scheme, _, given = (shown or "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bound(host: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """A socket at an address, a TCP one listening. Raises ``Unavailable``."""
    made: socket.socket | None = None
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)[0]
        made = socket.socket(family, kind)
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        if kind == socket.SOCK_STREAM:
            made.listen(128)
    except OSError as error:
        if made is not None:
            made.close()
        raise Unavailable(f"cannot listen at {host}:{port}: {error.strerror or error}") from None
    made.setblocking(False)
    return made
