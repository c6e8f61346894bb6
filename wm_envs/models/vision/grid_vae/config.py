"""Sizes of the V with latents of the cells of a grid."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Annotated, Any

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from wm_envs.models.vision.base import Channels, VisionConfig
from wm_envs.validation import STRICT, Size

SIDE = 8  # cells in a row of the grid, of 8 x 8 pixels each
CELLS = SIDE * SIDE


@dataclass(frozen=True, config=STRICT)
class GridVAEConfig(VisionConfig):
    """Sizes of the GridVAE; Z = G latents of the whole frame + CELLS * `per_cell`."""

    latent: Annotated[Size, Field(description="Z, latent dimensions, more than 64 * per_cell")] = 144
    channels: Channels = (32, 64, 96, 96)
    per_cell: Annotated[Size, Field(description="L, latents of each of the 8 x 8 cells of a frame")] = 2
    _: KW_ONLY
    kind: str = "grid-vae"

    @classmethod
    def usual_latent(cls, of_game: int, **fields: Any) -> int:
        """16 of the frame, and those of the cells."""
        return 16 + CELLS * int(fields.get("per_cell", cls.per_cell))

    @model_validator(mode="after")
    def _has_global_latents(self) -> GridVAEConfig:
        if self.latent <= CELLS * self.per_cell:
            raise ValueError(
                f"latent is {self.latent}, expected more than the {CELLS} * {self.per_cell} latents of the cells"
            )
        return self
