"""Inside M: which component of its mixtures speaks when, and what a dream is without some of them.

The component of the highest weight speaks. With the paper's M, each latent dimension has a mixture of its own, and its
components are not related to those of another dimension; then all figures are means over the dimensions.
"""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from training.acting.policies import Policy
from training.acting.rollout import dream_episodes
from training.data.episode_store import Episode
from training.infra.records import to_json
from training.judging.replay import Watched
from training.judging.scoring import UNSEEN_DREAMS, Score
from training.reporting.figures import STYLE, svg
from training.reporting.pictures import strip
from wm_envs.games.base import Task
from wm_envs.models.world_model import WorldModel

Events = dict[str, NDArray[np.bool_]]  # name -> (T,) whether it happens in the step
SHUFFLES = 100  # of the baseline
NEAR = 8  # rows of the picture that a near object covers
SOON = 5  # steps before the end
TURN = 0.3  # a step whose first action is at least this is a turn


def events(task: Task, episode: Episode, seen: Watched) -> Events:
    """What happens in each step of an episode: its end, turns, rewards, and objects where they are recorded."""
    steps = len(seen.frames)
    found: Events = {"the end is near": (np.arange(steps) >= steps - SOON) & seen.terminated}
    for name, side in (("right", 1), ("left", -1)):
        found[f"action to the {name}"] = seen.actions[:, 0].numpy() * side >= TURN
    if not task.rewards.survival:
        found["reward above 0"], found["reward below 0"] = seen.rewards > 0, seen.rewards < 0
    for kind, name in enumerate(task.objects if episode.objects is not None else ()):
        assert episode.objects is not None
        found |= _of_objects(name, episode.objects[seen.ticks, kind])
    return found


def _of_objects(name: str, masks: NDArray[np.bool_]) -> Events:
    """Events of one kind of objects from its pixels (T, 64, 64)."""
    objects = separate(masks)
    more = np.diff(objects, prepend=objects[:1]) > 0
    return {
        f"{name} in sight": objects > 0,
        f"one more {name} in sight": more,
        f"{name} near": masks.any(2).sum(1) >= NEAR,
    }


def separate(masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The number of objects in masks of their pixels (..., 64, 64): of groups of columns; overlapping ones are one."""
    columns = masks.any(-2).astype(np.int8)  # (..., 64)
    return (np.diff(columns, axis=-1, prepend=0) == 1).sum(-1)


# --- mutual information ---------------------------------------------------------------------------------


def information(weights: Tensor, event: NDArray[np.bool_], seed: int = 0) -> dict[str, float]:
    """Mutual information of the speaking component and an event, in bits, means over the dimensions.

    `weights` is (T, K, N) and `event` (T,). The baseline shifts the event in time, round the end, by a random number of
    steps: it then has the same frequency and duration, but nothing to do with M. `p` is the share of shifts with at
    least as much information.
    """
    speaks = torch.nn.functional.one_hot(weights.argmax(1), weights.shape[1]).double()  # (T, N, K)
    happens = torch.from_numpy(event).double()
    shifts = np.random.default_rng(seed).integers(1, max(2, len(event)), SHUFFLES)
    shifted = torch.stack([happens, *(happens.roll(int(shift)) for shift in shifts)])  # (1 + S, T)
    both = torch.einsum("st,tnk->snk", shifted, speaks) / len(event)  # p(event, component)
    found = _bits(both, speaks.mean(0), shifted.mean(1)).mean(1)  # (1 + S,)
    shuffled = found[1:]
    return {
        "share": float(happens.mean()), "bits": float(found[0]), "shuffled": float(shuffled.mean()),
        "shuffled_p95": float(shuffled.quantile(0.95)), "p": float((shuffled >= found[0] - 1e-12).double().mean()),
    }  # fmt: skip


def _bits(both: Tensor, component: Tensor, event: Tensor) -> Tensor:
    """Mutual information (S, N) from p(event, component) (S, N, K), p(component) (N, K) and p(event) (S,)."""
    joint = torch.stack([both, component - both])  # with the event, and without it
    chance = torch.stack([event, 1 - event])[..., None, None] * component
    terms = torch.where(joint > 1e-15, joint * (joint / chance.clamp(min=1e-300)).log2(), 0.0)
    return terms.sum((0, 3))


def speakers(weights: Tensor, event: NDArray[np.bool_]) -> dict[str, list[float]]:
    """Share of the dimensions and steps in which each component speaks, (K,), with the event and without it."""
    speaks = torch.nn.functional.one_hot(weights.argmax(1), weights.shape[1]).float().mean(1).numpy()  # (T, K)
    found = {"with": speaks[event], "without": speaks[~event]}
    return {name: [round(float(share), 3) for share in rows.mean(0)] for name, rows in found.items() if len(rows)}


# --- dreams without some components ---------------------------------------------------------------------


def subsets(mixtures: int) -> dict[str, list[int]]:
    """All components, each left out, and each alone: name -> the components that are drawn."""
    everything = list(range(mixtures))
    found = {"all": everything}
    if mixtures > 1:
        found |= {f"without {k}": [other for other in everything if other != k] for k in everything}
        found |= {f"{k} alone": [k] for k in everything}
    return found


def lifetimes(world: WorldModel, policy: Policy, dreams: int, temperature: float) -> list[dict[str, Any]]:
    """Returns of a policy in dreams that draw only some components, the same random numbers for each of them.

    `steps` is the mean length of a dream; `ended`, in survival games, the share that ended before the limit of ticks.
    """
    rows = []
    for name, components in subsets(world.config.memory.mixtures).items():
        some = world.with_components(components)
        played = dream_episodes(some, policy, dreams, temperature, UNSEEN_DREAMS)
        row = {"components": name, "steps": played.steps / dreams} | to_json(Score.of(played.returns[0]))
        if world.task.rewards.survival:
            row["ended"] = float((played.returns < world.task.timing.tick_limit).mean())
        rows.append(row)
    return rows


# --- the picture ----------------------------------------------------------------------------------------


def picture(seen: Watched, dimensions: dict[str, Tensor], frames: int = 12) -> str:
    """Mixture weights over an episode, a film strip under them, and the end marked.

    `dimensions` has the weights (T, K) of each panel by its title.
    """
    steps = np.arange(len(seen.frames))
    with matplotlib.rc_context(STYLE):
        figure = Figure((9, 1.3 * len(dimensions) + 1.2), layout="constrained")
        panels = figure.subplots(len(dimensions) + 1, 1)
        for axes, (title, weights) in zip(panels, dimensions.items(), strict=False):
            labels = [str(k) for k in range(weights.shape[1])]
            axes.stackplot(steps, weights.T.numpy(), labels=labels, alpha=0.8, lw=0)
            axes.set(xlim=(0, len(steps) - 1), ylim=(0, 1), yticks=(0, 1))
            axes.set_title(title, loc="left")
            if seen.terminated:
                axes.axvline(len(steps) - 1, color="red", lw=3)
        at = np.linspace(0, len(steps) - 1, frames).astype(int)
        panels[-1].imshow(strip(seen.frames[at]), extent=(0, len(steps) - 1, 0, 1), aspect="auto")
        panels[-1].set(yticks=(), xlabel=f"step{'; the red line is the end' * seen.terminated}")
        panels[-1].grid(visible=False)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", title="component")
        return svg(figure)
