"""Standard input: what another program writes into a pipe. It vouches while the pipe is open; its end says that it is done.

Nothing can be read again, so there is no position. What is piped again from its beginning gives the same ids (``file_identity``).
"""

from __future__ import annotations

import os
import select
import sys
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from collectors.inputs.live import Context, Parcel
from collectors.inputs.stream import Stream
from schemas.flow import Duration
from schemas.times import SECOND
from tracer.errors import Unavailable

_CHUNK = 64 * 1024
_BUDGET = 16


class StdinInput(BaseModel):
    """``quiet``: µs without a byte after which a record that only the next one would end counts as ended."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    vouches: ClassVar[bool] = True

    quiet: Duration = 5 * SECOND

    def open(self, context: Context) -> LiveStdin:
        return LiveStdin(self, context, sys.stdin.fileno())


class LiveStdin:
    """Reads a descriptor to its end; what is not asked for stays in the pipe, and holds up who writes it."""

    name = "standard input"

    def __init__(self, spec: StdinInput, context: Context, descriptor: int):
        self._spec, self._context, self._descriptor = spec, context, descriptor
        self._stream = Stream(context.format)
        self._through: int | None = None
        self._moved = context.clock()
        self._ended = False

    def poll(self, timeout: float) -> list[Parcel]:
        now = self._context.clock()
        parcels: list[Parcel] = []
        for _ in range(_BUDGET):
            if self._ended or not self._readable(0.0 if parcels else timeout):
                break
            try:
                data = os.read(self._descriptor, _CHUNK)
            except OSError as error:
                raise Unavailable(f"{self.name} cannot be read: {error.strerror}") from None
            self._ended, self._moved = not data, now
            items = self._stream.feed(data) if data else self._stream.close()
            if items:
                parcels.append(Parcel("", items, self.name))
        else:
            return parcels  # there may be more
        if self._stream.held and now - self._moved >= self._spec.quiet and (items := self._stream.quiet()):
            parcels.append(Parcel("", items, self.name))
        if self._ended or not self._stream.held:
            self._through = now
        return parcels

    def _readable(self, timeout: float) -> bool:
        return bool(select.select([self._descriptor], [], [], timeout)[0])

    def through(self) -> int | None:
        return self._through

    @property
    def finished(self) -> bool:
        return self._ended

    def close(self) -> None:
        """The descriptor is the process's."""
