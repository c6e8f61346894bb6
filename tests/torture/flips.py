"""Single bits flipped, and files cut, in everything that is read again:
`python -m tests.torture.flips [DAMAGES] [SEED]`.

Each damage is to one file of a small run folder. Reading it then either gives what it gave before, or a typed error
that names it; anything else (another value, another exception, a crash) fails. Prints one line of JSON.
"""

import dataclasses
import json
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.helpers import TINY_CONTROLLER, make_tiny_world, synthetic_episodes
from tests.torture.kills import hash_of
from training.data import episode_store as rollouts
from training.infra.checkpoint import load_checkpoint, read_tensors, save_checkpoint, save_tensors
from training.infra.records import read_record
from wm_envs.errors import WorldModelError
from wm_envs.files import write_json
from wm_envs.worlds.bundle import load_world, read_config, read_controller, save_controller

CUT = 0.2  # share of damages that cut a file short instead


def make_run(run: Path) -> None:
    """Parts in chunks, in shards and with rewards, a bundle with controllers, a checkpoint, a cache, a history."""
    shard = rollouts.SHARD
    for index, size in enumerate((shard, 64)):
        rollouts.SHARD = size
        rollouts.write_part(run, index, synthetic_episodes([37, 50, 13]), {"task": "takecover", "seed": 3})
    rollouts.SHARD = shard
    make_tiny_world(run / "world")
    save_controller(run / "world", "other", TINY_CONTROLLER, torch.randn(TINY_CONTROLLER.parameters), {"dream": 7.5})
    save_checkpoint(run / "model.safetensors", *trained(), 12, {"returns": torch.rand(3)})
    write_json(run / "history.json", {"name": "x", "generations": [{"scores": [1.25, 7.5], "fitness": [1.0, -3.5]}]})
    drive = synthetic_episodes([20, 30])
    for episode in drive:
        episode.actions = np.repeat(episode.actions, 3, axis=1)
        episode.rewards = np.linspace(-1, 3, len(episode.actions), dtype=np.float32)
    rollouts.write_part(run, 2, drive, {"task": "carracing", "seed": 3})
    save_tensors(run / "latents.safetensors", {"means": torch.randn(50, 4), "logvars": torch.randn(50, 4)}, {"v": "1"})


def trained() -> tuple[torch.nn.Linear, torch.optim.Adam]:
    """A small model, and an optimizer that has seen it."""
    model = torch.nn.Linear(5, 3)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(5)).sum().backward()
    optimizer.step()
    return model, optimizer


def read_part(path: Path) -> dict[str, Any]:
    """All that a part holds."""
    part = rollouts.read_part(path)
    names = ("actions", "lengths", "terminated", *(["rewards"] if part.rewards is not None else []))
    arrays = {name: getattr(part, name) for name in names}
    attributes = [part.attributes.get(name) for name in ("task", "seed")]
    return arrays | {"frames": part.read(0, part.size), "attributes": as_bytes(attributes)}


def read_bundle(folder: Path) -> dict[str, Any]:
    """All that a bundle holds, with every controller."""
    world, config = load_world(folder), read_config(folder)
    tensors = world.vision.state_dict() | {f"m/{k}": v for k, v in world.memory.state_dict().items()}
    found = {name: value.numpy() for name, value in tensors.items()}
    found |= {"means": world.initial_means.numpy(), "logvars": world.initial_logvars.numpy()}
    found |= {"config": as_bytes(dataclasses.asdict(world.config)), "card": as_bytes(config["card"])}
    for name in config["controllers"]:
        kind, parameters = read_controller(folder, name)
        found[f"c/{name}"] = parameters.numpy()
        found[f"card/{name}"] = as_bytes([dataclasses.asdict(kind), config["controllers"][name]["card"]])
    return found


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Model, optimizer, step and what is carried."""
    model = torch.nn.Linear(5, 3)
    optimizer = torch.optim.Adam(model.parameters())
    step, extra_state = load_checkpoint(path, model, optimizer)
    slots = [value for parameter in model.parameters() for _, value in sorted(optimizer.state[parameter].items())]
    values = [*model.state_dict().values(), *slots, extra_state["returns"], torch.tensor(step)]
    return {str(number): value.numpy() for number, value in enumerate(values)}


def read_latents(path: Path) -> dict[str, Any]:
    """Tensors, and what the header says of V."""
    tensors, header = read_tensors(path)
    return {name: value.numpy() for name, value in tensors.items()} | {"header": as_bytes(header.get("v"))}


def as_bytes(values: object) -> np.ndarray:
    """JSON-able values as an array to hash."""
    return np.frombuffer(json.dumps(values, sort_keys=True).encode(), np.uint8)


def read_history(path: Path) -> dict[str, Any]:
    """What evolve goes on from."""
    found = read_record(path)
    return {name: as_bytes(found.get(name)) for name in ("name", "generations")}


THINGS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "part-00000.zarr": read_part,
    "part-00001.zarr": read_part,
    "part-00002.zarr": read_part,
    "history.json": read_history,
    "world": read_bundle,
    "model.safetensors": read_checkpoint,
    "latents.safetensors": read_latents,
}


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """One bit flipped, or the end cut off."""
    if rng.random() < CUT:
        return data[: int(rng.integers(len(data)))]
    changed, bit = bytearray(data), int(rng.integers(8 * len(data)))
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def torture(damages: int, seed: int) -> dict[str, Any]:
    """Damage `damages` files, each drawn alike often whatever its size, and mend it again."""
    rng = np.random.default_rng(seed)
    counts = {"harmless": 0, "refused": 0}
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        torch.manual_seed(0)
        make_run(run)
        expected = {name: hash_of(read(run / name)) for name, read in THINGS.items()}
        paths = [path for path in run.rglob("*") if path.is_file() and path.stat().st_size]
        files = sorted(path for path in paths if ".lock" not in path.name)
        for number in range(damages):
            path = files[int(rng.integers(len(files)))]
            thing = path.relative_to(run).parts[0]
            whole = path.read_bytes()
            path.write_bytes(damaged(whole, rng))
            try:
                assert hash_of(THINGS[thing](run / thing)) == expected[thing], f"damage {number} to {path} was not seen"
                counts["harmless"] += 1
            except WorldModelError as error:
                if thing not in str(error):
                    raise AssertionError(f"damage {number} to {path}: not named") from error
                counts["refused"] += 1
            path.write_bytes(whole)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"damages": damages, **counts, "silent": 0, "files": len(files), "peak_GiB": round(peak, 2)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    numbers = [int(word) for word in sys.argv[1:]]
    print(json.dumps(torture(*(numbers + [1000, 0][len(numbers) :]))))
