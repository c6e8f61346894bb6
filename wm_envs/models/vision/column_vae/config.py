"""Sizes of the V with latents of columns."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Annotated

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from wm_envs.models.vision.base import Channels, VisionConfig
from wm_envs.validation import STRICT, Size

COLUMNS = 16  # of 4 pixels each


@dataclass(frozen=True, config=STRICT)
class ColumnVAEConfig(VisionConfig):
    """Sizes of the ColumnVAE (1.5M parameters); Z = G global latents + COLUMNS * `per_column`."""

    channels: Channels = (32, 64, 128, 128)
    per_column: Annotated[Size, Field(description="L, latents of each of the 16 columns of a frame")] = 3
    _: KW_ONLY
    kind: str = "column-vae"

    @model_validator(mode="after")
    def _has_global_latents(self) -> ColumnVAEConfig:
        if self.latent <= COLUMNS * self.per_column:
            raise ValueError(
                f"latent is {self.latent}, expected more than the {COLUMNS} * {self.per_column} latents of the columns"
            )
        return self
