"""What instrumentation reports becomes an event that may be sent: cleaned, personal data taken out, written as JSON, handed over.

All of it on the caller's thread, for what is reported may change as soon as the caller goes on. Nothing here raises: an event that
cannot be made is handed over as what it is, bytes to be set aside with the reason, so that it is counted.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from tracer.batch import encode_event
from tracer.clean import EARLIEST, LATEST, MAX_ID, attributes_of, keys_of, name_of, text_of
from tracer.keys import Normalise, normal, route
from tracer.outbox import Handed

PHASES = frozenset(("received", "started", "sent", "completed", "failed", "cancelled"))


class Rules(Protocol):
    """What of an event may be sent (`tracer.privacy.Privacy`)."""

    def event(self, event: Mapping[str, Any]) -> dict[str, Any]: ...


class Reporter:
    """Makes events of one process.

    Args:
        hand_over: takes what was made; never raises.
        system: who speaks where nothing else is said.
        transaction_types: key types that name transactions; the first that an event has places it.
        normalise: key type to the form under which its values meet.
        privacy: applied to every event before it is written anywhere.
        clock: microseconds since 1970 UTC.
    """

    def __init__(
        self,
        hand_over: Callable[[Handed], None],
        system: str,
        clock: Callable[[], int],
        *,
        transaction_types: Iterable[str] = (),
        normalise: Normalise | None = None,
        privacy: Rules | None = None,
    ):
        self.system = name_of(system)
        self.clock = clock
        self._hand_over = hand_over
        self._types = tuple(transaction_types)
        self._normalise = dict(normalise or {})
        self._privacy = privacy
        self.repaired = 0
        self.refused = 0

    def report(
        self,
        step: Any,
        phase: str,
        keys: Any,
        *,
        id: str,
        time: int | None = None,
        system: Any = None,
        peer: Any = None,
        attributes: Any = None,
        error: Any = None,
    ) -> None:
        """Report one event; arguments as `schemas.event.Event` has them, whatever they are."""
        try:
            clean, lost = keys_of(keys)
            event: dict[str, Any] = {
                "id": id,
                "system": name_of(system) or self.system,
                "step": name_of(step),
                "phase": phase,
                "time": self.clock() if time is None else time,
                "keys": clean,
            }
            if name := name_of(peer):
                event["peer"] = name
            clean_attributes, more = attributes_of(attributes)
            if clean_attributes:
                event["attributes"] = clean_attributes
            lost += more
            if error is not None:
                event["error"] = text_of(error)
            self.repaired += lost
            self.send(event)
        except Exception as reason:
            self.refuse(step, phase, reason)

    def send(self, event: dict[str, Any]) -> None:
        """Send an event that is clean already (`tracer.spans`)."""
        try:
            if why := _fault(event):
                raise ValueError(why)
            if self._normalise:
                event = {**event, "keys": normal(event["keys"], self._normalise)}
            if self._privacy is not None:
                event = self._privacy.event(event)
                if not event["keys"]:
                    raise ValueError("no key is left when personal data is taken out")
            self._hand_over(Handed(route(event["keys"], self._types), self._encode(event)[:-1]))
        except Exception as reason:
            self.refuse(event.get("step"), event.get("phase"), reason)

    def keys(self, keys: Mapping[str, str]) -> dict[str, str]:
        """Keys as they may leave the process: in headers too."""
        try:
            kept: dict[str, str] = normal(keys, self._normalise)
            return self._privacy.event({"keys": kept})["keys"] if self._privacy is not None else kept
        except Exception:
            return {}

    def _encode(self, event: dict[str, Any]) -> bytes:
        try:
            return encode_event(event)
        except ValueError:
            if "attributes" not in event:
                raise
        self.repaired += len(event["attributes"])
        return encode_event({name: value for name, value in event.items() if name != "attributes"})

    def refuse(self, step: Any, phase: Any, reason: Exception) -> None:
        """Count what makes no event. Without what was in it: it may hold what must not be sent."""
        try:
            self.refused += 1
            said = {"system": self.system, "step": name_of(step), "phase": name_of(phase)}
            why = f"the application reported what makes no event: {type(reason).__name__}"
            if isinstance(reason, ValueError):
                why += f": {text_of(reason, 200)}"
            self._hand_over(Handed("", json.dumps(said, ensure_ascii=False).encode("utf-8", "replace"), why))
        except Exception:
            return


def _fault(event: Mapping[str, Any]) -> str:
    """Why the contract would refuse it, as far as it was not repaired; "" if it would not."""
    if not event["keys"]:
        return "no key"
    if not event["step"] or not event["system"]:
        return "no step" if event["system"] else "no system"
    if event["phase"] not in PHASES:
        return "no such phase"
    time = event["time"]
    if not isinstance(time, int) or isinstance(time, bool) or not EARLIEST <= time < LATEST:
        return "the time is not microseconds since 1970, of the years 1990 to 2100"
    if not event["id"] or len(event["id"]) > MAX_ID:
        return "no id of 1 to 256 characters"
    return ""


class Installed:
    """The process's reporter; None before `tracer.init`, and then nothing is reported."""

    def __init__(self) -> None:
        self.reporter: Reporter | None = None


installed = Installed()


class Ids:
    """Trace and span ids. Its own generator: an application that seeds `random` must not make one id twice."""

    def __init__(self) -> None:
        self._random = random.Random(os.urandom(16))  # noqa: S311  (ids, not secrets)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=lambda: self._random.seed(os.urandom(16)))

    def trace(self) -> str:
        return f"{self._random.getrandbits(128) or 1:032x}"

    def span(self) -> str:
        return f"{self._random.getrandbits(64) or 1:016x}"


ids = Ids()
