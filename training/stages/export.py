"""Write for other programs: a world as ONNX models or as a page for a browser, episodes as a Minari dataset.

    encoder.onnx, decoder.onnx   V
    begin.onnx                   the state in which a dream begins
    step.onnx                    one step of a dream: M, its draw of the latents, the reward and the end
    controllers/NAME.onnx        from the state to an action
    world.json                   sizes, limits, default temperature, and the SHA-256 of each model

The random numbers are inputs: the same ones give the same dream as in PyTorch, up to rounding.

A Minari dataset holds dreams of the world, or, with --store, the real episodes of a run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from training.config.base import Count, Positive, Text
from training.config.commands import Command as BaseCommand
from training.config.commands import Seeded, check_plain
from training.data.episode_store import RolloutStore
from training.exports.minari_dataset import RANDOM, of_dream, of_store, write_dataset
from training.exports.web import fetch_runtime, write_page
from training.infra.folders import new_folder
from training.infra.packages import check_minari, check_onnx
from training.infra.run_folder import RunFolder
from training.infra.worlds import check_controller, find_folder, fingerprint
from wm_envs.errors import InvalidOption
from wm_envs.files import JsonObject, file_lock, read_json, write_bytes, write_json
from wm_envs.games.registry import get_task
from wm_envs.models.world_model import WorldModel
from wm_envs.worlds.bundle import load_world, read_config, read_controller

FORMAT, VERSION = "wm-envs-onnx", 1
ABOUT = "world.json"
TARGETS = ("onnx", "web", "minari")  # options that name a folder


class Command(BaseCommand, Seeded):
    """Write a world as ONNX models or as a page that plays it in a browser, or episodes as a Minari dataset."""

    world: str = Field("takecover", description="name or folder of the world")
    onnx: Text = Field("", description="folder for the models; an earlier export in it is replaced")
    web: Text = Field("", description="folder for the page; an earlier export in it is replaced")
    minari: Text = Field("", description="folder for a Minari dataset of pictures; an earlier export in it is replaced")
    store: Text = Field("", description="for --minari: a run folder, whose real episodes are written, not dreams")
    episodes: Count = Field(100, description="for --minari: number of dreams")
    controller: Text = Field(
        "", description=f"for --minari: who plays in the dreams, or {RANDOM} (default: the first one)"
    )
    temperature: Positive | Literal["world"] = Field(
        "world", description="for --minari: temperature of the dreams; world: its own"
    )

    def check_targets(self) -> None:
        """Raises `InvalidOption` unless a folder is given, and each is new, empty, or holds an earlier export."""
        targets = {name: getattr(self, name) for name in TARGETS if getattr(self, name)}
        if not targets:
            raise InvalidOption("onnx", "nothing", "the folder to write", "give --onnx exported, or --web page")
        if self.store and not self.minari:
            raise InvalidOption(
                "store", self.store, "nothing without --minari", "give --minari, or --world for a world"
            )
        taken: list[Path] = []
        for name, target in targets.items():
            if Path(target).absolute() in taken:
                raise InvalidOption(name, target, "another folder for each export", f"give another --{name}")
            taken.append(Path(target).absolute())
            check_target(name, Path(target))


def check_target(name: str, folder: Path) -> None:
    """Raises `InvalidOption` if replacing `folder` would remove something other than an export."""
    try:
        free = not folder.exists() or not any(folder.iterdir())
        free = free or read_json(folder / ABOUT).get("format") == FORMAT
    except (OSError, ValueError):
        free = False
    if not free:
        expected = "a folder that is new, empty, or holds an earlier export"
        raise InvalidOption(name, folder, expected, f"give another --{name}")


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A folder that is written; of a Minari dataset also its id and its number of episodes."""

    folder: str
    megabytes: float
    id: str | None = None
    episodes: int | None = None


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """What is written, and the controllers that go with the models."""

    controllers: tuple[str, ...] | None = None
    onnx: Exported | None = None
    web: Exported | None = None
    minari: Exported | None = None


def main(command: Command) -> ExportResult:
    """Write the models, the page or the dataset."""
    command.check_targets()
    result = export_world(command) if command.onnx or command.web else ExportResult()
    return dataclasses.replace(result, minari=export_episodes(command)) if command.minari else result


def export_world(command: Command) -> ExportResult:
    """Write the models, the page, or both."""
    source = find_folder(command.world)
    names = [check_plain(name, "controllers") for name in read_config(source)["controllers"]]
    check_onnx()
    runtime = fetch_runtime() if command.web else {}
    world = load_world(source)
    models = make_models(world, source, names)
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in models.items()}
    about = description(world, names) | {"source_sha256": fingerprint(source), "files": hashes}
    onnx = web = None
    if command.onnx:
        onnx = _replace(Path(command.onnx), about, lambda made: write_models(made, models))
    if command.web:
        played = {name: data for name, data in models.items() if name != "encoder.onnx"}
        page = lambda made: write_page(made, runtime | _file(made / ABOUT) | played, world.task.title)  # noqa: E731
        web = _replace(Path(command.web), about, page)
    return ExportResult(controllers=tuple(names), onnx=onnx, web=web)


def export_episodes(command: Command) -> Exported:
    """Write the real episodes of a run, or dreams of a world, as a Minari dataset."""
    check_minari()
    if command.store:
        store = RolloutStore(RunFolder(Path(command.store)).rollouts)
        task, kind = get_task(str(store.parts[0].attributes["task"])), "game"
        count, episodes = sum(len(part.lengths) for part in store.parts), of_store(store, task)
        about = f"Real episodes of {task.title}, a step a tick"
    else:
        folder = find_folder(command.world)
        world, kind = load_world(folder, share=True), "dream"  # the dreams share these weights
        task = world.task
        temperature = world.config.temperature if command.temperature == "world" else command.temperature
        player = command.controller or next(iter(read_config(folder)["controllers"]), RANDOM)
        if player != RANDOM:
            check_controller(folder, player)
        count, episodes = command.episodes, of_dream(folder, player, command.episodes, temperature, command.seed)
        how = f"at temperature {temperature:g}, {world.config.frame_skip} ticks a step, by {player}"
        about = f"Dreams of {task.title} {how}"
    name = f"wm-envs/{re.sub('[^a-z0-9]+', '-', task.title.lower()).strip('-')}-{kind}-v0"
    write = lambda made: write_dataset(made, task, name, about, episodes)  # noqa: E731
    exported = _replace(Path(command.minari), {"format": FORMAT, "version": VERSION, "dataset": name}, write)
    return dataclasses.replace(exported, id=name, episodes=count)


def _file(path: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes()}


def _replace(target: Path, about: JsonObject, write: Callable[[Path], None]) -> Exported:
    """Make the folder `target` anew, with world.json and what `write` adds; returns it and its size."""
    with file_lock(target), new_folder(target) as made:
        write_json(made / ABOUT, about)
        write(made)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    return Exported(folder=str(target), megabytes=size / 1e6)


def make_models(world: WorldModel, source: Path, controllers: list[str]) -> dict[str, bytes]:
    """All models of a world by file name, with the `controllers` of the bundle `source`."""
    from training.exports.graphs import Begin, Decoder, Driver, Encoder, Step, as_onnx

    parts = {"encoder": Encoder(world), "decoder": Decoder(world), "begin": Begin(world), "step": Step(world)}
    parts |= {f"controllers/{name}": Driver(world, *read_controller(source, name)) for name in controllers}
    return {f"{name}.onnx": as_onnx(part) for name, part in parts.items()}


def write_models(folder: Path, models: dict[str, bytes]) -> None:
    """Write each model as a file."""
    for name, data in models.items():
        (folder / name).parent.mkdir(exist_ok=True)
        write_bytes(folder / name, data)


def description(world: WorldModel, controllers: list[str]) -> JsonObject:
    """What a program that runs the models must know."""
    config, task = world.config, world.task
    return {
        "format": FORMAT,
        "version": VERSION,
        "task": task.name,
        "title": task.title,
        "state": list(world.state_shapes(1)),
        "latent": config.memory.latent,
        "action_low": task.actions.low,
        "action_high": task.actions.high,
        "discrete_actions": task.actions.discrete,
        "keyboard_actions": [task.actions.of_keys(right, up) for up in (-1, 0, 1) for right in (-1, 0, 1)],
        "initial_states": len(world.initial_means),
        "temperature": config.temperature,
        "frame_skip": config.frame_skip,
        "tick_limit": task.timing.tick_limit,
        "ticks_per_second": task.timing.ticks_per_second,
        "controllers": controllers,
    }
