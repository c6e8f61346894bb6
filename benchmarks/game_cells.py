"""The cells of the table of `benchmarks.games`: what each measures, and the types of its results."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.count_frames import FOLDER, counted
from benchmarks.game_list import Game
from experiments.pixel_ppo import PixelJob, PixelScore, PixelTraining
from training.acting.policies import Constant, OpenLoopPolicy, random_policy
from training.acting.rollout import play
from training.infra.pool import Workers, run_jobs
from training.infra.records import from_json, read_result, write_result
from training.judging.baselines import Baseline
from training.judging.battery import open_loop_battery
from training.judging.scoring import TEST_SEEDS, VALIDATION_SEEDS, Score
from wm_envs.files import JsonObject
from wm_envs.games.base import FRAME_SHAPE, Frame, Task
from wm_envs.games.gym_env.actions import ActionCodec
from wm_envs.games.gym_env.game import MODULES, GymGame
from wm_envs.games.registry import get_task
from wm_envs.seeds import COLLECTION

ROOT = Path(__file__).parents[1]
TILE = 8  # episodes of a job
POLL = 1.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of the table, to be measured."""

    game: Game
    minutes: int
    folder: Path  # for the files of the cell
    frames: int = 0  # for PPO on the pixels; 0: as many as the run used
    episodes: int = 100  # on the test seeds
    validate_episodes: int = 24
    checkpoints: int = 10
    seed: int = 0
    workers: int = 0  # 0: one per core
    run_words: tuple[str, ...] = ()  # more options of `run`: a row with them is not of the default options


# --- the run ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class RunCell:
    """A run with default options: the figures of its best world and its controller."""

    real: Score  # on the test seeds
    dream: Score
    spearman: float
    relative_error: float
    policies: int  # of the fidelity
    doctor: str  # its first FIX; "" if nothing is to be fixed
    minutes: float
    peak_gib: float  # of all processes of the run together
    frames: dict[str, int]  # of the game, by what they were played for (see count_frames.KINDS)

    @property
    def used(self) -> int:
        """The frames that the run learned from or chose by: all but those of the test episodes."""
        return sum(self.frames.values()) - self.frames["test"]


@dataclass(frozen=True)
class Usage:
    """What a command took, over all times that it was started."""

    seconds: float = 0.0
    peak_bytes: int = 0


def run_cell(cell: Cell) -> RunCell:
    """Do `run --env`, or go on with it, and ask `doctor` about its world."""
    run = cell.folder / f"run-{cell.minutes}"
    words = [*cell.game.words, "--run", str(run), "--minutes", str(cell.minutes), "--seed", str(cell.seed)]
    workers = ["--workers", str(cell.workers)] if cell.workers else []
    episodes = ["--evaluate.episodes", str(cell.episodes)]
    counts, used = cell.folder / f"run-{cell.minutes}-frames", cell.folder / f"run-{cell.minutes}-usage.json"
    command = training("run", *words, *episodes, *workers, *cell.run_words, "--json")
    environment = {MODULES: "benchmarks.count_frames", FOLDER: str(counts.resolve())}
    log = cell.folder / f"run-{cell.minutes}.log"
    watch(command, environment, log, used)
    results: JsonObject = json.loads(re.findall(r"^{.*}$", log.read_text(), re.MULTILINE)[-1])
    best = results[f"round {results['best round']}"]
    usage, learned = read_result(Usage, used), best.get("ppo") or best["evolve"]
    return RunCell(
        real=from_json(Score, results["evaluate"], log),
        dream=from_json(Score, learned["dream"], log),
        spearman=best["fidelity"]["spearman"],
        relative_error=best["fidelity"]["relative_error"],
        policies=len(best["fidelity"]["policies"]),
        doctor=first_fix(results["world"], cell),
        minutes=usage.seconds / 60,
        peak_gib=usage.peak_bytes / 2**30,
        frames=counted(counts),
    )


def training(*words: str) -> list[str]:
    """A command of `python -m training`."""
    return [sys.executable, "-m", "training", *words]


def watch(command: Sequence[str], environment: dict[str, str], log: Path, used: Path) -> None:
    """Run a command, with all that it says in `log`, and add to `used` what it takes.

    Raises `RuntimeError` with its last line if it fails.
    """
    before = read_result(Usage, used) if used.exists() else Usage()
    peak, started = before.peak_bytes, time.monotonic()
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with log.open("a") as said:
        process = subprocess.Popen(
            command, stdout=said, stderr=subprocess.STDOUT, env=os.environ | {"PYTHONPATH": paths} | environment
        )
        try:
            while process.poll() is None:
                peak = max(peak, tree_bytes(process.pid))
                write_result(used, Usage(before.seconds + time.monotonic() - started, peak))
                time.sleep(POLL)
        finally:
            process.terminate()
            process.wait()
    write_result(used, Usage(before.seconds + time.monotonic() - started, peak))
    if process.returncode:
        lines = log.read_text().strip().splitlines()
        raise RuntimeError(lines[-1] if lines else f"exit status {process.returncode}")


def tree_bytes(process: int) -> int:
    """The memory of a process and all that it started; what they share is counted once, where the system tells."""
    total = 0
    try:
        parent = psutil.Process(process)
        for each in (parent, *parent.children(recursive=True)):
            try:
                memory = each.memory_full_info()
                total += getattr(memory, "pss", memory.rss)
            except psutil.Error:  # it has just ended
                continue
    except psutil.Error:
        pass
    return total


def first_fix(world: str, cell: Cell) -> str:
    """The first finding of `doctor` that needs a fix; "" without one."""
    module = cell.game.env.rpartition(":")[0]
    done = subprocess.run(
        training("doctor", "--world", world, *(["--workers", str(cell.workers)] if cell.workers else [])),
        capture_output=True, text=True, env=os.environ | {MODULES: module},
    )  # fmt: skip
    fixes = re.findall(r"^ *FIX  (.*)$", done.stdout, re.MULTILINE)
    if done.returncode and not fixes:
        return f"failed: {done.stderr.strip().splitlines()[-1]}"
    return fixes[0].removeprefix(f"{world}: ") if fixes else ""


# --- policies that see nothing --------------------------------------------------------------------------


class BlindGame(GymGame):
    """A game that draws nothing, for policies that see nothing."""

    def _frame(self, observation: Any) -> Frame:
        self._shape = FRAME_SHAPE
        return np.zeros(FRAME_SHAPE, np.uint8)


class BlindJob(NamedTuple):
    """Some episodes of a policy."""

    task: str
    policy: OpenLoopPolicy
    seeds: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class BaselinesCell:
    """Policies that see nothing; the best ones are chosen on the validation seeds."""

    random: Baseline
    constant: Baseline
    script: Baseline
    minutes: float


def baselines_cell(cell: Cell) -> BaselinesCell:
    """Random play, the best constant action, and the best script of the battery, which includes both."""
    started, task, workers = time.monotonic(), cell.game.task, Workers(cell.workers)
    policies = open_loop_battery(task)
    validated = blind_returns(task, policies, VALIDATION_SEEDS, cell.validate_episodes, workers)
    best = lambda those: max(those, key=lambda policy: validated[policy.name].mean())  # noqa: E731
    constant = best([policy for policy in policies if isinstance(policy, Constant)])
    chosen = {"random": random_policy(task), "constant": constant, "script": best(policies)}
    returns = blind_returns(task, list(dict.fromkeys(chosen.values())), TEST_SEEDS, cell.episodes, workers)
    scores = {
        kind: Baseline(policy=_named(each, task), score=Score.of(returns[each.name])) for kind, each in chosen.items()
    }
    return BaselinesCell(**scores, minutes=(time.monotonic() - started) / 60)


def _named(policy: OpenLoopPolicy, task: Task) -> str:
    """A policy for readers: a numbered action by its number."""
    numbered = isinstance(policy, Constant) and isinstance(task.actions.own, ActionCodec) and task.actions.own.sizes
    return f"action {policy.action}" if numbered else policy.name


def blind_returns(
    task: Task, policies: Sequence[OpenLoopPolicy], first_seed: int, episodes: int, workers: Workers
) -> dict[str, NDArray[np.float64]]:
    """The returns (episodes,) of policies by name, in the order of their seeds."""
    seeds = range(first_seed, first_seed + episodes)
    tiles = [tuple(seeds[at : at + TILE]) for at in range(0, episodes, TILE)]
    jobs = [BlindJob(task.name, policy, tile) for policy in policies for tile in tiles]
    played: dict[str, dict[int, float]] = {policy.name: {} for policy in policies}
    for job, returns in run_jobs(play_blind, jobs, workers):
        played[job.policy.name] |= dict(zip(job.seeds, returns, strict=True))
    return {name: np.array([by_seed[seed] for seed in seeds]) for name, by_seed in played.items()}


def play_blind(job: BlindJob) -> list[float]:
    """The returns of a job."""
    task, game, returns = get_task(job.task), BlindGame(job.task), []
    try:
        for seed in job.seeds:
            game.reset(seed)
            plan = job.policy.plan(task, seed, frame_skip=1)
            returns.append(sum(tick.reward for _, tick in play(game, task, plan)))
    finally:
        game.close()
    return returns


# --- PPO on the pixels ----------------------------------------------------------------------------------


def pixels_cell(cell: Cell, times: int = 1) -> PixelScore:
    """PPO with `times` as many frames as the run used."""
    job = PixelJob(
        task=cell.game.task.name, frames=times * frames_of(cell), skip=cell.game.skip, checkpoints=cell.checkpoints,
        validate_episodes=cell.validate_episodes, episodes=cell.episodes, seed=cell.seed, workers=cell.workers,
        seeds=COLLECTION,  # it learns from games of the same kind of seeds as the run
    )  # fmt: skip
    return PixelTraining(job, cell.folder / f"pixels-{times}x-{cell.minutes}").run()


def frames_of(cell: Cell) -> int:
    """The frames that are given, or that the run of the same row used; raises `RuntimeError` without it."""
    if cell.frames:
        return cell.frames
    path = cell.folder / f"run-{cell.minutes}.json"
    result = json.loads(path.read_text()).get("result") if path.exists() else None
    if not result:
        raise RuntimeError("how many frames? Do the cell 'run' first, or give --frames")
    return from_json(RunCell, result, path).used


CELLS = {
    "run": run_cell,
    "baselines": baselines_cell,
    "pixels": pixels_cell,
    "pixels-10x": lambda cell: pixels_cell(cell, 10),
}
KINDS: dict[str, Any] = {"run": RunCell, "baselines": BaselinesCell, "pixels": PixelScore, "pixels-10x": PixelScore}
