"""Play the real game at random, or with trained controllers, and store the episodes.

The paper holds a random action for 1-10 ticks. Such a player hardly moves, and an M that is trained on its play cannot
predict long moves. So every episode here holds actions at one of several scales (`RandomPlay.holds`), and half of the
episodes never idle.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.acting.policies import Act, HeldActions
from training.acting.rollout import max_steps, rollout
from training.data.episode_store import PARTS_A_ROUND, Episode, part_path, read_part, write_part
from training.data.recorded import EPISODES_A_PART, MINARI, NPZ, Recording
from training.infra.option_groups import EnvOptions, ModelRoundOptions, SeedOption, WorkerOptions, plain_name
from training.infra.options import check_options, stage_option
from training.infra.packages import check_game
from training.infra.pool import Workers, run_jobs
from training.infra.progress import Progress
from training.infra.run_folder import RunFolder
from training.infra.worlds import check_controller, find_folder
from training.reporting.pictures import save_strip
from wm_envs.envs.latent_games import LatentGames
from wm_envs.errors import InvalidOption
from wm_envs.files import file_lock, write_json
from wm_envs.games.base import Array, Frame, Game, Task, Tick
from wm_envs.games.registry import TASKS, get_task, short_name
from wm_envs.models.controller import ControllerConfig, act
from wm_envs.seeds import COLLECTION, LATER_COLLECTION
from wm_envs.worlds.bundle import load_world, read_controller

SEEDS_A_PART = 1_000
TILE = 8  # games with controllers that share a batch of V
STRAY = (0.0, 0.0, 0.02, 0.05)  # probability per step that a controller's game starts to hold a random action


@dataclass
class CollectOptions(EnvOptions, SeedOption, WorkerOptions, ModelRoundOptions):
    """Record episodes in the store of the run: random play, or the play of --controllers."""

    frames: int = stage_option(2_000_000, "frames to record in this round", identity=True, minimum=1)
    controllers: tuple[str, ...] = stage_option((), "players that take turns: NAME, or WORLD_FOLDER:NAME")
    world: str = stage_option("", "world of these controllers (default: that of the latest round)")
    objects: bool = stage_option(
        False, "also record where the game's objects are, for `vision --objects`", identity=True
    )
    from_npz: str = stage_option(
        "", "take the episodes of a folder of .npz files, as others record them", identity=True
    )
    from_minari: str = stage_option("", "take those of a Minari dataset: its id or folder", identity=True)
    part_frames: int = stage_option(16_384, "frames in one part of the store", identity=True, minimum=1)


@dataclass(frozen=True)
class PartJob:
    """Everything that one part depends on."""

    folder: Path
    task: str
    index: int
    frames: int
    seed: int
    round: int
    players: tuple[tuple[str, str], ...] = ()  # (world, controller), who play in turns; none means random play
    objects: bool = False
    recording: Recording | None = None  # what somebody else recorded, instead of play


def random_episode(game: Game, task: Task, seed: int, rng: np.random.Generator, objects: bool = False) -> Episode:
    """Play one episode at random, tick by tick; with `objects`, a `GameWithObjects` says where they are."""
    act = HeldActions(task, rng)
    frames, actions, rewards, places = [game.reset(seed)], [], [], []
    while True:
        if objects:
            places.append(game.objects())  # type: ignore[attr-defined]
        actions.append(task.actions.to_game(act()))
        tick = game.advance(actions[-1], 1)
        rewards.append(tick.reward)
        if tick.terminated or len(actions) == task.timing.tick_limit:
            where = np.stack(places) if objects else None
            return Episode(np.stack(frames), np.stack(actions), tick.terminated, _rewards(task, rewards), where)
        assert tick.frame is not None
        frames.append(tick.frame)


def _rewards(task: Task, rewards: list[float]) -> Array | None:
    return None if task.rewards.survival else np.array(rewards, np.float32)


def own_episodes(folder: str, controller: str, seed: int, seeds: list[int], objects: bool = False) -> list[Episode]:
    """Play a controller of the world in `folder` on a tile of seeds. All games but the first two sometimes hold a
    random action for a while, so that M learns what follows from mistakes."""
    world = load_world(folder)
    config, parameters = read_controller(folder, controller)
    episodes = [Episode([], [], False, [], [] if objects else None) for _ in seeds]  # type: ignore[arg-type]

    def record(env: int, action: Array, tick: Tick) -> None:
        episode = episodes[env]
        episode.actions.append(action)  # type: ignore[attr-defined]
        episode.rewards.append(tick.reward)  # type: ignore[union-attr]
        episode.terminated = tick.terminated
        if tick.frame is not None and len(episode.actions) < world.task.timing.tick_limit:
            see(env, tick.frame)

    def see(env: int, frame: Frame) -> None:
        episodes[env].frames.append(frame)  # type: ignore[attr-defined]
        if objects:
            episodes[env].objects.append(games.games[env].objects())  # type: ignore[union-attr, attr-defined]

    games = LatentGames(world, [world.task.open(**opened_with(objects)) for _ in seeds], record)
    try:
        games.reset(np.ones(len(seeds), bool), seeds)
        for env, frame in enumerate(games.frames()):
            see(env, frame)
        rngs = [np.random.default_rng((seed, each)) for each in seeds]
        rollout(games, straying(config, parameters, world.task, rngs), config.observation, max_steps(world))
    finally:
        games.close()
    return [
        Episode(
            np.stack(list(e.frames)), np.stack(list(e.actions)), e.terminated,
            _rewards(world.task, e.rewards), None if e.objects is None else np.stack(list(e.objects)),  # type: ignore[arg-type]
        )
        for e in episodes
    ]  # fmt: skip


def opened_with(objects: bool) -> dict[str, Any]:
    """The keywords of `Task.open`."""
    return {"objects": True} if objects else {}


def straying(config: ControllerConfig, parameters: Tensor, task: Task, rngs: list[np.random.Generator]) -> Act:
    """A controller that now and then holds a random action for 1 to 15 steps, in environment i with the chance
    STRAY[i] a step."""
    choices = torch.tensor(task.actions.discrete)
    holds: list[tuple[int, Tensor]] = [(0, choices[0]) for _ in rngs]

    def act_and_stray(features: Tensor, envs: Tensor, step: int) -> Tensor:
        actions = act(config, parameters, features)
        for env, rng in enumerate(rngs):
            left, action = holds[env]
            if left == 0 and rng.random() < STRAY[env % len(STRAY)]:
                left, action = int(rng.integers(1, 16)), choices[rng.integers(len(choices))]
            if left > 0:
                actions[env] = action
            holds[env] = (max(0, left - 1), action)
        return actions

    return act_and_stray


def first_seed(part: int) -> int:
    """The seed of the first episode of a part, given its index."""
    if part < PARTS_A_ROUND:
        return COLLECTION[part * SEEDS_A_PART]
    return LATER_COLLECTION[(part - PARTS_A_ROUND) * SEEDS_A_PART]


def record_part(job: PartJob) -> int:
    """Play until the part is full, write it, and return the number of its frames."""
    task = get_task(job.task)
    episodes: list[Episode] = []

    def recorded() -> int:
        return sum(len(episode.actions) for episode in episodes)

    first = first_seed(job.index)
    if job.recording:
        episodes = job.recording.read(job.index % PARTS_A_ROUND, task)
    elif job.players:
        tile = 0
        while recorded() < job.frames:
            player = job.players[(job.index + tile) % len(job.players)]
            episodes += own_episodes(
                *player, job.seed, [first + len(episodes) + env for env in range(TILE)], job.objects
            )
            tile += 1
    else:
        game = task.open(**opened_with(job.objects))
        try:
            while recorded() < job.frames:
                seed = first + len(episodes)
                episodes.append(random_episode(game, task, seed, np.random.default_rng((job.seed, seed)), job.objects))
        finally:
            game.close()
    behaviour = ",".join(name for _, name in job.players) or (job.recording.kind if job.recording else "random")
    attributes = {"task": job.task, "seed": job.seed, "round": job.round, "behaviour": behaviour}
    write_part(job.folder, job.index, episodes, attributes)
    return recorded()


def main(options: CollectOptions) -> dict[str, Any]:
    """Record the missing parts of this round."""
    check_options(options)
    options = options.described()
    run = RunFolder(options.run)
    check_game(get_task(options.task))
    for part in sorted(run.rollouts.glob("part-*.zarr"))[:1]:
        read_part(part, options.task)  # a store has one game
    players = []
    for entry in options.controllers:
        folder, _, name = entry.rpartition(":")
        world = find_folder(folder or options.world or run.world_round().world)
        players.append((str(world), plain_name("controllers", name)))
        check_controller(world, name, "controllers")
        read_controller(*players[-1])  # raises before any work
        plays = load_world(players[-1][0]).task.name
        if plays != options.task:
            expected, fix = f"controllers for {short_name(options.task)}", f"give the game {short_name(plays)}"
            raise InvalidOption("controllers", entry, expected, fix)
    if options.objects and not get_task(options.task).objects:
        expected = f"a game that knows its objects, which {short_name(options.task)} does not"
        raise InvalidOption("objects", True, expected, "omit it")
    with file_lock(run.collect_lock):
        if options.task not in TASKS and not run.game.exists():
            preview(get_task(options.task), run.preview)
            write_json(run.game, {"task": options.task})
        return _record(run, tuple(players), options)


def preview(task: Task, path: Path, count: int = 8) -> None:
    """Write what V will see: frames of a random episode, side by side, before anything is recorded."""
    game, act = task.open(), HeldActions(task, np.random.default_rng(0))
    try:
        frames = [game.reset(0)]
        for _ in range(task.timing.tick_limit):
            tick = game.advance(task.actions.to_game(act()), 1)
            if tick.frame is None:
                break
            frames.append(tick.frame)
    finally:
        game.close()
    chosen = np.linspace(0, len(frames) - 1, count).astype(int)
    save_strip(path, np.stack(frames)[chosen])


def _recording(options: CollectOptions) -> Recording | None:
    """The recording that the options name."""
    if options.from_npz:
        return Recording(NPZ, options.from_npz)
    return Recording(MINARI, options.from_minari) if options.from_minari else None


def _count_parts(options: CollectOptions) -> int:
    recording = _recording(options)
    return -(-recording.count() // EPISODES_A_PART) if recording else -(-options.frames // options.part_frames)


def missing_parts(options: CollectOptions) -> list[int]:
    """Indices of the parts of the round that are not there yet."""
    folder, first = RunFolder(options.run).rollouts, options.round * PARTS_A_ROUND
    return [at for at in range(first, first + _count_parts(options)) if not part_path(folder, at).exists()]


def _record(run: RunFolder, players: tuple[tuple[str, str], ...], options: CollectOptions) -> dict[str, Any]:
    parts, size = _count_parts(options), min(options.frames, options.part_frames)
    jobs = [
        PartJob(
            run.rollouts, options.task, index, size, options.seed, options.round, players, options.objects,
            _recording(options),
        )
        for index in missing_parts(options)
    ]  # fmt: skip
    recorded = 0
    with Progress("collect", parts * size, run.round(options.round).logs, "frames") as progress:
        progress.skip((parts - len(jobs)) * size)
        for _, frames in run_jobs(record_part, jobs, Workers(options.workers, options.ray)):
            recorded += frames
            progress.update(size)
    return {"parts": parts, "recorded": recorded, "folder": str(run.rollouts)}
