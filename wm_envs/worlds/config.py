"""The settings in a bundle's config.json, checked before anything is allocated from them."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from wm_envs.errors import BrokenWorld
from wm_envs.games.registry import get_task, is_task
from wm_envs.models.memory.autoregressive import AutoregressiveConfig, AutoregressiveMDNRNN
from wm_envs.models.memory.mdn_rnn import MDNRNN, MDNRNNConfig
from wm_envs.models.vision.column_vae import COLUMNS, ColumnVAE, ColumnVAEConfig
from wm_envs.models.vision.conv_vae import ConvVAE, ConvVAEConfig
from wm_envs.models.vision.residual_vae import ResidualVAE, ResidualVAEConfig
from wm_envs.models.world_model import WorldConfig

FORMAT = "wm-envs-world"
VERSION = 2
# The kinds of V and M that config.json can name: config class and network. Add a new kind here.
VISION_KINDS: dict[str, tuple[type[ConvVAEConfig], type[ConvVAE]]] = {
    "conv-vae": (ConvVAEConfig, ConvVAE),
    "residual-vae": (ResidualVAEConfig, ResidualVAE),
    "column-vae": (ColumnVAEConfig, ColumnVAE),
}
MEMORY_KINDS: dict[str, tuple[type[MDNRNNConfig], type[MDNRNN]]] = {
    "mdn-rnn": (MDNRNNConfig, MDNRNN),
    "autoregressive": (AutoregressiveConfig, AutoregressiveMDNRNN),
}


def broken(folder: Path, problem: str) -> BrokenWorld:
    """The error for a bundle with this problem."""
    return BrokenWorld(
        "world", f"{folder}: {problem}", f"a complete {FORMAT} bundle of version {VERSION}",
        "reinstall the package if the world came with it, otherwise save or train the world again",
    )  # fmt: skip


def typed_config(kind: Any, values: Any, folder: Path) -> Any:
    """An instance of the dataclass `kind` from JSON values, nested ones too.

    Raises `BrokenWorld` for an unknown field, or a value that has not exactly its field's type.
    """
    if not isinstance(values, dict):
        raise broken(folder, f"config.json has no {kind.__name__}")
    nested: dict[str, dict[str, Any]] = {"vision": VISION_KINDS, "memory": MEMORY_KINDS} if kind is WorldConfig else {}
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = set(values) - set(fields)
    if unknown:
        raise broken(folder, f"unknown settings {sorted(unknown)} of {kind.__name__}")
    result = {}
    for name, value in values.items():
        if name in nested:
            result[name] = typed_config(_config_class(name, nested[name], value, folder), value, folder)
            continue
        wanted: Any = type(fields[name].default)
        item: Any = float if "float" in str(fields[name].type) else int
        if wanted is tuple and isinstance(value, list) and all(type(v) is item and math.isfinite(v) for v in value):
            value = tuple(value)
        if wanted is float and type(value) is int:
            value = float(value)
        if type(value) is not wanted or (wanted is float and not math.isfinite(value)):
            raise broken(folder, f"{kind.__name__}.{name} is {value!r}")
        result[name] = value
    return kind(**result)


def _config_class(name: str, kinds: dict[str, Any], values: Any, folder: Path) -> Any:
    """The config class for `values["kind"]`."""
    kind = values.get("kind") if isinstance(values, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise broken(folder, f"{name} has the kind {kind!r}, not one of {sorted(kinds)}")
    return kinds[kind][0]


def check_vision_config(config: ConvVAEConfig) -> bool:
    """Whether the sizes make a V."""
    sizes = len(config.channels) == 4 and all(0 < n <= 4096 for n in (*config.channels, config.latent))
    return sizes and 0 <= COLUMNS * getattr(config, "per_column", 0) < config.latent


def check_world_config(config: WorldConfig, folder: Path) -> None:
    """Raise `BrokenWorld` if a setting is out of range or two of them contradict each other."""
    memory, active = config.memory, getattr(config.memory, "active", ())
    valid = (
        is_task(config.task)
        and config.vision.latent == memory.latent
        and memory.action == get_task(config.task).actions.size
        and check_vision_config(config.vision)
        and 0 < memory.hidden <= 4096
        and 0 < memory.mixtures <= 100
        and memory.termination_weight > 0
        and 0 < getattr(memory, "units", 1) <= 4096
        and len(set(active)) == len(active)
        and all(0 <= dimension < memory.latent for dimension in active)
        and 0 < config.frame_skip <= 1000
        and 0 <= config.burn_in < get_task(config.task).timing.tick_limit
        and config.termination in ("sampled", "threshold")
        and config.observed in ("all", "modelled")
        and abs(config.termination_shift) <= 10
        and (not memory.progress or get_task(config.task).rewards.goal > 0)
        and config.temperature > 0
        and config.reward_scale >= 0
        and config.posterior_noise >= 0
    )
    if not valid:
        raise broken(folder, f"settings out of range or in conflict: {config}")
