"""Checkpoint: what a collector remembers between two runs, one small JSON file a collector.

A save is atomic and durable: written beside, flushed to the disk, renamed, and the folder flushed; so whatever moment the machine
stops at, the file is the old one or the new one. Saving comes after the log's acknowledgement, never before: an older file only
makes records come again, under the same ids.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas.errors import Invalid
from tracer.errors import Unavailable

_VERSION = 1


class Checkpoint:
    """Positions of one collector (`collectors.inputs.live.Positions`).

    Attributes:
        through: µs, how far the log knows that the collector vouched; None for never.
        dirty: whether something is to be saved.
    """

    def __init__(self, folder: Path, collector: str):
        """One process at a time: raises ``Unavailable`` where another has it, or the folder cannot be written, ``Invalid`` where
        the file is none of ours."""
        self.path = folder / f"{collector}.json"
        self.through: int | None = None
        self.dirty = False
        self._streams: dict[str, dict[str, Any]] = {}
        self._lock = _lock(folder, collector)
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    def _read(self) -> None:
        try:
            data = json.loads(self.path.read_bytes())
            if data["version"] != _VERSION:
                raise Invalid(f"is of version {data['version']}, which this version does not read", file=str(self.path))
            streams, through = data["streams"], data["through"]
            if not all(isinstance(position, dict) for position in streams.values()):
                raise TypeError
        except FileNotFoundError:
            return
        except OSError as error:
            raise Unavailable(f"{self.path} cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, Invalid):
                raise
            reason = "holds no positions of a collector; without it all is read again, and makes the same events"
            raise Invalid(reason, file=str(self.path)) from None
        self._streams, self.through = dict(streams), through

    def get(self, stream: str) -> Mapping[str, Any] | None:
        return self._streams.get(stream)

    def all(self) -> Mapping[str, Mapping[str, Any]]:
        return dict(self._streams)

    def put(self, stream: str, position: Mapping[str, Any]) -> None:
        self._streams[stream] = dict(position)
        self.dirty = True

    def drop(self, stream: str) -> None:
        self.dirty = self._streams.pop(stream, None) is not None or self.dirty

    def forget(self) -> None:
        """Begin anew: all is read again, and makes the same events."""
        self._streams, self.through, self.dirty = {}, None, True

    def vouched(self, through: int | None) -> None:
        """Remembered with the next save; by itself no reason for one."""
        self.through = through if self.through is None or through is None else max(self.through, through)

    def save(self) -> None:
        """Raises ``Unavailable`` where the disk is full or away; what is there then is the last that was saved."""
        content = json.dumps({"version": _VERSION, "through": self.through, "streams": self._streams}).encode()
        beside = self.path.with_suffix(".new")
        try:
            with beside.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            beside.replace(self.path)
            _flush(self.path.parent)
        except OSError as error:
            raise Unavailable(f"{self.path} cannot be saved: {error.strerror}") from None
        self.dirty = False

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _lock(folder: Path, collector: str) -> int:
    """Held as long as the file is open, and no longer than the process lives. The lock's own file stays."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = os.open(folder / f"{collector}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise Unavailable(f"{folder} cannot be written: {error.strerror}") from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        raise Unavailable(f"collector {collector} runs in another process already") from None
    return held


def _flush(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
