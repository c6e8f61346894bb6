"""World bundles: a folder of config.json, safetensors and a model card, saved, found and checked.

    config.json          format, version, WorldConfig, SHA-256 and size of each file, the card's figures
    world.safetensors    float16: vision/*, memory/*, first/means, first/logvars and, with a burn-in, the parts of
                         M's recurrent state (first/hidden, first/cell)
    controllers.safetensors   (optional) float32: one flat vector a controller, configs in config.json
    README.md            (optional) the model card

Nothing in a bundle can run code, and nothing of it is used before its hash has been checked.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import types
import weakref
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from wm_envs.errors import BrokenWorld, Diverged, UnknownName
from wm_envs.files import file_lock, read_bytes, read_json, write_bytes, write_json
from wm_envs.games.registry import TASKS
from wm_envs.models.controller import OBSERVATIONS, Controller, ControllerConfig
from wm_envs.models.mdn_rnn import MDNRNN, MDNRNNConfig
from wm_envs.models.vae import ConvVAE, ConvVAEConfig
from wm_envs.models.world_model import WorldConfig, WorldModel

FORMAT = "wm-envs-world"
VERSION = 2
PRETRAINED = Path(__file__).parent.parent / "pretrained"
LARGEST_CONFIG = 1 << 20  # bytes
LARGEST_FILE = 1 << 30
# What config.json may name as the kind of V and of M: its config and its network. A new kind is a line here.
VISION_KINDS = {"conv-vae": (ConvVAEConfig, ConvVAE)}
MEMORY_KINDS = {"mdn-rnn": (MDNRNNConfig, MDNRNN)}
WEIGHTS, CONTROLLERS = "world.safetensors", "controllers.safetensors"


def shipped_worlds() -> list[str]:
    """Names of the worlds that come with the package."""
    return sorted(path.parent.name for path in PRETRAINED.glob("*/config.json"))


def resolve(world: str | Path) -> Path:
    """The folder of a shipped world's name, or of a path; raises `UnknownName`."""
    if isinstance(world, str) and world in shipped_worlds():
        return PRETRAINED / world
    if _is_folder(world):
        if (Path(world) / "config.json").is_file():
            return Path(world)
        expected = "a folder with a config.json"
        raise BrokenWorld("world", f"the folder {world}", expected, "give the folder of a world, such as RUN/world")
    raise UnknownName(
        "world", world, f"one of {shipped_worlds()} or the folder of a world",
        "give such a name, or train a world with `python -m training run`",
    )  # fmt: skip


def _is_folder(world: object) -> bool:
    try:
        return isinstance(world, str | Path) and bool(str(world)) and Path(world).is_dir()
    except (OSError, ValueError):  # no name of a file at all
        return False


def _broken(folder: Path, what: str) -> BrokenWorld:
    return BrokenWorld(
        "world", f"{folder}: {what}", f"a whole {FORMAT} bundle of version {VERSION}",
        "install the package again if it came with it, else make the world again",
    )  # fmt: skip


# --- saving -------------------------------------------------------------------------------------------


def save_world(folder: Path, world: WorldModel, card: dict[str, Any] | None = None) -> None:
    """Write a bundle; config.json, which holds the hashes, comes last. Controllers are kept apart.

    Those that a bundle of the very same world has there stay in it; those of another world are not its own.
    """
    tensors = {f"vision/{name}": value for name, value in world.vision.state_dict().items()}
    tensors |= {f"memory/{name}": value for name, value in world.memory.state_dict().items()}
    tensors |= {"first/means": world.initial_means, "first/logvars": world.initial_logvars}
    if world.config.burn_in:
        parts = zip(world.memory.recurrent_shapes, world.initial_recurrent, strict=True)
        tensors |= {f"first/{name}": part for name, part in parts}
    data = save({name: value.detach().cpu().half().contiguous() for name, value in tensors.items()})
    config: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "world": dataclasses.asdict(world.config),
        "files": {WEIGHTS: _fingerprint(data)},
        "controllers": {},
        "card": card or {},
    }
    with file_lock(Path(folder) / "config.json", wait=True):  # as `save_controller`
        write_bytes(folder / WEIGHTS, data)
        write_json(folder / "config.json", config | _kept(folder, world.config, config["files"][WEIGHTS]))


def _kept(folder: Path, config: WorldConfig, weights: dict[str, Any]) -> dict[str, Any]:
    """Controllers and files of the bundle in `folder`, if it is of a world with this config and these weights."""
    try:
        known = read_config(folder)
        if _typed(WorldConfig, known["world"], folder) != config or known["files"].get(WEIGHTS) != weights:
            return {}
        if known["controllers"]:
            _read_controllers(folder, known)
    except BrokenWorld:  # what is damaged is not kept
        return {}
    return {key: known[key] for key in ("files", "coming", "controllers") if key in known}


def save_controller(
    folder: Path, name: str, config: ControllerConfig, parameters: Tensor, card: dict[str, Any] | None = None
) -> None:
    """Add a controller, or replace the one of that name, in the bundle `folder`; raises `Diverged` if not finite."""
    if not bool(torch.isfinite(parameters).all()):
        raise Diverged("controller", name, "finite parameters", "see what its training came to")
    with file_lock(Path(folder) / "config.json", wait=True):  # so that what another process adds is not lost
        bundle = read_config(folder)
        vectors = _read_controllers(folder, bundle) if bundle["controllers"] else {}
        vectors[name] = parameters.detach().cpu().float().contiguous()
        data = save(vectors)
        coming = {CONTROLLERS: _fingerprint(data)}
        # Announced before it is there: a bundle whose writer is killed between two files is whole all the same.
        write_json(folder / "config.json", bundle | {"coming": coming})
        write_bytes(folder / CONTROLLERS, data)
        bundle["files"] |= coming
        bundle.pop("coming", None)
        bundle["controllers"][name] = {"config": dataclasses.asdict(config), "card": card or {}}
        write_json(folder / "config.json", bundle)


def _fingerprint(data: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


# --- loading ------------------------------------------------------------------------------------------


# Worlds of this process whose weights `load_world` can share: (hash of the weights, config, device) -> the first one.
_loaded: weakref.WeakValueDictionary[tuple[str, WorldConfig, torch.device], WorldModel] = weakref.WeakValueDictionary()


def load_world(
    world: str | Path, device: str | torch.device = "cpu", overrides: dict[str, Any] | None = None, share: bool = False
) -> WorldModel:
    """A `WorldModel` from a shipped name or a folder.

    With `share`, as the environments ask for it, its weights are those of every other world of this process that was
    loaded so from the same files to the same device: they must not be changed. The files are checked all the same.

    `overrides` replaces fields of its `WorldConfig` that do not touch the weights, such as death.
    Raises `UnknownName` or `BrokenWorld`.
    """
    folder = resolve(world)
    bundle = read_config(folder)
    recorded = _typed(WorldConfig, bundle["world"], folder)
    config = dataclasses.replace(recorded, **(overrides or {}))
    _check_config(config, folder)
    data = _read_checked(folder, WEIGHTS, bundle)
    key = hashlib.sha256(data).hexdigest(), recorded, torch.device(device)
    if share and (found := _loaded.get(key)) is not None:
        return found.share(config)
    model = _build(config, _tensors(folder, WEIGHTS, data), folder, device)
    if not share:
        return model
    _loaded[key] = model
    return model.share()


def _build(config: WorldConfig, tensors: dict[str, Tensor], folder: Path, device: str | torch.device) -> WorldModel:
    """The world of a bundle's config and tensors."""
    _, vision_class = VISION_KINDS[config.vision.kind]
    _, memory_class = MEMORY_KINDS[config.memory.kind]
    with torch.device("meta"):  # a small file that claims large sizes must not take memory
        vision, memory = vision_class(config.vision), memory_class(config.memory)
    _fill(vision, "vision/", tensors, folder)
    _fill(memory, "memory/", tensors, folder)
    memory = memory.to(device)
    means, logvars, *recurrent = _initial(config, memory, tensors, folder)
    return WorldModel(config, vision.to(device), memory, means, logvars, tuple(recurrent) or None)


def _initial(config: WorldConfig, memory: MDNRNN, tensors: dict[str, Tensor], folder: Path) -> list[Tensor]:
    """Where dreams begin: means and logvars (N, Z) and, with a burn-in, the parts of M's recurrent state (N, ...)."""
    shapes: dict[str, tuple[int, ...]] = {"means": (config.memory.latent,), "logvars": (config.memory.latent,)}
    if config.burn_in:
        shapes |= memory.recurrent_shapes
    found = [tensors.get(f"first/{name}") for name in shapes]
    given = [value for value in found if value is not None]
    count = len(given[0]) if given and given[0].ndim else 0
    if len(given) < len(found) or not count or [v.shape for v in given] != [(count, *s) for s in shapes.values()]:
        raise _broken(folder, f"no first {', '.join(shapes)}, or of a wrong shape")
    return given


def load_controller(world: str | Path, name: str = "") -> tuple[ControllerConfig, Tensor]:
    """A controller of a bundle (its first one by default): config and flat parameters (P,)."""
    folder = resolve(world)
    bundle = read_config(folder)
    names = list(bundle["controllers"])
    if not names or (name and name not in names):
        raise UnknownName(
            "controller", name or "none", f"one of {names} in {folder}", "breed one with `python -m training evolve`"
        )
    name = name or names[0]
    entry = bundle["controllers"][name]
    config = _typed(ControllerConfig, entry.get("config") if isinstance(entry, dict) else None, folder)
    sane = config.observation in OBSERVATIONS and 0 < config.action <= 100 and len(config.choices) <= 1000
    sane = sane and len(config.choices) % config.action == 0 and all(abs(value) <= 1 for value in config.choices)
    if not sane or not all(0 < n <= 4096 for n in (config.latent, config.hidden, *config.hidden_sizes)):
        raise _broken(folder, f"controller {name!r} with settings that make none: {config}")
    parameters = _read_controllers(folder, bundle).get(name)
    if parameters is None or parameters.shape != (config.parameters,):
        raise _broken(folder, f"controller {name!r} of a wrong shape")
    return config, parameters


def load_controller_module(world: str | Path, name: str = "") -> Controller:
    """A controller of a bundle (its first one by default) as a torch module."""
    return Controller(*load_controller(world, name))


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a bundle, checked for format and version; raises `BrokenWorld`."""
    path = Path(folder) / "config.json"
    try:
        bundle = read_json(path, LARGEST_CONFIG)
    except (OSError, ValueError) as error:
        raise _broken(folder, f"unreadable config.json ({error})") from error
    if bundle.get("format") != FORMAT:
        raise _broken(folder, "config.json is not of a world")
    if bundle.get("version") != VERSION:
        raise _broken(folder, f"version {bundle.get('version')!r}")
    if not all(isinstance(bundle.get(key), dict) for key in ("world", "files", "controllers")):
        raise _broken(folder, "config.json lacks world, files or controllers")
    return bundle


def _read_controllers(folder: Path, bundle: dict[str, Any]) -> dict[str, Tensor]:
    return _read_tensors(folder, CONTROLLERS, bundle)


def _read_tensors(folder: Path, name: str, bundle: dict[str, Any]) -> dict[str, Tensor]:
    """All tensors of one file as float32, after checking its size, hash and that all are finite."""
    return _tensors(folder, name, _read_checked(folder, name, bundle))


def _read_checked(folder: Path, name: str, bundle: dict[str, Any]) -> bytes:
    """The bytes of one file, after checking its size and hash."""
    announced = (bundle[key].get(name) for key in ("files", "coming") if isinstance(bundle.get(key), dict))
    expected = [value for value in announced if isinstance(value, dict)]
    try:
        data = read_bytes(folder / name, LARGEST_FILE)
        if len(data) not in (value.get("bytes") for value in expected):
            raise ValueError(f"{len(data)} bytes instead of {[value.get('bytes') for value in expected]}")
    except (OSError, ValueError) as error:
        raise _broken(folder, f"{name} is missing or cut ({error})") from error
    if hashlib.sha256(data).hexdigest() not in (value.get("sha256") for value in expected):
        raise _broken(folder, f"{name} does not have the hash that config.json says")
    return data


def _tensors(folder: Path, name: str, data: bytes) -> dict[str, Tensor]:
    """All tensors of one file as float32, after checking that all are finite."""
    try:
        tensors = load(data)
    except Exception as error:  # safetensors has one error class; torch adds its own
        raise _broken(folder, f"{name} is no safetensors file ({error})") from error
    if not all(value.is_floating_point() for value in tensors.values()):
        raise _broken(folder, f"{name} holds values that are no real numbers")
    result = {key: value.float() for key, value in tensors.items()}
    if not all(bool(torch.isfinite(value).all()) for value in result.values()):
        raise _broken(folder, f"{name} holds values that are not finite")
    return result


def _fill(model: nn.Module, prefix: str, tensors: dict[str, Tensor], folder: Path) -> None:
    weights = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    try:
        model.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise _broken(
            folder, f"weights of {prefix[:-1]} do not fit its config ({str(error).splitlines()[-1].strip()})"
        ) from error


def _typed(kind: Any, values: Any, folder: Path) -> Any:
    """The dataclass `kind` from JSON values of exactly its fields' types (nested ones too)."""
    if not isinstance(values, dict):
        raise _broken(folder, f"no {kind.__name__} in config.json")
    nested: dict[str, dict[str, Any]] = {"vision": VISION_KINDS, "memory": MEMORY_KINDS} if kind is WorldConfig else {}
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = set(values) - set(fields)
    if unknown:
        raise _broken(folder, f"unknown settings {sorted(unknown)} of {kind.__name__}")
    result = {}
    for name, value in values.items():
        if name in nested:
            result[name] = _typed(_config_class(name, nested[name], value, folder), value, folder)
            continue
        wanted: Any = type(fields[name].default)
        item: Any = float if "float" in str(fields[name].type) else int
        if wanted is tuple and isinstance(value, list) and all(type(v) is item and math.isfinite(v) for v in value):
            value = tuple(value)
        if wanted is float and type(value) is int:
            value = float(value)
        if type(value) is not wanted or (wanted is float and not math.isfinite(value)):
            raise _broken(folder, f"{kind.__name__}.{name} is {value!r}")
        result[name] = value
    return kind(**result)


def _config_class(name: str, kinds: dict[str, Any], values: Any, folder: Path) -> Any:
    """The config class of the kind that `values` name."""
    kind = values.get("kind") if isinstance(values, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise _broken(folder, f"{name} is of kind {kind!r}, not one of {sorted(kinds)}")
    return kinds[kind][0]


def _check_config(config: WorldConfig, folder: Path) -> None:
    """Sizes must be sane before anything is allocated by them."""
    sizes = types.SimpleNamespace(**vars(config.memory))
    sane = (
        config.task in TASKS
        and config.vision.latent == sizes.latent
        and sizes.action == TASKS[config.task].action_size
        and len(config.vision.channels) == 4
        and all(0 < n <= 4096 for n in (*config.vision.channels, sizes.latent, sizes.hidden))
        and 0 < sizes.mixtures <= 100
        and sizes.termination_weight > 0
        and 0 < config.frame_skip <= 1000
        and 0 <= config.burn_in < TASKS[config.task].tick_limit
        and config.termination in ("sampled", "threshold")
        and config.temperature > 0
        and config.posterior_noise >= 0
    )
    if not sane:
        raise _broken(folder, f"settings that make no world: {config}")
