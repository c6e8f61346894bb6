"""Figures of a report, as inline SVG or PNG, readable on light and dark backgrounds."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray
from PIL import Image

from training.acting.policies import Policy
from training.acting.rollout import rollout
from training.data.episode_store import RolloutStore
from training.judging.fidelity import PolicyRow
from training.judging.replay import longest_episode, ticks_of
from training.judging.scoring import Score
from training.reporting.pictures import strip
from wm_envs.envs.dreams import Dreams
from wm_envs.models.world_model import WorldModel

NamedScores = tuple[str, Score, Score | None]  # a name, its score in the game, and in the dream if there is one
GREY, BLUE, ORANGE = "#888888", "#3b82d0", "#d9812b"  # readable on white and on black
STYLE: dict[Any, Any] = {
    "axes.edgecolor": GREY, "axes.labelcolor": GREY, "xtick.color": GREY, "ytick.color": GREY, "text.color": GREY,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": GREY, "grid.alpha": 0.25,
    "savefig.transparent": True, "svg.hashsalt": "wm-envs", "font.size": 9, "legend.frameon": False,
}  # fmt: skip


def svg(figure: Figure) -> str:
    """A figure as an SVG element."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    return buffer.getvalue().partition("?>")[2].partition("<svg")[2].join(["<svg role='img'", ""])


def curves(points: dict[str, NDArray[np.float64]]) -> str:
    """One small plot per metric, from its points (N, 2), at least two of them: step and value."""
    names = list(points)
    with matplotlib.rc_context(STYLE):
        figure = Figure((9, 1.9 * -(-len(names) // 3)), layout="constrained")
        for number, name in enumerate(names):
            axes = figure.add_subplot(-(-len(names) // 3), 3, number + 1)
            axes.plot(*points[name].T, color=BLUE, marker="." if len(points[name]) < 30 else "")
            axes.set_title(name.replace("_", " "), loc="left")
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        return svg(figure)


def fidelity(policies: Sequence[PolicyRow], trained: set[str]) -> str:
    """Every policy's mean in the game and in the dream, with intervals: as a point, and named in a line.

    The names stand in a column, because points of similar policies lie on each other.
    """
    rows = sorted(policies, key=lambda row: row.real.mean)
    means = [score.mean for row in rows for score in (row.real, row.dream)]
    ends = [min(means), max(means)]
    with matplotlib.rc_context(STYLE):
        figure = Figure((9, max(3.5, 0.8 + 0.23 * len(rows))), layout="constrained")
        points, lines = figure.subplots(1, 2)
        for row in rows:
            points.errorbar(
                row.real.mean, row.dream.mean, row.dream.interval, row.real.interval, fmt="o", ms=4, lw=0.8,
                color=ORANGE if row.policy in trained else BLUE,
            )  # fmt: skip
        points.plot(ends, ends, color=GREY, lw=0.8, ls="--")
        if ends[0] > 0:
            points.set(xscale="log", yscale="log")
            for axis in (points.xaxis, points.yaxis):
                axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axis.set_major_formatter(EngFormatter(sep=""))
                axis.set_minor_formatter(NullFormatter())
        points.set(xlabel="in the game", ylabel="in the dream")
        if trained & {row.policy for row in rows}:
            points.set_title("orange: controllers of this world", loc="left")
        _interval_lines(lines, [(row.policy, row.real, row.dream) for row in rows[::-1]])
        return svg(figure)


def intervals(rows: Sequence[NamedScores]) -> str:
    """The mean score of each row with its 95% interval, in the game and in the dream."""
    with matplotlib.rc_context(STYLE):
        figure = Figure((9, 0.8 + 0.35 * len(rows)), layout="constrained")
        _interval_lines(figure.add_subplot(), rows)
        return svg(figure)


def _interval_lines(axes: Axes, rows: Sequence[NamedScores]) -> None:
    """A line per row, the first on top: a dot and an interval for the game, and for the dream where present."""
    for number, (_, real, dream) in enumerate(reversed(rows)):
        for score, colour, shift in ((real, BLUE, 0.12), (dream, ORANGE, -0.12)):
            if score:
                axes.errorbar(score.mean, number + shift, xerr=score.interval, fmt="o", ms=3, color=colour)
    axes.set_yticks(range(len(rows)), [textwrap.fill(name, 40) for name, _, _ in reversed(rows)])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    dreams = any(dream for _, _, dream in rows)
    axes.set_xlabel("score (blue: the game, orange: the dream)" if dreams else "score in the game")


def learning(points: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Learning curves by name: points (steps in dreams, mean score in the real game)."""
    with matplotlib.rc_context(STYLE):
        figure = Figure((9, 3.5), layout="constrained")
        axes = figure.add_subplot()
        for (name, curve), colour in zip(points.items(), (BLUE, ORANGE, GREY) * len(points), strict=False):
            axes.plot(*np.array(curve, float).reshape(-1, 2).T, color=colour, marker=".", label=name)
        axes.set(xlabel="steps in dreams", ylabel="mean score in the game")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        figure.legend(loc="outside lower left")
        return svg(figure)


def population(scores: list[list[float]]) -> str:
    """Scores of all candidates by generation, and their mean."""
    with matplotlib.rc_context(STYLE):
        figure = Figure((7, 2.6), layout="constrained")
        axes = figure.add_subplot()
        for generation, found in enumerate(scores):
            axes.plot([generation] * len(found), found, ".", ms=2, color=GREY, alpha=0.5)
        axes.plot([float(np.mean(found)) for found in scores], color=BLUE)
        axes.set(xlabel="generation", ylabel="score in the dream")
        return svg(figure)


# --- pictures -------------------------------------------------------------------------------------------


def png(image: NDArray[np.uint8], scale: int = 1) -> str:
    """An image (H, W, 3) uint8 as a PNG data URI."""
    picture = Image.fromarray(image)
    buffer = io.BytesIO()
    picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def traversals(world: WorldModel, rows: int = 8, columns: int = 9) -> tuple[NDArray[np.uint8], list[int]]:
    """Decodings of a first frame with one latent dimension changed from -3 to 3, a row per dimension.

    The rows are the dimensions of lowest posterior variance, lowest first. Returns the picture and the dimensions.
    """
    chosen = world.initial_logvars.mean(dim=0).argsort()[:rows]
    latents = world.initial_means[:1].repeat(len(chosen) * columns, 1)
    for row, dimension in enumerate(chosen):
        latents[row * columns : (row + 1) * columns, dimension] = torch.linspace(-3, 3, columns)
    frames = world.decode(latents).cpu().numpy()
    return np.concatenate([strip(frames[at : at + columns]) for at in range(0, len(frames), columns)]), chosen.tolist()


def dream_strip(
    world: WorldModel, policy: Policy, temperature: float, frames: int = 12, every: int = 20
) -> NDArray[np.uint8]:
    """Frames of one dream of a policy, every `every` steps, at most `frames` of them."""
    dream, seen = Dreams(world, 1, temperature), []
    dream.seed(0)
    dream.reset()

    def keep(step: int) -> None:
        if step % every == 0:
            seen.append(dream.frames()[0])

    rollout(dream, *policy.actor(dream, [0]), frames * every, keep)
    return strip(np.stack(seen))


def real_strip(store: RolloutStore, frames: int = 12) -> NDArray[np.uint8]:
    """Evenly spaced frames of the longest episode in the last part of the store."""
    part = store.parts[-1]
    start, stop = ticks_of(part, longest_episode(part))
    at = np.linspace(start, stop - 1, frames).astype(int)
    return strip(np.concatenate([part.read(int(i), int(i) + 1) for i in at]))
