"""What is installed here, and whether worlds are intact, realistic and not exploited.

For each world: whether it loads and its hashes hold, whether V uses its latent dimensions, and whether a controller is
far better in dreams than in the game. If the game is installed, it is played now: whether V draws what moves, whether
scripted policies score in dreams as in the game, and whether the controller is better in dreams than these.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from tyro.conf import arg

from training.acting.policies import Policy, load_policy
from training.acting.rollout import dream_episodes, random_frames, real_returns
from training.config.base import MAY_CHANGE, Natural, Text
from training.config.commands import Command as BaseCommand
from training.config.commands import InRun, Machine
from training.data.frame_batches import FrameBlocks
from training.infra.packages import TRAIN, missing
from training.infra.pool import available_cores
from training.infra.worlds import find_folder
from training.judging.battery import scripts
from training.judging.run_check import CheckResult, check_run
from training.judging.scoring import UNSEEN_DREAMS, VALIDATION_SEEDS, Card, distance
from training.judging.vision_metrics import measure
from training.judging.world_card import read_cards
from wm_envs.errors import InvalidOption, Unsound, WorldModelError
from wm_envs.games.base import Task
from wm_envs.games.registry import TASKS
from wm_envs.hardware import best_device, compute_dtype
from wm_envs.models.vision.loss import active_latents
from wm_envs.models.world_model import WorldModel
from wm_envs.worlds.bundle import load_world, read_config, read_controller, shipped_worlds

EXTRAS = {  # extra -> its modules and their purpose; the extras of games are fields of their tasks
    "play": (("pygame", "PIL"), "play.py"),
    "train": (TRAIN, "all training stages"),
    "ray": (("ray",), "several machines"),
}
MIN_ACTIVE = 6  # dimensions; with fewer, V hardly distinguishes frames
EXPLOITED = 1.6  # times better in dreams than in the game
EPISODES_SEEN, FRAMES_SEEN = 5, 120  # of random play, to look at V's pictures, and the frames of each at most
MISSED = 0.5  # share of what moves that V may leave out
SCRIPTS = 4


class Finding(NamedTuple):
    """The result of one check; `fix` is empty when there is nothing to do."""

    what: str
    found: str
    fix: str = ""


class Command(BaseCommand, Machine, InRun):
    """Check this installation and one world, or all shipped worlds; with --run, the files of a run instead."""

    world: Text = Field("", description="a shipped world's name or a folder (default: all shipped)")
    run: Annotated[Path | None, MAY_CHANGE, arg(metavar="PATH", help_behavior_hint="")] = Field(
        None, description="a run folder, whose files are checked"
    )
    repair: bool = Field(False, description="with --run: set broken files aside, so that their stages make them again")
    episodes: Natural = Field(8, description="real episodes of each of six policies (0: do not play the game)")

    @model_validator(mode="after")
    def _repairs_a_run(self) -> Self:
        if self.repair and self.run is None:
            raise InvalidOption("repair", True, "false without --run", "give --run the folder of the run")
        return self


@dataclass(frozen=True)
class Diagnosis:
    """How many findings there are, and how many of them need a fix."""

    findings: int
    to_fix: int = 0


def main(command: Command) -> Diagnosis | CheckResult:
    """Print every finding; raises `Unsound` when something needs a fix, so that scripts notice."""
    if command.run is not None:
        return check_run(command.run_folder, command.repair)
    findings = []
    for finding in _all(command):
        print(f"{'FIX' if finding.fix else 'ok':>4}  {finding.what}: {finding.found}", flush=True)
        if finding.fix:
            print(f"      -> {finding.fix}")
        findings.append(finding)
    wrong = [finding for finding in findings if finding.fix]
    if wrong:
        raise Unsound(
            "doctor",
            "; ".join(finding.what for finding in wrong),
            "nothing to fix",
            "see the lines above that say FIX, the first one first: C depends on M, and M on V",
        )
    return Diagnosis(len(findings))


def _all(command: Command) -> Iterator[Finding]:
    yield from installation()
    for name in [command.world] if command.world else shipped_worlds():
        folder = find_folder(name)
        try:
            world = load_world(folder)
            controllers = list(read_config(folder)["controllers"])
            for controller in controllers:
                read_controller(folder, controller)
        except WorldModelError as error:
            yield Finding(f"{name}: bundle", str(error), "install the package again, or make the world again")
            continue
        yield Finding(f"{name}: bundle", f"loads, its hashes hold, controllers: {', '.join(controllers) or 'none'}")
        yield vision(name, world)
        # V, then M, then C: what is built on something wrong is wrong, too.
        if command.episodes and not missing(world.task.requires):
            yield pictures(name, world)
            yield from realism(name, folder, world, command)
        yield from exploitation(name, read_cards(folder))


def installation() -> Iterator[Finding]:
    """Versions, extras and the device."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("torch", "gymnasium", "numpy")]
    yield Finding("installed", f"Python {platform.python_version()}, {', '.join(versions)}")
    games = [(task.extra, (task.requires, f"the real {task.title}")) for task in TASKS.values() if task.extra]
    for extra, (modules, purpose) in [*games, *EXTRAS.items()]:
        there = "there" if not missing(modules) else f"not installed (pip install 'wm-envs[{extra}]')"
        yield Finding(f"extra {extra}, for {purpose}", there)
    device = best_device()
    kind = str(compute_dtype(device)).removeprefix("torch.")
    yield Finding("computes on", f"{device.type}, {kind}, {torch.get_num_threads()} threads, {available_cores()} cores")


def vision(name: str, world: WorldModel) -> Finding:
    """Whether V has collapsed: the number of dimensions that it uses in initial frames."""
    active = len(active_latents(world.initial_means, world.initial_logvars))
    fix = "" if active >= MIN_ACTIVE else "V has collapsed: train it longer, with a smaller KL weight or more data"
    return Finding(f"{name}: V", f"{active} of {world.config.memory.latent} latent dimensions are in use", fix)


def exploitation(name: str, cards: dict[str, Card]) -> Iterator[Finding]:
    """Whether controllers exploit the errors of M, by their validations."""
    for controller, card in cards.items():
        if card.dream and card.validation:
            dream, real = card.dream.mean, card.validation.mean
            found = f"{dream:.0f} in dreams, {real:.0f} in the game (validation seeds)"
            yield Finding(f"{name}: {controller}", found, _against_exploitation(dream, real))


def _against_exploitation(dream: float, real: float) -> str:
    fix = "it exploits its dream: train it at a higher temperature, or after a round with its own play"
    return fix if dream > EXPLOITED * max(real, 1.0) else ""


def pictures(name: str, world: WorldModel) -> Finding:
    """Whether V draws what moves in frames of random play."""
    frames, neighbours = _random_play(world.task)
    metrics = measure(world.vision, frames, neighbours) if len(frames) else None
    if not metrics or not metrics.moving_error:
        return Finding(f"{name}: pictures", "nothing moves in random play")
    missed = metrics.moving_unexplained
    fix = "V misses what moves: see --motion and --kind of vision, train it longer, or look at its pictures"
    shown = f"V leaves out {metrics.unexplained:.0%} of what differs from the mean picture, {missed:.0%} where it moves"
    return Finding(f"{name}: pictures", shown, fix if missed > MISSED else "")


def _random_play(task: Task) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Frames of short pieces of episodes, and their neighbours a moment before, both (N, 64, 64, 3)."""
    pieces = []
    game = task.open()
    try:
        for seed in range(VALIDATION_SEEDS, VALIDATION_SEEDS + EPISODES_SEEN):
            frames = islice(random_frames(game, task, seed), task.timing.burn_in, task.timing.burn_in + FRAMES_SEEN)
            pieces.append(list(frames))
    finally:
        game.close()
    lag = FrameBlocks.lag
    pairs = [pair for piece in pieces for pair in zip(piece[lag:], piece, strict=False)]
    now, before = np.array(pairs, np.uint8).reshape(-1, 2, 64, 64, 3).swapaxes(0, 1)
    return now, before


def realism(name: str, folder: Path, world: WorldModel, command: Command) -> Iterator[Finding]:
    """Four scripts and the first two controllers, in the game and in dreams at the default temperature.

    Do dreams score them as the game does? Does the first controller exploit its dreams, or has it not learned them?
    """
    there = scripts(world.task)
    battery: list[Policy] = [there[int(at)] for at in np.linspace(0, len(there) - 1, SCRIPTS)]
    # In a game with rewards all scripts score alike: only a good policy gives a spread to compare with.
    battery += [load_policy(folder, controller) for controller in list(read_config(folder)["controllers"])[:2]]
    seeds = [VALIDATION_SEEDS + i for i in range(command.episodes)]
    real = real_returns(folder, battery, seeds, command.pool)
    means = []
    for policy in battery:
        dreams = dream_episodes(world, policy, 128, world.config.temperature, UNSEEN_DREAMS)
        means.append([real[policy.name].mean(), dreams.returns.mean()])
    kind, value, limit = distance(world.task, np.array(means))
    shown = ", ".join(f"{p.name} {r:.0f} / {d:.0f}" for p, (r, d) in zip(battery, means, strict=True))
    found = f"{kind.replace('_', ' ')} {value:.2f} (game / dream: {shown})"
    fix = "M needs more, or other, rollouts; another temperature may do: see fidelity"
    yield Finding(f"{name}: dreams", found, "" if value < limit else fix)
    if len(battery) > SCRIPTS:
        controller, (played, dreamt) = battery[SCRIPTS].name, means[SCRIPTS]
        in_game, in_dreams = (max(column) for column in zip(*means[:SCRIPTS], strict=True))
        found = (
            f"{played:.4g} in the game and {dreamt:.4g} in dreams, where the best of {SCRIPTS} scripts has "
            f"{in_game:.4g} and {in_dreams:.4g}"
        )
        fix = ""
        if dreamt < in_dreams:
            fix = "C has not learned its dream: train it longer, or with another learner"
        elif played < in_game:
            fix = "what C has learned is of no use in the game: add a round with its own play, or more steps of M"
        yield Finding(f"{name}: {controller} against scripts", found, fix)
