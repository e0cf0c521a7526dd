"""Point: when a step counts as done, and how sure that is."""

from __future__ import annotations

from typing import NamedTuple


class Point(NamedTuple):
    """That a step counts as done, at ``time`` (µs; the latest it can be, where it was not observed).

    ``step``: where the transaction was truly seen last, ``seen``: when. ``begin``: the earliest that ``time`` can be; what comes
    after needs hearing from then on. ``known``: observed, or lapsed; otherwise passed over or not heard. ``assumed``: judge only
    goes on as if. ``held``: a step that nobody has to wait for was under way, so that only ``lost_after`` counts.
    """

    time: int
    step: str
    seen: int
    begin: int
    known: bool = True
    assumed: bool = False
    held: bool = False


def joined(points: list[Point], held: int | None = None) -> Point:
    """What comes after all of ``points``: the latest, and no surer than the least sure."""
    if len(points) == 1 and held is None:
        return points[0]
    latest = max(points, key=lambda point: (point.seen, point.step))
    return Point(
        max(*(point.time for point in points), held or 0),
        latest.step,
        latest.seen,
        max(point.begin for point in points),
        all(point.known for point in points),
        any(point.assumed for point in points),
        held is not None or any(point.held for point in points),
    )
