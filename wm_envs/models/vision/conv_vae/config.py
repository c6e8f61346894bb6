"""Sizes of the paper's V."""

from __future__ import annotations

from dataclasses import KW_ONLY

from pydantic.dataclasses import dataclass

from wm_envs.models.vision.base import Channels, VisionConfig
from wm_envs.validation import STRICT


@dataclass(frozen=True, config=STRICT)
class ConvVAEConfig(VisionConfig):
    """Sizes of V; the defaults are the paper's for Doom (4,446,915 parameters). CarRacing has 32 latents."""

    channels: Channels = (32, 64, 128, 256)
    _: KW_ONLY
    kind: str = "conv-vae"
