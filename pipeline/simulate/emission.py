"""Puts what happened on the log: one emitter for each pod, all of them on the simulator's clock."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.simulate.clock import SimulatedClock
from pipeline.simulate.deeds import Deed
from pipeline.simulate.telemetry import Pod, Session
from tracer.emitter import Emitter, Limits
from tracer.sinks.contract import Sink

# A spool may hold a day of a system; nothing is shed, and nothing is sent before the tick.
_LIMITS = Limits(batch_events=1_000, linger=0, queue_events=10_000_000, queue_bytes=2**40)


@dataclass(slots=True, eq=False)
class _Air:
    """A pod while it runs. ``next_marker``: µs, when it has to say how far it has got."""

    pod: Pod
    session: Session | None = None
    emitter: Emitter | None = None
    next_marker: int = 0
    waiting: bool = False


class Emission:
    """Plays deeds, earliest first, in ticks of ``tick`` µs; sources mark every ``every`` µs.

    The order of arrival is the order of ticks: within one, all that happened since the last is sent, then the markers.
    """

    def __init__(
        self, pods: Sequence[Pod], sink: Sink, clock: SimulatedClock, types: Sequence[str], *, every: int, tick: int
    ):
        self._sink, self._clock, self._types = sink, clock, tuple(types)
        self._every, self._tick = every, tick
        self._airs = {pod.name: _Air(pod) for pod in pods}

    def play(self, deeds: Sequence[Deed], begin: int, end: int, on_tick: Callable[[int], None]) -> None:
        """From ``begin`` to ``end`` µs. ``on_tick`` hears the simulated time after each tick."""
        place = 0
        times = [deed.time for deed in deeds]
        for now in self._instants(begin, end):
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

    def _send(self, now: int) -> None:
        """Everything that happened, in one go, a moment before the markers: they vouch for what is acknowledged only."""
        self._clock.advance(now - 1)
        for air in self._airs.values():
            if not air.waiting or air.emitter is None or air.pod.cut_off(now):
                continue
            if air.next_marker < now:
                air.emitter.flush()
            else:
                air.emitter.tick()
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
        if air.emitter is not None:
            self._clock.advance(deed.time)
            air.emitter.emit(deed.event(air.pod.skew))
            air.waiting = True

    def _turn(self, air: _Air, now: int) -> None:
        pod, session = air.pod, air.session
        if session is not None and session.stop <= now:
            self._stop(air, session)
        if air.session is None:
            begins = pod.session_at(now)
            if begins is not None:
                self._boot(air, begins, now)
            return
        if now < air.next_marker or air.emitter is None or pod.cut_off(now):
            return
        air.emitter.tick()
        air.session.markers.append(now)
        air.next_marker = now + self._every

    def _boot(self, air: _Air, session: Session, now: int) -> None:
        skew = air.pod.skew

        def own_clock() -> int:
            return self._clock() + skew

        air.session = session
        air.emitter = Emitter(
            self._sink,
            air.pod.name,
            own_clock(),
            (air.pod.system,),
            own_clock,
            every=self._every,
            transaction_types=self._types,
            limits=_LIMITS,
        )
        # Hello, its acknowledgement, the first marker: with every log within the same instant.
        for _ in range(2):
            air.emitter.tick()
            self._sink.poll()
        session.markers.append(now)
        air.next_marker = now + self._every

    def _stop(self, air: _Air, session: Session) -> None:
        """What was seen before is sent; what comes after is not seen."""
        if air.emitter is not None:
            if session.leaves:
                air.emitter.goodbye("open")
            else:
                air.emitter.flush()
        air.session = air.emitter = None
        air.waiting = False


def heard(deed: Deed, pods: dict[str, Pod], now: int) -> bool:
    """Whether its event had reached the log by ``now`` µs."""
    pod = pods[deed.pod]
    if deed.time > now or pod.session_at(deed.time) is None:
        return False
    return not any(begin <= deed.time < end and now < end for begin, end in pod.delays)
