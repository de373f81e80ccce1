"""The optimization's progress and losses as small pictures that the page's own colours paint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from webapp.jobs import LONGEST_RUN

MINUTES = f"{LONGEST_RUN / 60:g} minutes"
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 360, 132, 34, 20, 10, 8


def progress(step: int, steps: int, seconds_left: float = 0.0, doing: str = "") -> str:
    """A bar for `step` of `steps` of what is done, with a guess of what is left."""
    words = (
        (f"{doing}: step" if doing else "Step")
        + f" {step} of {steps}"
        + (f" · about {seconds_left:.0f} s left" if seconds_left >= 1 else "")
    )
    return (
        f'<div class="progress"><progress max="{steps}" value="{step}" aria-label="Progress"></progress>'
        f'<p class="note" role="status">{words}</p></div>'
    )


def cut_note(step: int, steps: int) -> str:
    """What a visitor is told whose run has ended at `step` because it computed for too long."""
    return f"Others wait, so this run ended after {MINUTES} of computing, at step {step} of {steps}."


def plot(curves: Mapping[str, Sequence[float]], steps: int) -> str:
    """The loss terms over the steps, as an SVG. `curves` maps a term's name to its value at each step so far."""
    top = max((max(values) for values in curves.values() if values), default=1.0) or 1.0
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    lines, legend = [], []
    for number, (name, values) in enumerate(curves.items()):
        points = " ".join(
            f"{LEFT + across * i / max(steps - 1, 1):.1f},{TOP + down * (1 - value / top):.1f}"
            for i, value in enumerate(values)
        )
        lines.append(f'<polyline class="curve-{number}" points="{points}"/>')
        value = f" {values[-1]:.3f}" if values else ""
        legend.append(f'<span class="curve-{number}">{name}{value}</span>')
    grid = ""
    for share in (0, 0.5, 1):
        y = TOP + down * (1 - share)
        grid += f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        grid += f'<text x="{LEFT - 5}" y="{y + 3:.1f}" text-anchor="end">{top * share:.2f}</text>'
    ends = (
        f'<text x="{LEFT}" y="{HEIGHT - 5}">1</text>'
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 5}" text-anchor="end">{steps}</text>'
    )
    return (
        f'<figure class="losses"><figcaption>{"".join(legend)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Loss terms over the steps">'
        f"{grid}{ends}{''.join(lines)}</svg></figure>"
    )
