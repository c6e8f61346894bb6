"""Inside M: which component of its mixtures speaks when, and what dreams are without some of them.

M watches recorded episodes. For every event (the end, turns, rewards, and objects that `collect --objects` recorded) it
says what the speaking component tells about it, beside the same events shifted in time. Then a policy plays dreams in
which components are switched off, as `gym.make("WMDream-v0", components=[0, 2])` makes them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from training.acting.policies import load_policy, random_policy
from training.config.base import Count, Natural, Positive, Text
from training.config.commands import Command as BaseCommand
from training.config.commands import InRun
from training.data.episode_store import RolloutStore
from training.infra.worlds import check_controller, find_folder
from training.judging.replay import Watched, clearest_dimensions, longest_episode, read_episode, watch
from wm_envs.errors import InvalidOption
from wm_envs.files import write_text
from wm_envs.models.vision.loss import active_latents
from wm_envs.models.world_model import WorldModel
from wm_envs.worlds.bundle import load_world, read_config

if TYPE_CHECKING:
    from experiments.mixtures import Events

PANELS = 3  # latent dimensions in the picture


class Command(BaseCommand, InRun):
    """Show which mixture component of M is active when, from the recorded episodes of a run."""

    world: Text = Field("", description="a shipped world's name or a folder (default: the latest of the run)")
    episodes: Count = Field(16, description="recorded episodes, held-out ones")
    controller: str = Field("random", description="who plays the dreams: the name of a controller, or 'random'")
    dreams: Natural = Field(64, description="dreams for each choice of components")
    temperature: Positive = Field(1.0, description="temperature of the dreams")
    to: Text = Field("", description="file for the picture (default: components.svg in the run folder)")


def main(command: Command) -> dict[str, Any]:
    """Information and speakers of every event, lifetimes of dreams by their components, and the path of the picture."""
    from experiments import mixtures  # of the extra 'train', which --help does not need

    run = command.run_folder
    run.check_exists()
    folder = find_folder(command.world) if command.world else run.world_round(-1).world
    if command.controller != "random":
        check_controller(folder, command.controller)
    world = load_world(folder)
    _check_components(world)
    policy = random_policy(world.task) if command.controller == "random" else load_policy(folder, command.controller)
    store = RolloutStore(run.rollouts, read_config(folder)["world"]["task"])
    longest, weights, happened = _watch(world, store, command.episodes)
    rows = [
        {"event": name} | mixtures.information(weights, event) | mixtures.speakers(weights, event)
        for name, event in happened.items()
        if event.any() and not event.all()
    ]
    target = Path(command.to) if command.to else run.path / "components.svg"
    write_text(target, mixtures.picture(longest, _panels(world, longest)))
    dreams = mixtures.lifetimes(world, policy, command.dreams, command.temperature) if command.dreams else []
    _show(rows, dreams)
    return {"picture": str(target), "steps": len(weights), "events": rows, "dreams": dreams}


def _check_components(world: WorldModel) -> None:
    """Raises `InvalidOption` for an M with one component, which always speaks."""
    if world.config.memory.mixtures < 2:
        raise InvalidOption(
            "world", "an M with 1 component", "one with several", "train one with `memory --mixtures 5`, for example"
        )


def _watch(world: WorldModel, store: RolloutStore, episodes: int) -> tuple[Watched, Tensor, Events]:
    """The longest episode as M saw it; of all episodes, the weights (T, K, N) of the clear dimensions, and events."""
    from experiments.mixtures import events

    held = store.split()[1]
    chosen = [(part, number) for part in held[::-1] for number in range(len(part.lengths))][:episodes]
    longest = watch(world, read_episode(held[-1], longest_episode(held[-1], ended=True)))
    weights, happened = [], []
    for part, number in chosen:
        episode = read_episode(part, number)
        seen = watch(world, episode)
        weights.append(seen.weights[:, :, _clear(world, seen)])
        happened.append(events(world.task, episode, seen))
    names = set.intersection(*(set(each) for each in happened))
    joined = {name: np.concatenate([each[name] for each in happened]) for name in happened[0] if name in names}
    return longest, torch.cat(weights), joined


def _clear(world: WorldModel, seen: Watched) -> list[int]:
    """The columns of `Watched.weights` that belong to dimensions that V uses; one mixture for all has one column."""
    if seen.weights.shape[2] == 1:
        return [0]
    active = active_latents(world.initial_means, world.initial_logvars)
    used = [at for at, dimension in enumerate(world.memory.modelled) if dimension in active]
    return used or list(range(seen.weights.shape[2]))


def _panels(world: WorldModel, seen: Watched) -> dict[str, Tensor]:
    """What the picture shows: the mean over the dimensions, and the clearest of them."""
    if seen.weights.shape[2] == 1:
        return {"weights of the components of all latents": seen.weights[:, :, 0]}
    panels = {"mean over the latents": seen.weights[:, :, _clear(world, seen)].mean(2)}
    for dimension in clearest_dimensions(world, seen.frames, PANELS):
        panels[f"latent {dimension}"] = seen.weights[:, :, world.memory.modelled.index(dimension)]
    return panels


def _show(rows: list[dict[str, Any]], dreams: list[dict[str, Any]]) -> None:
    for row in rows:
        shown = f"{row['event']:>28}  {row['bits']:.4f} bits (shifted {row['shuffled']:.4f}, p {row['p']:.2f})"
        print(f"{shown}  with {row['with']}  without {row['without']}")
    for row in dreams:
        ended = f"  ended {row['ended']:.0%}" if "ended" in row else ""
        print(f"{row['components']:>28}  {row['mean']:7.0f} +- {row['interval']:4.0f}  {row['steps']:.0f} steps{ended}")
