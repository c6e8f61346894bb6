"""The kinds of V. A new kind is a folder beside this file and one line in it.

A kind can also stand in another package: call `register_vision` when that package is imported.
"""

from __future__ import annotations

from wm_envs.models.kinds import Kinds
from wm_envs.models.vision.base import Vision, VisionConfig
from wm_envs.models.vision.column_vae import ColumnVAE, ColumnVAEConfig
from wm_envs.models.vision.conv_vae import ConvVAE, ConvVAEConfig
from wm_envs.models.vision.grid_vae import GridVAE, GridVAEConfig
from wm_envs.models.vision.residual_vae import ResidualVAE, ResidualVAEConfig

_KINDS: Kinds[VisionConfig, Vision] = Kinds()


def vision_kinds() -> Kinds[VisionConfig, Vision]:
    """The kinds of V by name."""
    return _KINDS


def register_vision(config: type[VisionConfig], network: type[Vision]) -> None:
    """Add a kind of V: its config, whose `kind` is its name, and its network, made from a config."""
    _KINDS.register(config, network)


register_vision(ConvVAEConfig, ConvVAE)
register_vision(ResidualVAEConfig, ResidualVAE)
register_vision(ColumnVAEConfig, ColumnVAE)
register_vision(GridVAEConfig, GridVAE)
