"""Controllers that cheat their dream, shown: what they earn there, what in the game, and what is different.

python -m experiments.cheating --out cheating          # the controllers tau-* of the shipped Take Cover

A controller that learned at a low temperature finds places where M forgets to shoot. Each controller plays the dream at
the temperature where it learned, the dream at the world's own temperature, and the game. Fireballs are counted in the
same way everywhere: in V's pictures, as groups of columns with a bright yellow pixel. `cheating.png` shows the first
cheater in its dream and in the game, and `cheating.gif` both of them moving.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from experiments.mixtures import separate
from experiments.scripts import run_script, script_parser
from training.acting.policies import Policy, load_policy
from training.acting.rollout import TILE, as_returns, max_steps, rollout
from training.judging.scoring import UNSEEN_DREAMS, VALIDATION_SEEDS
from training.reporting.pictures import save_strip
from wm_envs.envs.dreams import Dreams
from wm_envs.envs.engine import Engine
from wm_envs.envs.latent_games import LatentGames
from wm_envs.models.world_model import WorldModel
from wm_envs.worlds.bundle import load_world, read_config, resolve

FILM, EVERY = 12, 16  # pictures in the strip, and the steps from one to the next


class Seen(NamedTuple):
    """What happened in some episodes of one controller."""

    score: float  # mean ticks survived
    born: float  # fireballs that appear in 100 ticks
    flying: float  # fireballs in sight, mean of the steps
    frames: NDArray[np.uint8]  # (T, 64, 64, 3) V's pictures of the first episode


def fireballs(frames: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The number of fireballs in each of V's pictures (..., 64, 64, 3): groups of columns with a yellow pixel."""
    return separate((frames[..., 1] > 150) & (frames[..., 1] > frames[..., 2] + 40.0))


def play(engine: Engine, policy: Policy) -> tuple[NDArray[np.float64], list[tuple[NDArray, NDArray]]]:
    """Returns (B,), and for every step V's pictures of the running episodes and their numbers, (b, 64, 64, 3), (b,)."""
    seen: list[tuple[NDArray, NDArray]] = []
    model = engine.world

    def note(step: int) -> None:
        running = torch.from_numpy(engine.running)
        seen.append((model.decode(engine.state.latents[running]).numpy(), engine.envs[running].numpy()))

    played = rollout(engine, *policy.actor(engine, range(len(engine.running))), max_steps(model), note)
    return as_returns(model.task, played.returns), seen


def count(numbers: NDArray[np.int64]) -> tuple[int, int, int]:
    """Births, the sum of what is in sight, and steps, of numbers of fireballs (T, B), which are -1 after the end.

    A fireball that shows, or is gone, for one step only is not counted.
    """
    calm = np.median([numbers[:-2], numbers[1:-1], numbers[2:]], axis=0)
    running = numbers[3:] >= 0  # then so are the three steps before
    births = int((np.diff(calm, axis=0).clip(0) * running).sum())
    return births, int((calm[1:] * running).sum()), int(running.sum())


def watch(engines: Iterable[Engine], policy: Policy) -> Seen:
    """Play and close all engines, and count."""
    scores, totals, film, skip = [], np.zeros(3), None, 1
    for engine in engines:
        try:
            returns, seen = play(engine, policy)
        finally:
            engine.close()
        numbers = np.full((len(seen), len(returns)), -1)
        for step, (frames, envs) in enumerate(seen):
            numbers[step, envs] = fireballs(frames)
        scores.append(returns)
        totals += count(numbers)
        film = np.stack([frames[0] for frames, envs in seen if envs[0] == 0]) if film is None else film
        skip = engine.world.config.frame_skip
    assert film is not None, "at least one episode"
    births, in_sight, steps = totals
    steps = max(steps, 1)
    return Seen(float(np.concatenate(scores).mean()), 100 * births / (steps * skip), in_sight / steps, film)


def dreams(world: WorldModel, episodes: int, temperature: float) -> Iterator[Engine]:
    """A batch of dreams that no training uses."""
    engine = Dreams(world, episodes, temperature)
    engine.seed(UNSEEN_DREAMS + 5)
    engine.reset()
    yield engine


def games(world: WorldModel, episodes: int) -> Iterator[Engine]:
    """Real games on validation seeds, a few at once."""
    for first in range(0, episodes, TILE):
        many = min(TILE, episodes - first)
        engine = LatentGames(world, [world.task.open() for _ in range(many)])
        engine.reset(np.ones(many, bool), [VALIDATION_SEEDS + first + i for i in range(many)])
        yield engine


def save_film(folder: Path, dream: Seen, game: Seen) -> None:
    """The first episode in the dream above the first in the game, as a strip and moving."""
    length = min(len(dream.frames), len(game.frames), FILM * EVERY)
    both = np.concatenate([dream.frames[:length], game.frames[:length]], axis=1)  # (T, 128, 64, 3)
    save_strip(folder / "cheating.png", both[::EVERY][:FILM])
    twice = [Image.fromarray(frame).resize((128, 256), Image.Resampling.NEAREST).quantize(32) for frame in both[::2]]
    twice[0].save(folder / "cheating.gif", save_all=True, append_images=twice[1:], duration=160, loop=0)


def main() -> None:
    """Print the table, and write the pictures."""
    parser = script_parser("cheating", __doc__)
    parser.add_argument("--world", default="takecover")
    parser.add_argument("--controllers", nargs="+", help="names (default: tau-*)")
    parser.add_argument("episodes", nargs="?", type=int, default=32, help="in each dream and in the game")
    parser.add_argument("--out", type=Path, default=Path("cheating"))
    options = parser.parse_args()
    folder = resolve(options.world)
    names = options.controllers or [name for name in read_config(folder)["controllers"] if name.startswith("tau-")]
    if not names or not all(name.startswith("tau-") for name in names):
        parser.error(f"the controllers must be called tau-TEMPERATURE, not {names}")
    options.out.mkdir(parents=True, exist_ok=True)
    world = load_world(folder)
    own = world.config.temperature
    places = f"its dream | at {own:g} | game"
    print(f"| controller | ticks: {places} | born: {places} | in sight: {places} |")
    print("|---" * 10 + "|")
    for number, name in enumerate(names):
        policy = load_policy(folder, name)
        at_home = watch(dreams(world, options.episodes, float(name.removeprefix("tau-"))), policy)
        usual = watch(dreams(world, options.episodes, own), policy)
        real = watch(games(world, options.episodes), policy)
        three = (at_home, usual, real)
        cells = [f"{seen.score:.0f}" for seen in three] + [f"{seen.born:.1f}" for seen in three]
        print(f"| {name} | {' | '.join(cells + [f'{seen.flying:.2f}' for seen in three])} |", flush=True)
        if number == 0:
            save_film(options.out, at_home, real)


if __name__ == "__main__":
    run_script(main)
