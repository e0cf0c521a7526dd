"""A flow as lines to draw: the way to its end from top to bottom, with the branches beside it."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.core.order import topological
from schemas.flow import Flow, Step
from schemas.times import format_duration


class Line(NamedTuple):
    """``lane``: what is drawn before the step; ``due``: by when; ``notes``: what else holds, in plain words."""

    lane: str
    step: str
    label: str
    system: str
    due: str
    notes: str


def chart(flow: Flow) -> list[Line]:
    """One line a step. A step hangs on the last step that every way to it passes; the way to the end is the trunk."""
    order, _ = topological(flow)
    above = _above(flow, order)
    below: dict[str, list[str]] = {"": []}
    for name in order:
        below.setdefault(above[name], []).append(name)
    # A branch is drawn before what the trunk goes on with; branches in the order of the file.
    place = {name: index for index, name in enumerate(flow.steps)}
    trunk = _trunk(flow, above)
    lines: list[Line] = []

    def draw(name: str, lane: str, deeper: str) -> None:
        lines.append(_line(flow, name, lane))
        children = sorted(below.get(name, ()), key=lambda child: (child in trunk, place[child]))
        for number, child in enumerate(children):
            if child in trunk:
                draw(child, "", "")
                continue
            rest = number + 1 < len(children) or (name in trunk and name != trunk[-1])
            draw(child, deeper + ("├─" if rest else "└─"), deeper + ("│ " if rest else "  "))

    for root in sorted(below[""], key=lambda child: (child in trunk, place[child])):
        draw(root, "", "  " if root not in trunk else "")
    return lines


def _above(flow: Flow, order: tuple[str, ...]) -> dict[str, str]:
    """Immediate dominators; "" above the starts, and above what has nothing in common before it."""
    found: dict[str, str] = {}

    def ancestors(name: str) -> list[str]:
        trail = []
        while name:
            trail.append(name)
            name = found[name]
        return trail

    for name in order:
        before = [other for other in flow.steps[name].after.steps if other in found]
        shared = ancestors(before[0]) if before else []
        for other in before[1:]:
            known = set(ancestors(other))
            shared = [one for one in shared if one in known]
        found[name] = shared[0] if shared else ""
    return found


def _trunk(flow: Flow, above: dict[str, str]) -> list[str]:
    """From the start to the end that everyone hopes for: of those the one furthest away."""
    ends = [name for name, step in flow.steps.items() if step.end == "completed"] or list(flow.steps)[-1:]
    trails = []
    for end in ends:
        trail, name = [], end
        while name:
            trail.append(name)
            name = above[name]
        trails.append(trail[::-1])
    return max(trails, key=len)


def _line(flow: Flow, name: str, lane: str) -> Line:
    step = flow.steps[name]
    mark = "◆" if step.end == "completed" else "✕" if step.end == "closed" else "○" if step.optional else "●"
    return Line(
        f"{lane}{mark} ", name, flow.label(name), step.system, due_text(step, flow), "; ".join(_notes(flow, step))
    )


def due_text(step: Step, flow: Flow) -> str:
    """By when a step is due, as one would say it."""
    if step.within is not None:
        time = f"within {format_duration(step.within)}"
        return f"{time}, {step.calendar}" if step.calendar else time
    if step.due is not None:
        return f"by {step.due}"
    if step.lapses is not None:
        return f"after {format_duration(step.lapses)} of silence"
    if step.start:
        return "start"
    if not step.owed:
        return ""
    return f"lost after {format_duration(flow.lost_after)}"


def _notes(flow: Flow, step: Step) -> list[str]:
    notes = []
    if len(step.after.steps) > 1:
        how = "any of" if step.after.mode == "any" else "all of"
        notes.append(f"after {how} {', '.join(flow.label(name) for name in step.after.steps)}")
    if step.when:
        tests = [
            f"{name} is {' or '.join(str(value) for value in values)}" for name, values in step.when.attributes.items()
        ]
        notes.append(
            "if " + " and ".join([*([f"{flow.label(step.when.seen)} was seen"] if step.when.seen else []), *tests])
        )
    if step.per:
        many = step.count
        how_many = "" if many is None else (
            f", {many.number} of them" if many.number
            else f", as many as {many.attribute} says" if many.attribute
            else f", as many as at {flow.label(many.announced_by or '')}"
        )  # fmt: skip
        notes.append(f"once per {step.per}{how_many}")
    if step.again:
        notes.append(f"up to {step.again} times again")
    if step.must:
        notes.append("never left out")
    if step.until:
        notes.append(f"not after {flow.label(step.until)}")
    if step.retry_within:
        notes.append(f"retried for {format_duration(step.retry_within)}")
    return notes
