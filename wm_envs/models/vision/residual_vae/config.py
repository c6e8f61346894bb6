"""Sizes of the V that encodes differences from the mean frame."""

from __future__ import annotations

from dataclasses import KW_ONLY

from pydantic.dataclasses import dataclass

from wm_envs.models.vision.conv_vae.config import ConvVAEConfig
from wm_envs.validation import STRICT


@dataclass(frozen=True, config=STRICT)
class ResidualVAEConfig(ConvVAEConfig):
    """Sizes of the ResidualVAE: those of the paper's V, whose networks it has."""

    _: KW_ONLY
    kind: str = "residual-vae"
