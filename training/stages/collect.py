"""Play the real game at random, or with trained controllers, and store the episodes.

The paper holds a random action for 1-10 ticks. Such a player hardly moves, and an M that is trained on its play cannot
predict long moves. So every episode here holds actions at one of several scales (`RandomPlay.holds`), and half of the
episodes never idle. In any other environment, an episode is made of habits: some wait and tap, some hold, some mix.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from training.acting.recording import controller_episodes, open_kwargs, random_episode
from training.acting.rollout import TILE, random_frames
from training.config.base import FLAT, Config, Count, Natural, Probability, Text, Words
from training.config.commands import Command as BaseCommand
from training.config.commands import InGame, Machine, Seeded, check_plain
from training.data.episode_store import PARTS_A_ROUND, Episode, part_path, read_part, write_part
from training.data.recorded import EPISODES_A_PART, MINARI, NPZ, Recording
from training.infra.packages import check_game
from training.infra.pool import run_jobs
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


class CollectConfig(Config):
    """What is recorded."""

    frames: Count = Field(2_000_000, description="frames to record in this round")
    objects: bool = Field(False, description="also record where the game's objects are, for `vision --objects`")
    from_npz: Text = Field("", description="take the episodes of a folder of .npz files, as others record them")
    from_minari: Text = Field("", description="take those of a Minari dataset: its id or folder")
    part_frames: Count = Field(16_384, description="frames in one part of the store")
    sampled: Probability = Field(
        0.0, description="share of the controllers' episodes whose actions are drawn from their probabilities"
    )

    @property
    def recording(self) -> Recording | None:
        """What somebody else recorded, instead of play."""
        if self.from_npz:
            return Recording(NPZ, self.from_npz)
        return Recording(MINARI, self.from_minari) if self.from_minari else None

    def count_parts(self) -> int:
        """The number of parts of the store."""
        recording = self.recording
        return -(-recording.count() // EPISODES_A_PART) if recording else -(-self.frames // self.part_frames)


class Command(BaseCommand, Seeded, Machine, InGame):
    """Record episodes in the store of the run: random play, or the play of --controllers."""

    round: Natural = Field(0, description="round of the run")
    controllers: Words = Field((), description="players that take turns: NAME, or WORLD_FOLDER:NAME")
    world: Text = Field("", description="world of these controllers (default: that of the latest round)")
    config: Annotated[CollectConfig, FLAT] = CollectConfig()


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
    sampled: float = 0.0


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
        tile, together = 0, min(TILE, -(-job.frames // task.timing.tick_limit))  # games, which may all be long
        shift = job.index if together < TILE else 0  # small parts have different kinds of games
        while recorded() < job.frames:
            player = job.players[(job.index + tile) % len(job.players)]
            seeds, number = [first + len(episodes) + env for env in range(together)], shift + len(episodes)
            episodes += controller_episodes(*player, job.seed, seeds, job.objects, job.sampled, number)
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


def main(command: Command) -> Collected:
    """Record the missing parts of this round."""
    task, run = command.game, command.run_folder
    check_game(task)
    for part in sorted(run.rollouts.glob("part-*.zarr"))[:1]:
        read_part(part, task.name)  # a store has one game
    players = tuple(_player(command, entry, task) for entry in command.controllers)
    if command.config.objects and not task.objects:
        expected = f"a game that knows its objects, which {short_name(task.name)} does not"
        raise InvalidOption("objects", True, expected, "omit it")
    with file_lock(run.collect_lock):
        if task.name not in TASKS and not run.game.exists():
            preview(task, run.preview)
            write_json(run.game, {"task": task.name})
        return _record(command, task, players)


def _player(command: Command, entry: str, task: Task) -> tuple[str, str]:
    """World and name of a controller that plays; raises the errors of one that cannot, before any work."""
    folder, _, name = entry.rpartition(":")
    world = find_folder(folder or command.world or command.run_folder.world_round().world)
    check_controller(world, check_plain(name, "controllers"), "controllers")
    read_controller(world, name)
    plays = load_world(world).task.name
    if plays != task.name:
        expected, fix = f"controllers for {short_name(task.name)}", f"give the game {short_name(plays)}"
        raise InvalidOption("controllers", entry, expected, fix)
    return str(world), name


def preview(task: Task, path: Path, count: int = 8) -> None:
    """Write what V will see: frames of a random episode, side by side, before anything is recorded."""
    game = task.open()
    try:
        frames = np.stack(list(random_frames(game, task, seed=0)))
    finally:
        game.close()
    save_strip(path, frames[np.linspace(0, len(frames) - 1, count).astype(int)])


def missing_parts(run: RunFolder, number: int, config: CollectConfig) -> list[int]:
    """Indices of the parts of round `number` that are not there yet."""
    first = number * PARTS_A_ROUND
    return [at for at in range(first, first + config.count_parts()) if not part_path(run.rollouts, at).exists()]


def _record(command: Command, task: Task, players: tuple[tuple[str, str], ...]) -> Collected:
    run, config = command.run_folder, command.config
    parts, size = config.count_parts(), min(config.frames, config.part_frames)
    shared = (size, command.seed, command.round, players, config.objects, config.recording, config.sampled)
    jobs = [PartJob(run.rollouts, task.name, index, *shared) for index in missing_parts(run, command.round, config)]
    recorded = 0
    with Progress("collect", parts * size, run.round(command.round).logs, "frames") as progress:
        progress.skip((parts - len(jobs)) * size)
        for _, frames in run_jobs(record_part, jobs, command.pool):
            recorded += frames
            progress.update(size)
    return Collected(parts=parts, recorded=recorded, folder=str(run.rollouts))
