"""What limits a small budget: frames, V, M or C. One of them is small at a time, and the game judges.

    python -m experiments.budgets RUN --out budgets

RUN has a store of CarRacing or Take Cover (random play in round 0, play of controllers in round 1). Each row learns V,
M and C from a part of it, in a run folder of its own in OUT/seed-0, and plays 100 validation episodes. The same command
goes on where it stopped; `--rows` picks some. OUT/seed-0/budgets.md is the table.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.scripts import number_or_word, run_script, script_parser
from training.data.episode_store import PARTS_A_ROUND, Part, RolloutStore
from training.infra.folders import link_folder
from training.infra.records import from_json, read_record, to_json, write_result
from training.infra.run_folder import RunFolder
from training.judging.fidelity import Agreement
from training.judging.memory_metrics import MemoryMetrics
from training.judging.scoring import Score
from training.judging.vision_metrics import VisionMetrics
from training.stages import evaluate, evolve, fidelity, memory, ppo, vision
from wm_envs.files import write_text
from wm_envs.seeds import EXPERIMENTS

HELD_OUT_PARTS = 2  # of each kind of play, at most
SEEN: dict[str, Any] = {"frames": 300_000}
OF_M: dict[str, Any] = {"hidden": 256, "kind": "autoregressive", "observed": "modelled", "learning_rate": 2e-3}
OF_PPO: dict[str, Any] = {"total_timesteps": 1_500_000, "batch_size": 1024}
OF_EVOLUTION: dict[str, Any] = {"steps": 1_500_000}
OF_GAME: dict[str, dict[str, dict[str, Any]]] = {
    "takecover": {
        "V": {"kind": "column-vae", "motion": 20.0, "scale": 3.0, "kl_floor": 40.0, "batches": 1_000},
        "M": {"clock": True, "latent_dropout": 0.1, "steps": 2_000_000},
        "C": {"temperature": 1.0, "temperature_high": 1.4},
    },
    "carracing": {
        "V": {"motion": 0.0, "batches": 1_000, "batch_size": 64},
        "M": {"latent_dropout": 0.25, "steps": 4_000_000},
        "C": {"temperature": 0.8, "temperature_high": 1.4},
        "PPO": {"gamma": 0.99},
        "fidelity": {"episodes": 8},
    },
}
# What a row changes: of the store, V, M, and of PPO or of CMA-ES.
ROWS: dict[str, dict[str, dict[str, Any]]] = {
    "all": {},
    "50,000 frames": {"store": {"frames": 50_000}},
    "100,000 frames": {"store": {"frames": 100_000}},
    "1,000,000 frames": {"store": {"frames": 1_000_000}},
    "2,000,000 frames": {"store": {"frames": 2_000_000}},
    "V: 100 batches": {"V": {"batches": 100}},
    "V: 300 batches": {"V": {"batches": 300}},
    "V: 3,000 batches": {"V": {"batches": 3_000}},
    "V: moving pixels weigh no more": {"V": {"motion": 0.0}},
    "V: moving pixels weigh more": {"V": {"motion": 20.0}},
    "V: collapsed on purpose": {"V": {"scale": 0.003, "kl_floor": 0.01}},
    "M: 0.1M steps": {"M": {"steps": 100_000}},
    "M: 1M steps": {"M": {"steps": 1_000_000}},
    "M: 10M steps": {"M": {"steps": 10_000_000}},
    "M: the paper's kind": {"M": {"kind": "mdn-rnn", "clock": False, "observed": "all"}},
    "C: PPO, 0.3M steps": {"PPO": {"total_timesteps": 300_000}},
    "C: PPO, 5M steps": {"PPO": {"total_timesteps": 5_000_000}},
    "C: CMA-ES, 64 candidates, 16 dreams each": {"CMA-ES": {"population": 64, "rollouts": 16}},
    "C: CMA-ES, 64 candidates, 1 dream each": {"CMA-ES": {"population": 64, "rollouts": 1}},
    "C: CMA-ES, 16 candidates, 16 dreams each": {"CMA-ES": {"population": 16, "rollouts": 16}},
    "C: CMA-ES, 16 candidates, 8 dreams each": {"CMA-ES": {"population": 16, "rollouts": 8}},
    "C: CMA-ES, 8 candidates, 16 dreams each": {"CMA-ES": {"population": 8, "rollouts": 16}},
}  # fmt: skip
HEADER_OF_PLAY = "M: NLL (floor), with other actions | scripts: distance, Spearman | C in dreams | C in the game"


@dataclass(frozen=True, kw_only=True)
class Played:
    """The results of M and C."""

    memory: MemoryMetrics
    fidelity: Agreement
    dream: Score
    game: Score


@dataclass(frozen=True, kw_only=True)
class Row(Played):
    """The results of V, M and C."""

    vision: VisionMetrics


class TooSmall(Exception):
    """The store has less play than a row needs."""


def part_of_store(source: Path, run: Path, frames: int) -> None:
    """Parts of the store, as hard links: `frames` to learn from, and the same held-out parts for every row.

    A fifth of the frames to learn from is random play, the rest is play of controllers. Raises `TooSmall` for a store
    that is too small.
    """
    learnt, held_out = RolloutStore(source / "rollouts").split()
    chosen = [part for first in (0, PARTS_A_ROUND) for part in _of_round(held_out, first)[:HELD_OUT_PARTS]]
    for first, share in ((0, 0.2), (PARTS_A_ROUND, 0.8)):
        parts = _of_round(learnt, first)
        before = np.cumsum([0, *(part.size for part in parts)])
        if before[-1] < share * frames:
            kind = "play of controllers" if first else "random play"
            raise TooSmall(f"{share * frames:.0f} frames of {kind} are needed; {source} has {before[-1]}")
        chosen += [part for part, size in zip(parts, before[:-1], strict=True) if size < share * frames]
    for part in chosen:
        link_folder(part.path, run / "rollouts" / part.path.name)


def _of_round(parts: list[Part], first: int) -> list[Part]:
    return [part for part in parts if first <= part.index < first + PARTS_A_ROUND]


def folder_name(what: str) -> str:
    """Letters and digits of a text, for a folder."""
    return "".join(c if c.isalnum() else "-" for c in what)


def play(row: str, given: argparse.Namespace) -> Row:
    """Learn a row and play it; rows with the same store and V share that V, and so it is with M."""
    changed = ROWS[row]
    task = RolloutStore(given.run / "rollouts").parts[0].attributes["task"]
    seen, of_v = SEEN | changed.get("store", {}), OF_GAME[task]["V"] | changed.get("V", {})
    with_v = given.out / folder_name(f"V {json.dumps([seen, of_v])}")
    with_m = given.out / folder_name(f"M {json.dumps([seen, of_v, changed.get('M', {})])}")
    run = given.out / folder_name(row)
    part_of_store(given.run, with_v, seen["frames"])
    vision_metrics = vision.main(vision.Command.flat(run=with_v, task=task, seed=given.seed, **of_v))
    link_folder(with_v, with_m)
    learn_memory(with_m, task, given.seed, changed)
    link_folder(with_m, run)
    return Row(vision=vision_metrics, **vars(learn_and_play(run, task, given.seed, given, changed)))


def learn_memory(run: Path, task: str, seed: int, changed: dict[str, Any]) -> MemoryMetrics:
    """Learn M, or say what it reached."""
    return memory.main(
        memory.Command.flat(run=run, task=task, seed=seed, **OF_M | OF_GAME[task]["M"] | changed.get("M", {}))
    )


def learn_and_play(run: Path, task: str, seed: int, given: argparse.Namespace, changed: dict[str, Any]) -> Played:
    """Learn M and C from the store and the V of a run, and measure dreams and play."""
    of_game = OF_GAME[task]
    metrics = learn_memory(run, task, seed, changed)
    world = str(RunFolder(run).round(0).world)
    report = fidelity.main(
        fidelity.Command.flat(
            world=world, controllers="none", workers=given.workers, cache=str(given.out / "real.json"),
            **of_game.get("fidelity", {}),
        )
    )  # fmt: skip
    where: dict[str, Any] = {
        "run": run, "round": 0, "name": "controller", "workers": given.workers, "seed": seed,
        "validate_episodes": 0, **of_game["C"],
    }  # fmt: skip
    if "CMA-ES" in changed:
        card = evolve.main(evolve.Command.flat(**where, **OF_EVOLUTION | changed["CMA-ES"]))
    else:
        card = ppo.main(ppo.Command.flat(**where, **OF_PPO | of_game.get("PPO", {}) | changed.get("PPO", {})))
    score = evaluate.main(
        evaluate.Command.flat(world=world, episodes=given.episodes, first_seed=EXPERIMENTS.start, workers=given.workers)
    )
    agreement = Agreement(spearman=report.spearman, log_ratio=report.log_ratio, relative_error=report.relative_error)
    assert card.dream is not None
    return Played(memory=metrics, fidelity=agreement, dream=card.dream, game=score)


def cells(name: str, row: Row) -> str:
    """A row of the table."""
    vision_cell = f"{row.vision.moving_unexplained:.0%}; {row.vision.active}"
    return f"| {' | '.join([name, vision_cell, *cells_of_play(row)])} |"


def cells_of_play(played: Played) -> list[str]:
    """The cells of the results of `learn_and_play`."""
    memory, (distance,) = played.memory, played.fidelity.distances.values()
    return [
        f"{memory.nll:.2f} ({memory.floor:.2f}), {memory.shuffled:.2f}",
        f"{distance:.2f}, {played.fidelity.spearman:.2f}",
        f"{played.dream.mean:.0f}",
        f"{played.game} (+- {played.game.interval:.0f})",
    ]


def main() -> None:
    parser = script_parser("budgets", __doc__)
    parser.add_argument("run", type=Path, help="a run folder with a store")
    parser.add_argument("--out", type=Path, default=Path("budgets"))
    parser.add_argument(
        "--rows", nargs="+", default=list(ROWS), choices=list(ROWS), metavar="ROW", help="; ".join(ROWS)
    )
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--workers", type=number_or_word, default="cores", help="worker processes; cores: one per core")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.out /= f"seed-{given.seed}"
    results = given.out / "results.json"
    known = read_record(results) if results.exists() else {}
    for row in given.rows:
        if row not in known:
            try:
                known[row] = to_json(play(row, given))
            except TooSmall as error:
                print(f"{row}: left out, {error}")
                continue
            write_result(results, known)
        print(cells(row, from_json(Row, known[row], results)), flush=True)
    lines = [
        f"| budget | V leaves out, where it moves; active | {HEADER_OF_PLAY} |",
        f"|{'---|' * 6}",
        *(cells(row, from_json(Row, known[row], results)) for row in ROWS if row in known),
    ]
    write_text(given.out / "budgets.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    run_script(main)
