"""Can curiosity replace the reward when play is collected? Four players of CarRacing, with the shipped V.

    python -m experiments.curiosity --out curiosity

M learns from random play. Then four players record about as many frames more: random play, C that learned in M's dream
("own": what `run` does in its next round), a player that PPO trained in the game on M's surprise ("curious"), and one
that PPO trained on the game's reward ("paid"). M learns from each store from nothing, C learns in its dream, and the
game judges. The same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from experiments.scripts import number_or_word, run_script, script_parser
from training.data.episode_store import PARTS_A_ROUND, RolloutStore
from training.infra.checkpoint import save_checkpoint
from training.infra.folders import link_folder
from training.infra.records import from_json, read_record, to_json, write_result
from training.infra.run_folder import RunFolder
from training.judging.memory_metrics import MemoryMetrics
from training.judging.scoring import Card, Score
from training.stages import collect, evaluate, fidelity, memory, ppo
from wm_envs.seeds import EXPERIMENTS
from wm_envs.worlds.bundle import load_world

PLAYERS = ("random", "own", "curious", "paid")
HEADER = "| who plays | reward of 1,000 ticks of its play | M: NLL, with other actions | relative error of scripts " \
    "| C in its dream | C in the game | 95% |"  # fmt: skip
DREAMS: dict[str, Any] = {"temperature": 0.8, "temperature_high": 1.4, "gamma": 0.99, "batch_size": 1024}


@dataclass(frozen=True, kw_only=True)
class Row:
    """The results of a player's play."""

    paid: float  # reward of 1,000 ticks of it
    memory: MemoryMetrics
    relative_error: float  # of scripts, dream against game
    dream: Score
    game: Score


def shipped_vision(run: Path, world: str) -> None:
    """The V of a world as that of round 0."""
    path = RunFolder(run).round(0).vision
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        vision = load_world(world).vision
        save_checkpoint(path, vision, torch.optim.Adam(vision.parameters()), 1)


def learn(run: Path, number: int, given: argparse.Namespace, steps: int) -> MemoryMetrics:
    """M of a round."""
    return memory.main(
        memory.Command.flat(
            run=run, round=number, task="carracing", kind="autoregressive", hidden=256, observed="modelled",
            learning_rate=2e-3, latent_dropout=0.3, steps=steps, workers=given.workers,
        )
    )  # fmt: skip


def play(player: str, given: argparse.Namespace) -> Row:
    """Record the second half of the frames, learn M and C, and measure them."""
    run, start = given.out / player, given.out / "start"
    link_folder(start, run)
    collect.main(
        collect.Command.flat(
            run=run, task="carracing", round=1, frames=given.frames, seed=5, workers=given.workers,
            controllers=() if player == "random" else (f"{start}/round-0/world:{player}",),
        )
    )  # fmt: skip
    parts = [part for part in RolloutStore(run / "rollouts").parts if part.index >= PARTS_A_ROUND]
    paid = sum(float(part.rewards.sum()) for part in parts if part.rewards is not None)
    metrics = learn(run, 1, given, given.steps)
    world = str(RunFolder(run).round(1).world)
    report = fidelity.main(
        fidelity.Command.flat(
            world=world, controllers="none", episodes=8, cache=str(given.out / "real.json"), workers=given.workers
        )
    )
    card = learn_to_drive(run, 1, "controller", given)
    score = evaluate.main(
        evaluate.Command.flat(world=world, episodes=given.episodes, first_seed=EXPERIMENTS.start, workers=given.workers)
    )
    paid_a_tick = paid / sum(part.size for part in parts)
    assert report.relative_error is not None and card.dream is not None
    return Row(
        paid=1000 * paid_a_tick, memory=metrics, relative_error=report.relative_error, dream=card.dream, game=score
    )


def learn_to_drive(run: Path, number: int, name: str, given: argparse.Namespace) -> Card:
    """C of a round, from its dream alone."""
    return ppo.main(
        ppo.Command.flat(
            run=run, round=number, name=name, total_timesteps=given.dream_steps, validate_episodes=0,
            workers=given.workers, **DREAMS,
        )
    )  # fmt: skip


def start(given: argparse.Namespace) -> None:
    """Random play, M of it, and the three players that learn."""
    run = given.out / "start"
    shipped_vision(run, "carracing")
    collect.main(collect.Command.flat(run=run, task="carracing", frames=given.frames, workers=given.workers))
    learn(run, 0, given, given.steps // 3)
    learn_to_drive(run, 0, "own", given)
    for name in ("curious", "paid"):
        config = ppo.IN_THE_GAME.replace(
            total_timesteps=given.real_steps, gamma=0.99, validate_episodes=4, validate_every=24
        )
        place = {"run": run, "round": 0, "name": name, "workers": given.workers, "train_in": "game"}
        ppo.main(ppo.Command(**place, curious=name == "curious", temperature=1.0, temperature_high=1.0, config=config))


def cells(player: str, row: Row) -> str:
    """A row of the table."""
    shown = [
        player,
        f"{row.paid:.0f}",
        f"{row.memory.nll:.3f}, {row.memory.shuffled:.3f}",
        f"{row.relative_error:.2f}",
        f"{row.dream.mean:.0f}",
        f"{row.game}",
        f"+- {row.game.interval:.0f}",
    ]
    return f"| {' | '.join(shown)} |"


def main() -> None:
    parser = script_parser("curiosity", __doc__)
    parser.add_argument("--out", type=Path, default=Path("curiosity"))
    parser.add_argument("--frames", type=int, default=200_000, help="of random play, and of each player")
    parser.add_argument("--real-steps", type=int, default=150_000, help="of PPO in the game, for each player")
    parser.add_argument("--steps", type=int, default=4_000_000, help="of M")
    parser.add_argument("--dream-steps", type=int, default=2_000_000, help="of C")
    parser.add_argument("--episodes", type=int, default=48)
    parser.add_argument("--workers", type=number_or_word, default="cores", help="worker processes; cores: one per core")
    given = parser.parse_args()
    results = given.out / "results.json"
    known = read_record(results) if results.exists() else {}
    start(given)
    print(HEADER)
    for player in PLAYERS:
        if player not in known:
            known[player] = to_json(play(player, given))
            write_result(results, known)
        print(cells(player, from_json(Row, known[player], results)), flush=True)


if __name__ == "__main__":
    run_script(main)
