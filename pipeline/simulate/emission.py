"""Puts what happened on the log: a voice for each pod, all of them on one clock."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.simulate.deeds import Deed
from pipeline.simulate.telemetry import Pod, Session
from pipeline.simulate.voices import READ, Told, Voice, voice_of
from schemas.landscape import Landscape
from tracer.errors import Unavailable
from tracer.sinks.contract import Sink


class Clock(Protocol):
    """µs now. ``advance``: to a time that is simulated; a clock that goes by itself does not listen."""

    def __call__(self) -> int: ...

    def advance(self, to: int) -> None: ...


@dataclass(slots=True, eq=False)
class _Air:
    """A pod while it runs. ``next_marker``: µs, when it has to say how far it has got."""

    pod: Pod
    session: Session | None = None
    voice: Voice | None = None
    next_marker: int = 0
    waiting: bool = False


class Emission:
    """Plays deeds, earliest first, in ticks of ``tick`` µs; sources mark every ``every`` µs.

    The order of arrival is the order of ticks: within one, all that happened since the last is sent, then the markers. Where time
    goes by itself (``patient``), nobody waits for the log: it may be away.
    """

    def __init__(
        self, pods: Sequence[Pod], sink: Sink, clock: Clock, landscape: Landscape, *, every: int, tick: int,
        patient: bool = False, read: frozenset[str] = READ,
    ):  # fmt: skip
        self._sink, self._clock, self._landscape = sink, clock, landscape
        self._every, self._tick, self._patient, self._read = every, tick, patient, read
        self._airs = {pod.name: _Air(pod) for pod in pods}

    def play(self, deeds: Sequence[Deed], begin: int, end: int, on_tick: Callable[[int], None]) -> None:
        """From ``begin`` to ``end`` µs. ``on_tick`` hears the simulated time after each tick."""
        self.follow(deeds, self._instants(begin, end), on_tick)

    def follow(self, deeds: Sequence[Deed], instants: Iterable[int], on_tick: Callable[[int], None]) -> None:
        """At each of the instants, µs, all that happened since the last."""
        place = 0
        times = [deed.time for deed in deeds]
        for now in instants:
            until = bisect_right(times, now, place)
            for deed in deeds[place:until]:
                self._observe(deed)
            place = until
            self._send(now)
            self._clock.advance(now)
            for air in self._airs.values():
                self._turn(air, now)
            self._sink.poll()
            on_tick(now)

    def leave(self) -> None:
        """Everybody says goodbye. Raises ``Unavailable`` where the log is away."""
        for air in self._airs.values():
            if air.voice is not None:
                voice, air.voice, air.session = air.voice, None, None
                voice.leave()

    def _send(self, now: int) -> None:
        """Everything that happened, in one go, a moment before the markers: they vouch for what is acknowledged only."""
        self._clock.advance(now - 1)
        for air in self._airs.values():
            if not air.waiting or air.voice is None or air.pod.cut_off(now):
                continue
            air.voice.send(whole=air.next_marker < now and not self._patient)
            air.waiting = False
        self._sink.poll()

    def _instants(self, begin: int, end: int) -> list[int]:
        """The grid, and whenever a pod starts, stops or comes back."""
        moments = {*range(begin, end, self._tick), end}
        for air in self._airs.values():
            for session in air.pod.sessions:
                moments |= {session.boot, session.stop}
            moments |= {moment for delay in air.pod.delays for moment in delay}
        return sorted(moment for moment in moments if begin <= moment <= end)

    def _observe(self, deed: Deed) -> None:
        air = self._airs[deed.pod]
        if air.voice is not None:
            self._clock.advance(deed.time)
            air.voice.observe(deed)
            air.waiting = True

    def _turn(self, air: _Air, now: int) -> None:
        pod, session = air.pod, air.session
        if session is not None and session.stop <= now and not self._stop(air, session):
            return
        if air.session is None:
            begins = pod.session_at(now)
            if begins is not None:
                self._boot(air, begins, now)
            return
        if now < air.next_marker or air.voice is None or pod.cut_off(now):
            return
        air.voice.mark()
        air.session.markers.append(now)
        air.next_marker = now + self._every

    def _boot(self, air: _Air, session: Session, now: int) -> None:
        skew = air.pod.skew

        def own_clock() -> int:
            return self._clock() + skew

        air.session = session
        told = Told(air.pod.name, air.pod.system, own_clock, skew, self._every)
        air.voice = voice_of(self._sink, told, self._landscape, self._read)
        session.markers.append(now)
        air.next_marker = now + self._every

    def _stop(self, air: _Air, session: Session) -> bool:
        """What was seen before is sent; what comes after is not seen. Whether it is done: in real time a goodbye waits until the
        log is there again."""
        if air.voice is not None:
            try:
                if session.leaves:
                    air.voice.leave()
                else:
                    air.voice.fall_silent()
            except Unavailable:
                if not self._patient:
                    raise
                return False
        air.session = air.voice = None
        air.waiting = False
        return True


def heard(deed: Deed, pods: dict[str, Pod], now: int) -> bool:
    """Whether its event had reached the log by ``now`` µs."""
    pod = pods[deed.pod]
    if deed.time > now or pod.session_at(deed.time) is None:
        return False
    return not any(begin <= deed.time < end and now < end for begin, end in pod.delays)
