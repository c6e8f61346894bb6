"""Stage check: says what in a run folder is whole, and sets aside what is not.

Every part of the store is read to its last frame, every checkpoint and cache to its last weight, every bundle with all
its controllers. Nothing is ever removed: with --repair what is broken moves to RUN/set-aside, under the
path it had, and the stage that made it makes it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.data.episode_store import CHUNK, read_part
from training.infra.checkpoint import read_tensors
from training.infra.options import stage_option
from wm_envs.errors import BrokenStore, WorldModelError
from wm_envs.files import read_json, sweep
from wm_envs.models.bundle import load_controller, load_world, read_config

ASIDE = "set-aside"


@dataclass
class CheckOptions:
    """Read all of a run folder; tell, or with --repair set aside, what is broken."""

    run: Path = stage_option("runs/takecover", "run folder")
    repair: bool = stage_option(False, "set aside what is broken, so that its stage makes it again")


def main(options: CheckOptions) -> dict[str, Any]:
    """Counts by kind and what is broken; raises `BrokenStore` when something is and is not to be repaired."""
    run = Path(options.run)
    if not run.is_dir():
        raise BrokenStore("run", run, "a run folder", "give --run the folder that the stages were given")
    for folder in [run, *(path for path in run.rglob("*") if path.is_dir() and not path.is_symlink())]:
        if folder.exists():  # not swept with the one above it
            sweep(folder)
    whole: dict[str, int] = {}
    broken: dict[str, str] = {}
    for path, kind, read in _things(run):
        try:
            read(path)
            whole[kind] = whole.get(kind, 0) + 1
        except (WorldModelError, ValueError, OSError, RecursionError) as error:
            broken[str(path.relative_to(run))] = str(error)
    for name, why in broken.items():
        print(f"broken: {name}: {why}")
    if not options.repair and broken:
        raise BrokenStore(
            "run folder", f"{run}, of which {', '.join(broken)} cannot be read", "a whole one",
            "run check --repair, which sets these aside, and then the stages that made them",
        )  # fmt: skip
    aside = {name: str(_set_aside(run, name)) for name in broken}
    return {"whole": whole, "set_aside": aside}


def _things(run: Path) -> Iterator[tuple[Path, str, Callable[[Path], Any]]]:
    """Everything that can be read by itself: its path, its kind and how to read it."""
    for path in sorted(run.rglob("*")):
        inside = path.relative_to(run).parts
        if inside[0] == ASIDE or any(name.endswith(".zarr") for name in inside[:-1]) or path.name.startswith("."):
            continue
        bundled = any((parent / "config.json").exists() for parent in path.parents if run in parent.parents)
        if path.suffix == ".zarr":
            yield path, "parts", _read_whole_part
        elif path.name == "config.json":
            yield path.parent, "bundles", _read_bundle
        elif path.suffix == ".safetensors" and not bundled:
            yield path, "latents" if "latents" in inside else "checkpoints", read_tensors
        elif path.suffix == ".json" and not bundled:
            yield path, "json", read_json


def _read_whole_part(path: Path) -> None:
    part = read_part(path)
    for start in range(0, part.size, 32 * CHUNK):
        part.read(start, min(start + 32 * CHUNK, part.size))


def _read_bundle(folder: Path) -> None:
    load_world(folder)
    for name in read_config(folder)["controllers"]:
        load_controller(folder, name)


def _set_aside(run: Path, name: str) -> Path:
    """Move RUN/name to RUN/set-aside/name, or beside what already is there."""
    target = run / ASIDE / name
    number = 1
    while target.exists():
        number += 1
        target = run / ASIDE / f"{name}.{number}"
    target.parent.mkdir(parents=True, exist_ok=True)
    (run / name).rename(target)
    return target
