"""Checkpoints of a training stage: weights, optimizer state and step in one safetensors file.

Everything a stage draws at random is a function of (seed, step), so weights, optimizer and step are
all there is to resume from. The header of a checkpoint of V or M holds the model's config.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from training.infra.best_weights import best_weights
from wm_envs.errors import BrokenStore, Diverged, InvalidOption
from wm_envs.files import check_regular, write_bytes
from wm_envs.models.kinds import KindConfig, Kinds
from wm_envs.models.memory.base import Memory, MemoryConfig
from wm_envs.models.memory.registry import memory_kinds
from wm_envs.models.vision.base import Vision
from wm_envs.models.vision.registry import vision_kinds
from wm_envs.worlds.bundle import load_world

Config = TypeVar("Config", bound=KindConfig)

LARGEST = 1 << 34  # bytes
LARGEST_STEP = 1 << 40
SLOTS = ("step", "exp_avg", "exp_avg_sq")  # what Adam keeps of each parameter


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    step: int,
    extra_state: dict[str, Tensor] | None = None,
) -> None:
    """Write a checkpoint, whole or not at all; refuses weights that are not finite.

    `extra_state` holds further tensors for a resumption, such as the state of a recurrent network.
    """
    tensors = training_state(model, optimizer)
    tensors |= {f"carried/{name}": value.detach().contiguous() for name, value in (extra_state or {}).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_tensors(path, tensors, {"step": str(step)} | _config_header(model))


def training_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Weights and the optimizer's state by name; raises `Diverged` when a weight is not finite."""
    check_finite(model)
    tensors = {f"model/{name}": value for name, value in model.state_dict().items()}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for parameter, slots in optimizer.state.items():
        for slot, value in slots.items():
            tensors[f"optimizer/{slot}/{names[id(parameter)]}"] = torch.as_tensor(value)
    return {name: value.detach().contiguous() for name, value in tensors.items()}


def _config_header(model: nn.Module) -> dict[str, str]:
    """The config of V or M as JSON; nothing for other models."""
    if not isinstance(model, Vision | Memory):
        return {}
    return {"config": json.dumps(dataclasses.asdict(model.config))}


def check_finite(model: nn.Module) -> None:
    """Raises `Diverged` when a weight is not finite."""
    if not all(bool(torch.isfinite(value).all()) for value in model.state_dict().values()):
        raise Diverged("weights", "not finite", "finite weights", "lower the learning rate and resume")


def save_tensors(path: Path, tensors: dict[str, Tensor], header: dict[str, str]) -> None:
    """Write a safetensors file with a checksum of its tensors, which the format itself lacks."""
    write_bytes(path, save(tensors, header | {"crc32": _checksum(tensors, header)}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and header of a file of `save_tensors`, or of one without a checksum; raises `BrokenStore`."""
    try:
        check_regular(path, LARGEST)
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise _broken(path, error) from error
    expected = header.pop("crc32", None)
    if expected is not None and expected != _checksum(tensors, header):
        raise _broken(path, "its contents do not fit its checksum")
    return tensors, header


def read_extra_state(path: Path, extra_state: dict[str, Tensor], shapes: dict[str, tuple[int, ...]]) -> list[Tensor]:
    """The extra state of a checkpoint by name, with these shapes; raises `BrokenStore`."""
    for name, shape in shapes.items():
        if name not in extra_state or tuple(extra_state[name].shape) != shape:
            raise _broken(path, f"no {name} of shape {shape}")
    return [extra_state[name] for name in shapes]


def read_vision(path: Path) -> Vision:
    """V from its checkpoint, with the config that the checkpoint holds; raises `BrokenStore`."""
    tensors, header = read_tensors(path)
    config = _read_config(path, header, vision_kinds())
    with torch.device("meta"):  # the sizes take no memory before the weights are known to have them
        vision = vision_kinds().build(config)
    try:
        vision.load_state_dict(below("model/", tensors), assign=True)
    except (RuntimeError, ValueError) as error:
        raise _broken(path, error) from error
    return vision


def read_memory_config(source: str) -> MemoryConfig:
    """The config of the M in a checkpoint, or in a world's name or folder; raises `BrokenStore` or `BrokenWorld`."""
    if not source.endswith(".safetensors"):
        return load_world(source).config.memory
    return _read_config(Path(source), read_tensors(Path(source))[1], memory_kinds())


def _read_config(path: Path, header: dict[str, str], kinds: Kinds[Config, Any]) -> Config:
    """The config that a header holds; raises `BrokenStore` when it is that of no kind."""
    try:
        return kinds.read(json.loads(header["config"]))
    except (KeyError, ValueError, RecursionError) as error:
        raise _broken(path, f"no config of a model in its header: {error}") from error


def _checksum(tensors: dict[str, Tensor], header: dict[str, str]) -> str:
    total = zlib.crc32(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name]
        total = zlib.crc32(f"{name} {value.dtype} {tuple(value.shape)}".encode(), total)
        total = zlib.crc32(value.reshape(-1).view(torch.uint8).numpy().data, total)
    return f"{total:08x}"


def _broken(path: Path, why: object) -> BrokenStore:
    return BrokenStore(
        "checkpoint", f"{path} ({why})", "a checkpoint of this model", "remove it to start this stage again"
    )


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None = None
) -> tuple[int, dict[str, Tensor]]:
    """Fill model and optimizer from `path`; return the step and the extra state. Raises `BrokenStore`."""
    tensors, header = read_tensors(path)
    if isinstance(model, Vision | Memory):
        kinds: Kinds[Any, Any] = vision_kinds() if isinstance(model, Vision) else memory_kinds()
        config = _read_config(path, header, kinds)
        if config != model.config:
            raise _broken(path, f"a model with {config}, not {model.config}")
    try:
        step = _read_step(header)
    except (KeyError, ValueError) as error:
        raise _broken(path, error) from error
    restore(path, tensors, model, optimizer)
    return step, below("carried/", tensors)


def restore(
    path: Path, tensors: dict[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer | None = None
) -> None:
    """Fill model and optimizer from the tensors of `training_state`, read from `path`; raises `BrokenStore`."""
    try:
        slots = _read_slots(below("optimizer/", tensors), dict(model.named_parameters()))
        model.load_state_dict(below("model/", tensors))
    except (KeyError, ValueError, RuntimeError) as error:
        raise _broken(path, error) from error
    if optimizer is not None:
        for parameter, slot, value in slots:
            optimizer.state[parameter][slot] = value


def _read_step(header: dict[str, str]) -> int:
    step = int(header["step"])
    if not 0 <= step < LARGEST_STEP:
        raise ValueError(f"step {step}")
    return step


def _read_slots(
    state: dict[str, Tensor], parameters: dict[str, nn.Parameter]
) -> list[tuple[nn.Parameter, str, Tensor]]:
    """The optimizer's values for each parameter; raises `ValueError` when it does not fit the model."""
    if state and state.keys() != {f"{slot}/{name}" for slot in SLOTS for name in parameters}:
        raise ValueError("an optimizer that lacks some of its state")
    slots = []
    for name, value in state.items():
        slot, parameter = name.split("/", 1)
        owner = parameters[parameter]
        if value.shape != (() if slot == "step" else owner.shape) or not value.is_floating_point():
            raise ValueError(f"{name} of shape {tuple(value.shape)} and type {value.dtype}")
        if slot == "step" and not 0 <= float(value) < LARGEST_STEP:
            raise ValueError(f"{name} of {float(value)}")
        # In the memory order of its parameter (channels last, for example): fused optimizers walk raw memory.
        slots.append((owner, slot, value.float() if slot == "step" else torch.empty_like(owner).copy_(value).detach()))
    return slots


def start_from(source: str, model: Vision | Memory) -> None:
    """Fill V or M from a checkpoint, or from a world's name or folder, to continue its training.

    From a checkpoint that holds the best weights, it is those.
    """
    if source.endswith(".safetensors"):
        _, extra_state = load_checkpoint(Path(source), model)
        if best := best_weights(extra_state):
            restore(Path(source), {f"model/{name}": value for name, value in best.items()}, model)
        return
    world = load_world(source)
    part: nn.Module = world.vision if isinstance(model, Vision) else world.memory
    try:
        model.load_state_dict(part.state_dict())
    except RuntimeError as error:
        raise InvalidOption("start", source, "a world of these sizes", "give its sizes") from error


def below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
