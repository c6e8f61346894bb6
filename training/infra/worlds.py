"""Worlds and controllers as a user names them: what does not exist is refused before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from training.infra.folders import new_folder
from training.infra.run_folder import BUNDLE, RoundFolder, RunFolder
from wm_envs.errors import BrokenStore, BrokenWorld, InvalidOption, OptionsDiffer, UnknownName, did_you_mean
from wm_envs.files import file_lock, write_bytes, write_json
from wm_envs.worlds.bundle import WEIGHTS, read_config, resolve, shipped_worlds


def find_folder(world: str | Path) -> Path:
    """The folder of a world; raises `UnknownName` with the nearest name of a shipped one, `BrokenWorld` for others."""
    if not str(world):
        expected = f"one of {shipped_worlds()} or the folder of a world"
        raise InvalidOption("world", "nothing", expected, "give --world RUN/best, for example")
    try:
        return resolve(world)
    except BrokenWorld as error:
        best = RunFolder(world).best
        if not (best / BUNDLE).exists():
            raise
        raise BrokenWorld(
            error.field, error.given, error.expected, f"give {best}, the best world of this run"
        ) from error


def check_controller(folder: str | Path, name: str, option: str = "controller") -> None:
    """Raises `UnknownName` unless the world in `folder` has a controller called `name` ("": any)."""
    names = list(read_config(Path(folder))["controllers"])
    if name in names or (names and not name):
        return
    fix = f"give one of these names{did_you_mean(name, names)}" if names else "train one with `python -m training ppo`"
    expected = f"a controller of {folder}: {', '.join(names) or 'it has none'}"
    raise UnknownName(option, name, expected, fix)


def copy_world(source: Path, target: Path) -> None:
    """Copy a world with its controllers to `target`, unless it is there; raises `OptionsDiffer` for another one."""
    with file_lock(target, wait=True):
        if not (target / BUNDLE).exists():
            with new_folder(target) as made:
                for path in sorted(source.iterdir()):
                    if path.is_file() and not path.name.startswith("."):
                        write_bytes(made / path.name, path.read_bytes())
    if fingerprint(source) != fingerprint(target):
        raise OptionsDiffer("world", source, f"the world that is in {target} already", "give another --run")


def keep_best(world: Path, controller: str, best: Path) -> None:
    """Copy a world to `best`, whatever is there, with `controller` as its first, which is its default."""
    config = read_config(world)
    config["controllers"] = {controller: config["controllers"][controller]} | config["controllers"]
    if (best / BUNDLE).exists():
        known = read_config(best)
        if known == config and list(known["controllers"]) == list(config["controllers"]):
            return
    with new_folder(best) as made:
        for name in config["files"]:
            write_bytes(made / name, (world / name).read_bytes())
        write_json(made / BUNDLE, config)


def fingerprint(world: Path) -> str:
    """The hash of the weights of V and M."""
    return str(read_config(world)["files"][WEIGHTS]["sha256"])


def find_round(run: RunFolder, number: int | Literal["latest"], task: str = "") -> RoundFolder:
    """The round of a run whose world a stage uses; raises `BrokenStore` when there is no such world, and
    `InvalidOption` when it is one of another task."""
    folder = run.world_round(-1 if number == "latest" else number)
    if not folder.has_world:
        raise BrokenStore(
            "run",
            f"{run.path}, which has no world in {folder.name}",
            "a run folder with a world",
            "give --run and --round of one, or train one with `python -m training run`",
        )
    found = read_config(folder.world)["world"].get("task")
    if task and task != found:
        raise InvalidOption("task", task, f"{found}, the game of {folder.world}", f"give --task {found}")
    return folder
