"""Write a world for programs without PyTorch: as ONNX models.

    encoder.onnx, decoder.onnx   V
    begin.onnx                   the state in which a dream begins
    step.onnx                    one step of a dream: M, its draw of the latents, the reward and the end
    controllers/NAME.onnx        from the state to an action
    world.json                   sizes, limits, default temperature, and the SHA-256 of each model

The random numbers are inputs: the same ones give the same dream as in PyTorch, up to rounding.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.infra.folders import new_folder
from training.infra.option_groups import plain_name
from training.infra.options import StageOptions, check_options, stage_option
from training.infra.packages import check_onnx
from training.infra.worlds import find_folder, fingerprint
from wm_envs.errors import InvalidOption
from wm_envs.files import file_lock, read_json, write_json
from wm_envs.models.bundle import load_controller, load_world, read_config
from wm_envs.models.world_model import WorldModel

FORMAT, VERSION = "wm-envs-onnx", 1
ABOUT = "world.json"


@dataclass
class ExportOptions(StageOptions):
    """Write a world as ONNX models."""

    world: str = stage_option("takecover", "name or folder of the world")
    onnx: str = stage_option("", "folder to write; an earlier export in it is replaced")

    def check(self) -> None:
        """Raises `InvalidOption` unless a folder is given that is new, empty, or holds an earlier export."""
        super().check()
        if not self.onnx:
            raise InvalidOption("onnx", "nothing", "the folder to write", "give --onnx exported, for example")
        check_target(Path(self.onnx))


def check_target(folder: Path) -> None:
    """Raises `InvalidOption` if replacing `folder` would remove something other than an export."""
    try:
        free = not folder.exists() or not any(folder.iterdir())
        free = free or read_json(folder / ABOUT).get("format") == FORMAT
    except (OSError, ValueError):
        free = False
    if not free:
        expected = "a folder that is new, empty, or holds an earlier export"
        raise InvalidOption("onnx", folder, expected, "give another --onnx")


def main(options: ExportOptions) -> dict[str, Any]:
    """Write the models and world.json; returns the folder, its size and the controllers."""
    check_options(options)
    source, target = find_folder(options.world), Path(options.onnx)
    names = [plain_name("controllers", name) for name in read_config(source)["controllers"]]
    check_onnx()
    world = load_world(source)
    with file_lock(target), new_folder(target) as made:
        write_models(made, world, source, names)
        models = {path.relative_to(made).as_posix(): path.read_bytes() for path in sorted(made.rglob("*.onnx"))}
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in models.items()}
        about = description(world, names) | {"source_sha256": fingerprint(source), "files": hashes}
        write_json(made / ABOUT, about)
    return {"folder": str(target), "megabytes": sum(map(len, models.values())) / 1e6, "controllers": names}


def write_models(folder: Path, world: WorldModel, source: Path, controllers: list[str]) -> None:
    """Write all models of a world, and the `controllers` of the bundle `source`."""
    from training.exports.graphs import Begin, Decoder, Driver, Encoder, Step, write_onnx

    parts = {"encoder": Encoder(world), "decoder": Decoder(world), "begin": Begin(world), "step": Step(world)}
    parts |= {f"controllers/{name}": Driver(world, *load_controller(source, name)) for name in controllers}
    for name, part in parts.items():
        write_onnx(folder / f"{name}.onnx", part)


def description(world: WorldModel, controllers: list[str]) -> dict[str, Any]:
    """What a program that runs the models must know."""
    config, task = world.config, world.task
    return {
        "format": FORMAT,
        "version": VERSION,
        "task": task.name,
        "title": task.title,
        "state": list(world.state_shapes(1)),
        "latent": config.memory.latent,
        "action_low": task.action_low,
        "action_high": task.action_high,
        "discrete_actions": task.discrete_actions,
        "initial_states": len(world.initial_means),
        "temperature": config.temperature,
        "frame_skip": config.frame_skip,
        "tick_limit": task.tick_limit,
        "ticks_per_second": task.ticks_per_second,
        "controllers": controllers,
    }
