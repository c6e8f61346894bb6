"""World bundles: save, find, check and load a world as a folder.

    config.json               format, version, WorldConfig, SHA-256 and size of each file, figures of the model card
    world.safetensors         float16: vision/*, memory/*, first/means, first/logvars (N, Z) and, with a burn-in, the
                              parts of M's recurrent state (first/hidden, first/cell)
    controllers.safetensors   (optional) float32: one flat vector per controller; their configs are in config.json
    README.md                 (optional) the model card

A bundle cannot run code. The hash of each file is checked before the file is used.
"""

from __future__ import annotations

import dataclasses
import hashlib
import weakref
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors.torch import load, save
from torch import Tensor, nn

from wm_envs.errors import BrokenWorld, Diverged, InvalidOption, UnknownName, did_you_mean
from wm_envs.files import JsonObject, file_lock, read_bytes, write_bytes, write_json
from wm_envs.games.base import Keywords
from wm_envs.models.controller import Controller, ControllerConfig
from wm_envs.models.memory.base import Memory
from wm_envs.models.memory.registry import memory_kinds
from wm_envs.models.vision.registry import vision_kinds
from wm_envs.models.world_model import WorldConfig, WorldModel
from wm_envs.validation import first_problem
from wm_envs.worlds import hub
from wm_envs.worlds.config import FORMAT, VERSION, BundleConfig, FileEntry, broken, read_values
from wm_envs.worlds.config import read_config as read_config

PRETRAINED = Path(__file__).parent.parent / "pretrained"
MAX_FILE_BYTES = 1 << 30
WEIGHTS, CONTROLLERS = "world.safetensors", "controllers.safetensors"


def shipped_worlds() -> list[str]:
    """Names of the worlds in this package."""
    return sorted(path.parent.name for path in PRETRAINED.glob("*/config.json"))


def resolve(world: str | Path) -> Path:
    """The folder of a world, given as a shipped name, a folder, or hf://USER/NAME@REVISION (see `hub.fetch`).

    Raises `UnknownName` or `BrokenWorld`, and for the hub the errors of `hub.fetch`.
    """
    if isinstance(world, str) and world in shipped_worlds():
        return PRETRAINED / world
    if isinstance(world, str) and hub.is_on_hub(world):
        return hub.fetch(world, (WEIGHTS, CONTROLLERS))
    if _is_folder(world):
        if (Path(world) / "config.json").is_file():
            return Path(world)
        expected = "a folder with a config.json"
        raise BrokenWorld(
            "world", f"the folder {world}", expected, "pass the folder of a world, such as RUN/round-0/world"
        )
    expected = f"one of {shipped_worlds()}, the folder of a world, or hf://USER/NAME@REVISION"
    fix = f"pass one of these names{did_you_mean(world, shipped_worlds())}, or train a world"
    raise UnknownName("world", world, expected, f"{fix} with `python -m training run`")


def _is_folder(world: object) -> bool:
    try:
        return isinstance(world, str | Path) and bool(str(world)) and Path(world).is_dir()
    except (OSError, ValueError):  # not a valid file name
        return False


# --- saving -------------------------------------------------------------------------------------------


def save_world(folder: Path, world: WorldModel, card: JsonObject | None = None) -> None:
    """Write a bundle. config.json, which holds the hashes, is written last.

    If the folder already holds the same world (same config and weights), its controllers are kept. Controllers of
    another world are removed from the bundle.
    """
    tensors = {f"vision/{name}": value for name, value in world.vision.state_dict().items()}
    tensors |= {f"memory/{name}": value for name, value in world.memory.state_dict().items()}
    tensors |= {"first/means": world.initial_means, "first/logvars": world.initial_logvars}
    if world.config.burn_in:
        parts = zip(world.memory.recurrent_shapes, world.initial_recurrent, strict=True)
        tensors |= {f"first/{name}": part for name, part in parts}
    data = save({name: value.detach().cpu().half().contiguous() for name, value in tensors.items()})
    config: BundleConfig = {
        "format": FORMAT,
        "version": VERSION,
        "world": dataclasses.asdict(world.config),
        "files": {WEIGHTS: _fingerprint(data)},
        "controllers": {},
        "card": card or {},
    }
    with file_lock(Path(folder) / "config.json", wait=True):
        write_bytes(folder / WEIGHTS, data)
        kept = _kept_controllers(folder, world.config, config["files"][WEIGHTS])
        write_json(folder / "config.json", config | kept)


def _kept_controllers(folder: Path, config: WorldConfig, weights: FileEntry) -> dict[str, object]:
    """The entries for controllers in the bundle in `folder`, if its world has this config and these weights."""
    try:
        bundle = read_config(folder)
        if read_values(WorldConfig, bundle["world"], folder) != config or bundle["files"].get(WEIGHTS) != weights:
            return {}
        if bundle["controllers"]:
            _read_controllers(folder, bundle)
    except BrokenWorld:  # damaged controllers are not kept
        return {}
    return {key: bundle[key] for key in ("files", "coming", "controllers") if key in bundle}


def save_controller(
    folder: Path, name: str, config: ControllerConfig, parameters: Tensor, card: JsonObject | None = None
) -> None:
    """Add a controller with flat parameters (P,) to the bundle in `folder`, or replace the one with this name.

    Raises `Diverged` if a parameter is not finite, and `BrokenWorld`.
    """
    if not bool(torch.isfinite(parameters).all()):
        raise Diverged(
            "controller", f"parameters of {name} that are not finite", "finite parameters",
            "train it again, with a smaller step size",
        )  # fmt: skip
    with file_lock(Path(folder) / "config.json", wait=True):  # so that controllers of other processes are not lost
        bundle = read_config(folder)
        vectors = _read_controllers(folder, bundle) if bundle["controllers"] else {}
        vectors[name] = parameters.detach().cpu().float().contiguous()
        data = save(vectors)
        coming = {CONTROLLERS: _fingerprint(data)}
        # config.json lists the new file first, so the bundle stays valid if this process is killed in between.
        write_json(folder / "config.json", bundle | {"coming": coming})
        write_bytes(folder / CONTROLLERS, data)
        bundle["files"] |= coming
        bundle.pop("coming", None)
        bundle["controllers"][name] = {"config": dataclasses.asdict(config), "card": card or {}}
        write_json(folder / "config.json", bundle)


def _fingerprint(data: bytes) -> FileEntry:
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


# --- loading ------------------------------------------------------------------------------------------


# Worlds of this process whose weights `load_world` can share: (hash of the weights, config, device) -> the first one.
_loaded: weakref.WeakValueDictionary[tuple[str, WorldConfig, torch.device], WorldModel] = weakref.WeakValueDictionary()


def load_world(
    world: str | Path, device: str | torch.device = "cpu", overrides: Keywords | None = None, share: bool = False
) -> WorldModel:
    """Load a `WorldModel` from a shipped name, a folder, or the hub.

    With `share`, all worlds of this process that are loaded from the same files to the same device share one copy of
    the weights, which must not be changed. The files are checked each time.

    `overrides` replaces fields of its `WorldConfig` that the weights do not depend on, such as `termination`.
    Raises `UnknownName` or `BrokenWorld`, and `InvalidOption` for overrides that do not fit.
    """
    folder = resolve(world)
    bundle = read_config(folder)
    recorded = read_values(WorldConfig, bundle["world"], folder)
    try:
        config = dataclasses.replace(recorded, **(overrides or {}))
    except ValidationError as error:
        fix = "change them, or omit them"
        raise InvalidOption("overrides", overrides, f"what fits the world ({first_problem(error)})", fix) from error
    data, digest = _read_checked(folder, WEIGHTS, bundle)
    key = digest, recorded, torch.device(device)
    if share and (loaded := _loaded.get(key)) is not None:
        return loaded.share(config)
    model = _build(config, _tensors(folder, WEIGHTS, data), folder, device)
    if not share:
        return model
    _loaded[key] = model
    return model.share()


def _build(config: WorldConfig, tensors: dict[str, Tensor], folder: Path, device: str | torch.device) -> WorldModel:
    """The world of a bundle's config and tensors."""
    with torch.device("meta"):  # no memory is allocated for the sizes in the config
        vision, memory = vision_kinds().build(config.vision), memory_kinds().build(config.memory)
    _fill(vision, "vision/", tensors, folder)
    _fill(memory, "memory/", tensors, folder)
    memory = memory.to(device)
    means, logvars, *recurrent = _initial(config, memory, tensors, folder)
    return WorldModel(config, vision.to(device), memory, means, logvars, tuple(recurrent) or None)


def _initial(config: WorldConfig, memory: Memory, tensors: dict[str, Tensor], folder: Path) -> list[Tensor]:
    """Initial states: means and logvars (N, Z) and, with a burn-in, the parts of M's recurrent state (N, ...)."""
    shapes: dict[str, tuple[int, ...]] = {"means": (config.memory.latent,), "logvars": (config.memory.latent,)}
    if config.burn_in:
        shapes |= memory.recurrent_shapes
    states = [tensors[f"first/{name}"] for name in shapes if f"first/{name}" in tensors]
    count = len(states[0]) if states and states[0].ndim else 0
    if not count or [tuple(state.shape) for state in states] != [(count, *shape) for shape in shapes.values()]:
        raise broken(folder, f"the initial states ({', '.join(shapes)}) are missing or have the wrong shape")
    return states


def read_controller(world: str | Path, name: str = "") -> tuple[ControllerConfig, Tensor]:
    """A controller of a bundle (by default its first one): config and flat parameters (P,).

    Raises `UnknownName` or `BrokenWorld`.
    """
    folder = resolve(world)
    bundle = read_config(folder)
    names = list(bundle["controllers"])
    if not names or (name and name not in names):
        raise UnknownName(
            "controller", name or "none", f"one of {names} in {folder}",
            "give one of these, or train one with `python -m training ppo --name NAME`",
        )  # fmt: skip
    name = name or names[0]
    config = read_values(ControllerConfig, bundle["controllers"][name]["config"], folder)
    parameters = _read_controllers(folder, bundle).get(name)
    if parameters is None or parameters.shape != (config.parameters,):
        raise broken(folder, f"the parameters of controller {name!r} are missing or have the wrong shape")
    return config, parameters


def load_controller(world: str | Path = "takecover", name: str = "") -> Controller:
    """A controller of a world (its first one by default) as a torch module, from observations to actions.

    Raises `UnknownName` or `BrokenWorld`.
    """
    return Controller(*read_controller(world, name))


def _read_controllers(folder: Path, bundle: BundleConfig) -> dict[str, Tensor]:
    return _tensors(folder, CONTROLLERS, _read_checked(folder, CONTROLLERS, bundle)[0])


def _read_checked(folder: Path, name: str, bundle: BundleConfig) -> tuple[bytes, str]:
    """The bytes of one file and their SHA-256, after checking its size and hash."""
    expected = [files[name] for files in (bundle["files"], bundle.get("coming", {})) if name in files]
    try:
        data = read_bytes(folder / name, MAX_FILE_BYTES)
        if len(data) not in (sizes := [entry["bytes"] for entry in expected]):
            raise ValueError(f"{len(data)} bytes instead of {sizes}")
    except (OSError, ValueError) as error:
        raise broken(folder, f"{name} is missing or truncated ({error})") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest not in (entry["sha256"] for entry in expected):
        raise broken(folder, f"the hash of {name} is not the one in config.json")
    return data, digest


def _tensors(folder: Path, name: str, data: bytes) -> dict[str, Tensor]:
    """All tensors of one file as float32, after checking that all are finite."""
    try:
        tensors = load(data)
    except Exception as error:  # safetensors has one error class; torch adds its own
        raise broken(folder, f"{name} is not a safetensors file ({error})") from error
    if not all(value.is_floating_point() for value in tensors.values()):
        raise broken(folder, f"{name} holds values that are not floating-point numbers")
    result = {key: value.float() for key, value in tensors.items()}
    if not all(bool(torch.isfinite(value).all()) for value in result.values()):
        raise broken(folder, f"{name} holds values that are not finite")
    return result


def _fill(model: nn.Module, prefix: str, tensors: dict[str, Tensor], folder: Path) -> None:
    weights = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    try:
        model.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise broken(
            folder, f"the weights of {prefix[:-1]} do not match its config ({str(error).splitlines()[-1].strip()})"
        ) from error
