"""Play the real game at random, or with trained controllers, and store the episodes.

The paper holds a random action for 1-10 ticks. Such a player hardly moves, and an M that is trained on its play cannot
predict long moves. So every episode here holds actions at one of several scales (`RandomPlay.holds`), and half of the
episodes never idle.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.acting.recording import controller_episodes, open_kwargs, random_episode
from training.acting.rollout import TILE, random_frames
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
from wm_envs.errors import InvalidOption
from wm_envs.files import file_lock, write_json
from wm_envs.games.base import Task
from wm_envs.games.registry import TASKS, get_task, short_name
from wm_envs.seeds import COLLECTION, LATER_COLLECTION
from wm_envs.worlds.bundle import load_world, read_controller

SEEDS_A_PART = 1_000


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
            episodes += controller_episodes(
                *player, job.seed, [first + len(episodes) + env for env in range(TILE)], job.objects
            )
            tile += 1
    else:
        game = task.open(**open_kwargs(job.objects))
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


@dataclass(frozen=True, kw_only=True)
class Collected:
    """The parts of the round in the folder of the store."""

    parts: int
    recorded: int | None  # frames that this process has recorded
    folder: str


def main(options: CollectOptions) -> Collected:
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
    game = task.open()
    try:
        frames = np.stack(list(random_frames(game, task, seed=0)))
    finally:
        game.close()
    save_strip(path, frames[np.linspace(0, len(frames) - 1, count).astype(int)])


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


def _record(run: RunFolder, players: tuple[tuple[str, str], ...], options: CollectOptions) -> Collected:
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
    return Collected(parts=parts, recorded=recorded, folder=str(run.rollouts))
