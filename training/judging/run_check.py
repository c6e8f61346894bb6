"""Find what is broken in a run folder, and set it aside on request.

`doctor --run RUN` reads every part of the store to its last frame, every checkpoint and cache to its last weight, and
every bundle with all its controllers. It removes nothing: with --repair, broken files move to RUN/set-aside under their
old path, and the stages that made them make them again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.data.episode_store import CHUNK, read_part
from training.infra.checkpoint import read_tensors
from training.infra.run_folder import RunFolder
from wm_envs.errors import BrokenStore, WorldModelError
from wm_envs.files import read_json, sweep
from wm_envs.worlds.bundle import load_world, read_config, read_controller


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The whole files by kind, and the new place of each broken one."""

    whole: dict[str, int]
    set_aside: dict[str, str]


def check_run(run: RunFolder, repair: bool) -> CheckResult:
    """Counts by kind and what is set aside; raises `BrokenStore` for broken files without `repair`."""
    run.check_exists()
    for folder in run.folders():
        if folder.exists():  # not swept with the one above it
            sweep(folder)
    whole: dict[str, int] = {}
    broken: dict[str, str] = {}
    for path, kind in run.readable():
        try:
            READERS[kind](path)
            whole[kind] = whole.get(kind, 0) + 1
        except (WorldModelError, ValueError, OSError, RecursionError) as error:
            broken[str(path.relative_to(run.path))] = str(error)
    for name, why in broken.items():
        print(f"broken: {name}: {why}")
    if not repair and broken:
        raise BrokenStore(
            "run folder", f"{run.path} with unreadable {', '.join(broken)}", "readable files only",
            "run doctor --run RUN --repair to set these aside, then run the stages that made them again",
        )  # fmt: skip
    return CheckResult(whole=whole, set_aside={name: str(run.set_aside(name)) for name in broken})


def _read_whole_part(path: Path) -> None:
    part = read_part(path)
    for start in range(0, part.size, 32 * CHUNK):
        part.read(start, min(start + 32 * CHUNK, part.size))


def _read_bundle(folder: Path) -> None:
    load_world(folder)
    for name in read_config(folder)["controllers"]:
        read_controller(folder, name)


READERS: dict[str, Callable[[Path], Any]] = {
    "parts": _read_whole_part,
    "bundles": _read_bundle,
    "latents": read_tensors,
    "checkpoints": read_tensors,
    "json": read_json,
}
