"""Who observes which system, when it listens and when it does not; and so what a perfect judge may have heard.

A *pod* is one emitting process. A blackout loses what its pods saw: they fall silent without goodbye, and afterwards boot
anew. A delay loses nothing: the same epoch comes back with its spool. Pods of the night shift say goodbye in the morning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

FOREVER = 2**62
# Systems with more than one pod.
_PAIRS = ("shop", "payments", "mailer", "portal")

Interval = tuple[int, int]


class Disturbance(NamedTuple):
    """The pods of ``system`` cannot be heard in [``begin``, ``end``) µs: ``blackout``, what they saw is lost; ``delay``, it comes
    late."""

    kind: Literal["blackout", "delay"]
    system: str
    begin: int
    end: int


@dataclass(slots=True, eq=False)
class Session:
    """One boot of a pod, µs. ``leaves``: says goodbye at ``stop``; else it is cut off there (``FOREVER``: it never is).

    ``markers``: when it said how far it has got, filled while the simulation runs.
    """

    boot: int
    stop: int = FOREVER
    leaves: bool = False
    markers: list[int] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Pod:
    """``skew``: µs by which its clock is ahead. ``delays``: when it can reach nobody, and spools."""

    name: str
    system: str
    sessions: list[Session]
    skew: int = 0
    delays: list[Interval] = field(default_factory=list)

    def session_at(self, time: int) -> Session | None:
        """The boot that observes what happens at ``time``."""
        return next((session for session in self.sessions if session.boot <= time < session.stop), None)

    def cut_off(self, time: int) -> bool:
        """Whether it reaches nobody: what it knew when a delay began has just got through."""
        return any(begin < time < end for begin, end in self.delays)


def pods_of(systems: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The names of each system's pods."""
    return {
        system: (f"{system}-1", f"{system}-2") if system in _PAIRS else (f"{system}-1",) for system in sorted(systems)
    }


def listen(
    names: Mapping[str, tuple[str, ...]],
    begin: int,
    shifts: Mapping[str, list[Interval]],
    skews: Mapping[str, int],
    disturbances: Iterable[Disturbance],
) -> list[Pod]:
    """All pods with their sessions from ``begin`` µs on. ``shifts``: for systems that work in shifts only. ``skews``: by pod."""
    pods = []
    for system, own in names.items():
        for name in own:
            sessions = [Session(begin)]
            if system in shifts:
                sessions = [Session(a, b, leaves=True) for a, b in shifts[system]]
            pods.append(Pod(name, system, sessions, skews.get(name, 0)))
    for disturbance in disturbances:
        for pod in pods:
            if pod.system == disturbance.system:
                _disturb(pod, disturbance, on_shift=pod.system in shifts)
    return pods


def _disturb(pod: Pod, disturbance: Disturbance, *, on_shift: bool) -> None:
    if on_shift:
        # It said goodbye and may be away by right: without a schedule nobody can tell that from a night that was not heard.
        raise ValueError(f"{pod.system} works in shifts; only systems that run all day can be disturbed")
    if disturbance.kind == "delay":
        pod.delays.append((disturbance.begin, disturbance.end))
        return
    cut = pod.session_at(disturbance.begin)
    if cut is None or any(session.boot > disturbance.begin for session in pod.sessions):
        raise ValueError(f"blackouts of {pod.system} must not overlap, and come in order of time")
    cut.stop = disturbance.begin
    pod.sessions.append(Session(disturbance.end))


@dataclass(frozen=True, slots=True)
class Ear:
    """How a system was heard, µs: all up to ``clock`` but for the ``deaf`` intervals. ``silent``: nobody speaks for it now."""

    clock: int
    deaf: tuple[Interval, ...] = ()
    silent: bool = False

    def missed(self, begin: int, end: int) -> int:
        """How much of [begin, end] was not heard, µs."""
        return sum(max(0, min(b, end) - max(a, begin)) for a, b in self.deaf)


def ears(pods: Iterable[Pod], begin: int, now: int, lease: int, grace: int) -> dict[str, Ear]:
    """What a judge at ``now`` µs may have heard of each system, after the simulation has run this far."""
    by_system: dict[str, list[Pod]] = {}
    for pod in pods:
        by_system.setdefault(pod.system, []).append(pod)
    return {system: _ear(own, begin, now, lease, grace) for system, own in by_system.items()}


def _ear(pods: list[Pod], begin: int, now: int, lease: int, grace: int) -> Ear:
    deaf: list[Interval] = [(-FOREVER, begin)]
    clocks, silent = [], False
    for pod in pods:
        begun = [session for session in pod.sessions if session.boot <= now]
        for session, after in zip(begun, [*begun[1:], None], strict=True):
            heard = max([marker for marker in session.markers if marker <= now], default=session.boot)
            gone_dark = not session.leaves and (session.stop <= now or pod.cut_off(now))
            if after is not None:
                if not session.leaves:
                    deaf.append((heard, after.boot))
            elif gone_dark and heard + lease < now:
                deaf.append((heard, FOREVER))
                clocks.append(heard)
                silent = True
            else:
                left = session.leaves and session.stop <= now
                clocks.append(now - grace if left else min(heard, now - grace))
    return Ear(min(clocks), _disjoint(deaf), silent)


def _disjoint(intervals: list[Interval]) -> tuple[Interval, ...]:
    """Two pods that were away at the same time were away once."""
    joined: list[Interval] = []
    for begin, end in sorted(intervals):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return tuple(joined)
