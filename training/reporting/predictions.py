"""A recorded episode beside M's predictions of it, one step and many steps ahead."""

from __future__ import annotations

from typing import NamedTuple

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training.judging.replay import Watched, ahead, clearest_dimensions
from training.reporting.figures import BLUE, GREY, ORANGE, STYLE, svg
from training.reporting.pictures import strip
from wm_envs.models.world_model import WorldModel

AHEAD = (1, 5, 20, 50)  # steps before the moments that are shown


class Film(NamedTuple):
    """The same moments of an episode, in rows."""

    picture: NDArray[np.uint8]  # (64 * rows, 64 * moments, 3)
    rows: list[str]  # what each row shows, from the top, with its error


def film(world: WorldModel, watched: Watched, temperature: float, moments: int = 12) -> Film:
    """Frames of the game, V's pictures of them, and M's predictions 1, 5, 20 and 50 steps ahead.

    All rows show the same moments. Errors are sums of squared errors of a frame, in [0, 1] for each value, against the
    game; beside M's is the error of the real frame from which the dream began. Rows that the episode is too short for
    are left out.
    """
    steps = [count for count in AHEAD if count < len(watched.frames) - 1] or [1]
    at = torch.linspace(steps[-1], len(watched.frames) - 1, moments).long()
    real = watched.frames[at.numpy()]
    shown = [real, world.decode(watched.latents[at]).numpy()]
    rows = ["the game", f"V: error {_error(real, shown[1]):.0f}"]
    for count in steps:
        shown.append(world.decode(ahead(world, watched, at, count, temperature)).numpy())
        old = _error(real, watched.frames[(at - count).numpy()])
        kind = "the most probable frame, 1 step ahead" if count == 1 else f"a dream, {count} steps ahead"
        rows.append(f"M: {kind}: error {_error(real, shown[-1]):.0f} (of the real frame it began from: {old:.0f})")
    return Film(np.concatenate([strip(frames) for frames in shown]), rows)


def _error(real: NDArray[np.uint8], made: NDArray[np.uint8]) -> float:
    """Mean over frames (N, 64, 64, 3) of the sum of squared errors, with values in [0, 1]."""
    return float(((real / 255.0 - made / 255.0) ** 2).sum((1, 2, 3)).mean())


def lines(world: WorldModel, watched: Watched, temperature: float, dimensions: int = 3, far: int = 20) -> str:
    """Rewards, the probability of the end and the clearest latents of an episode: real, and as M expected them."""
    steps = np.arange(len(watched.frames))
    panels = clearest_dimensions(world, watched.frames, dimensions)
    with matplotlib.rc_context(STYLE):
        figure = Figure((9, 1.6 * (2 + len(panels))), layout="constrained")
        axes = figure.subplots(2 + len(panels), 1, sharex=True)
        axes[0].plot(steps, watched.rewards, color=BLUE)
        axes[0].plot(steps, watched.reward, color=ORANGE, lw=1)
        axes[0].set_title("reward of the step", loc="left")
        axes[1].plot(steps, watched.end, color=ORANGE, lw=1)
        axes[1].set_title("probability that the step ends the game", loc="left")
        for axis, dimension in zip(axes[2:], panels, strict=True):
            axis.plot(steps, watched.latents[:, dimension], color=BLUE)
            axis.plot(steps[1:], watched.expected[:-1, dimension], color=ORANGE, lw=1)
            if len(steps) > far:
                dreamt = ahead(world, watched, torch.arange(far, len(steps)), far, temperature)
                axis.plot(steps[far:], dreamt[:, dimension], color=GREY, lw=0.7)
            axis.set_title(f"latent {dimension}", loc="left")
        if watched.terminated:
            for axis in axes:
                axis.axvline(steps[-1], color=GREY, ls="--")
        axes[-1].set_xlabel(f"step (blue: the game, orange: M one step before, grey: a dream of {far} steps)")
        return svg(figure)
