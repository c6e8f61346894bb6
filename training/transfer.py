"""The paper's table: learnt in the dream at a temperature, then played in the real game.

Beside it the baselines on the same test seeds: random play, the best open-loop policy (chosen on
validation seeds), C on z alone, and C on z and the h of an untrained M (these two bred by CMA-ES).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from training import evolve, ppo
from training.episodes import dream_episodes, real_returns
from training.evaluate import TEST_SEEDS, bred
from training.evolve import UNSEEN_DREAMS, VALIDATION_SEEDS, EvolveOptions, summary
from training.options import count, positive, stage_option
from training.policies import Policy, Script, actor
from training.pool import Workers
from wm_envs.files import write_json, write_text
from wm_envs.memory import MDNRNN
from wm_envs.spaces import one_of
from wm_envs.tasks import Task
from wm_envs.world_model import WorldModel
from wm_envs.worlds import load_controller, load_world, save_controller, save_world

OPEN_LOOPS = (60, 80, 100, 120, 140)  # ticks between changes of side


@dataclass
class TransferOptions:
    """One controller a temperature learns in RUN/world; all are played in dream and game."""

    run: Path = stage_option("runs/takecover", "run folder with a world")
    temperatures: tuple[float, ...] = stage_option((0.1, 0.5, 1.0, 1.15, 1.3), "temperatures to breed at")
    learner: str = stage_option("ppo", "how C learns: ppo, or evolve (CMA-ES, as in the paper)")
    ppo_steps: int = stage_option(1_000_000, "steps of dreams for PPO, each")
    units: tuple[int, ...] = stage_option((64,), "tanh units of C's hidden layers with PPO (none: linear)")
    generations: int = stage_option(30, "generations of CMA-ES, each")
    population: int = stage_option(64, "candidates a generation")
    rollouts: int = stage_option(16, "dreams each")
    validate_every: int = stage_option(10, "generations between validations in the real game")
    validate_episodes: int = stage_option(48, "real episodes in a validation")
    episodes: int = stage_option(100, "episodes of every entry, dream and real")
    ablations: bool = stage_option(True, "breed the z-only and untrained-M baselines too")
    workers: int = stage_option(0, "processes for the real game (0: one a core)")
    ray: str = stage_option("", "do it on a Ray cluster instead: its address, auto, or local to start one here")
    seed: int = stage_option(0, "of the searches")


def main(options: TransferOptions) -> dict[str, Any]:
    """Rows of the table; also written to RUN/transfer.json and RUN/transfer.md."""
    for name in ("generations", "episodes", "rollouts", "validate_every"):
        count(name, getattr(options, name))
    for temperature in options.temperatures:
        positive("temperatures", temperature)
    one_of("learner", options.learner, ("ppo", "evolve"))
    run = Path(options.run)
    world = load_world(run / "world")
    workers = Workers(options.workers, options.ray)
    seeds = [TEST_SEEDS + i for i in range(options.episodes)]
    rows = []
    for temperature in options.temperatures:
        name = f"tau-{temperature:g}"
        _learn(options, name, temperature)
        rows.append(
            _row(options, f"tau {temperature:g}", run / "world", bred(run / "world", name), temperature, seeds, workers)
        )
    rows += _baselines(options, world, run / "world", seeds, workers)
    if options.ablations:
        evolve.main(_search(options, "z-only", 1.0, observation="z"))
        rows.append(_row(options, "C on z only", run / "world", bred(run / "world", "z-only"), 1.0, seeds, workers))
        rows.append(_untrained(options, world, run, seeds, workers))
    write_json(run / "transfer.json", {"rows": rows})
    write_text(run / "transfer.md", as_markdown(rows))
    print(as_markdown(rows))
    return {"rows": rows}


def _learn(options: TransferOptions, name: str, temperature: float) -> None:
    """A controller that learns at one temperature, by PPO or by CMA-ES."""
    if options.learner == "evolve":
        evolve.main(_search(options, name, temperature))
        return
    ppo.main(ppo.PpoOptions(
        run=options.run, name=name, steps=options.ppo_steps, units=tuple(options.units), temperature=temperature,
        temperature_high=0.0,
        validate_episodes=options.validate_episodes, workers=options.workers, ray=options.ray, seed=options.seed,
    ))  # fmt: skip


def _search(options: TransferOptions, name: str, temperature: float, **changes: Any) -> EvolveOptions:
    return EvolveOptions(
        run=options.run, name=name, generations=options.generations, population=options.population,
        rollouts=options.rollouts, temperature=temperature, validate_every=options.validate_every,
        validate_episodes=options.validate_episodes, workers=options.workers, ray=options.ray, seed=options.seed,
        **changes,
    )  # fmt: skip


def _row(
    options: TransferOptions,
    name: str,
    folder: Path,
    policy: Policy,
    temperature: float | None,
    seeds: list[int],
    workers: Workers,
) -> dict[str, Any]:
    """One entry: real returns on the test seeds and, with a temperature, dreams at it."""
    row: dict[str, Any] = {"policy": name, "real": summary(real_returns(folder, [policy], seeds, workers)[policy.name])}
    if temperature is not None:
        world = load_world(folder)
        act, observation = actor(policy, world.task, [], world.config.frame_skip)
        dreams = dream_episodes(world, act, observation, 1, options.episodes, temperature, UNSEEN_DREAMS + 1)
        row["dream"] = summary(dreams[0])
    return row


def _baselines(
    options: TransferOptions, world: WorldModel, folder: Path, seeds: list[int], workers: Workers
) -> list[dict[str, Any]]:
    """Random play, and the open loop that does best on the validation seeds."""
    loop = best_open_loop(world.task, folder, options.validate_episodes or 48, workers)
    chosen: list[Policy] = [Script("random", "hold", *world.task.hold_scales[0]), loop]
    return [_row(options, policy.name, folder, policy, None, seeds, workers) for policy in chosen]


def best_open_loop(task: Task, folder: Path, episodes: int, workers: Workers) -> Script:
    """The alternation that lives longest on the validation seeds."""
    loops = [Script(f"open loop, switching every {k} ticks", "alternate", k) for k in OPEN_LOOPS]
    found = real_returns(folder, list(loops), [VALIDATION_SEEDS + i for i in range(episodes)], workers)
    return max(loops, key=lambda loop: found[loop.name].mean())


def _untrained(
    options: TransferOptions, world: WorldModel, run: Path, seeds: list[int], workers: Workers
) -> dict[str, Any]:
    """C bred in the same dream, but seeing z and the h of an M that never learnt."""
    folder = run / "world-untrained"
    save_world(folder, untrained_memory(world, options.seed), {"memory": "untrained, for an ablation"})
    evolve.main(_search(options, "untrained-memory", 1.0, observer=str(folder)))
    save_controller(folder, "untrained-memory", *load_controller(run / "world", "untrained-memory"))
    policy = bred(folder, "untrained-memory")
    return _row(options, "C on z and an untrained M's h", folder, policy, None, seeds, workers)


def untrained_memory(world: WorldModel, seed: int) -> WorldModel:
    """The same V with an M that never learnt."""
    torch.manual_seed(seed)
    config = dataclasses.replace(world.config, opening=0)  # M's states after it are another M's
    return WorldModel(config, world.vision, MDNRNN(config.memory), world.first_means, world.first_logvars)


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """The table, for people: a column only where some row has something for it."""
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "policy": lambda row: row["policy"],
        "in the dream": lambda row: _spread(row["dream"]) if "dream" in row else "",
        "in the real game": lambda row: _spread(row["real"]),
        "95% interval": lambda row: "{:.0f} to {:.0f}".format(*_interval(row["real"])),
        "10th percentile": lambda row: f"{row['real']['p10']:.0f}",
        "goal reached": lambda row: f"{row['real']['finished']:.0%}" if "finished" in row["real"] else "",
    }
    cells = {name: [of(row) for row in rows] for name, of in columns.items()}
    shown = {name: values for name, values in cells.items() if any(values)}
    lines = [list(shown), ["---"] * len(shown), *zip(*shown.values(), strict=True)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _spread(value: dict[str, float]) -> str:
    return f"{value['mean']:.0f} +- {value['std']:.0f}"


def _interval(value: dict[str, float]) -> tuple[float, float]:
    return value["mean"] - value["interval"], value["mean"] + value["interval"]
