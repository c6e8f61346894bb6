"""V with a spatial code: some latents for the whole frame and a few for each cell of a grid.

In a code of the whole frame small things that can be anywhere are costly, and a background that is new in every episode
takes all of it. Here one convolution encodes what is in a cell, wherever the cell is; a cell in which nothing differs
from the mean frame costs no nats.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wm_envs.models.vision.base import LOGVAR_RANGE
from wm_envs.models.vision.grid_vae.config import CELLS, SIDE, GridVAEConfig
from wm_envs.models.vision.residual import ResidualVision

PLACES = 8  # learnt numbers that tell the decoder where a cell is
FEATURES = 32  # of each cell, made of the latents of the whole frame


class GridVAE(ResidualVision):
    """Frames (B, 3, 64, 64) in [0, 1] <-> latents (B, Z): first G of the frame, then L maps of SIDE x SIDE values."""

    config: GridVAEConfig

    def __init__(self, config: GridVAEConfig) -> None:
        super().__init__()
        self.config = config
        a, b, c, d = config.channels
        self.shared = config.latent - CELLS * config.per_cell  # G
        self.encoder = nn.Sequential(
            nn.Conv2d(3, a, 4, 2, 1), nn.ReLU(),  # (B, a, 32, 32)
            nn.Conv2d(a, b, 4, 2, 1), nn.ReLU(),  # (B, b, 16, 16)
            nn.Conv2d(b, c, 4, 2, 1), nn.ReLU(),  # (B, c, SIDE, SIDE)
            nn.Conv2d(c, d, 3, 1, 1), nn.ReLU(),
        )  # fmt: skip
        self.of_frame = nn.Sequential(nn.Linear(CELLS * d, 256), nn.ReLU(), nn.Linear(256, 2 * self.shared))
        self.of_cell = nn.Conv2d(d, 2 * config.per_cell, 1)
        self.spread_out = nn.Sequential(nn.Linear(self.shared, 256), nn.ReLU(), nn.Linear(256, FEATURES * CELLS))
        self.places = nn.Parameter(torch.normal(0.0, 0.1, (1, PLACES, SIDE, SIDE)))
        self.decoder = nn.Sequential(
            nn.Conv2d(FEATURES + PLACES + config.per_cell, d, 3, 1, 1), nn.ReLU(),  # (B, d, SIDE, SIDE)
            nn.Conv2d(d, c, 3, 1, 1), nn.ReLU(),
            nn.ConvTranspose2d(c, b, 4, 2, 1), nn.ReLU(),  # (B, b, 16, 16)
            nn.ConvTranspose2d(b, a, 4, 2, 1), nn.ReLU(),  # (B, a, 32, 32)
            nn.ConvTranspose2d(a, 3, 4, 2, 1),
        )  # fmt: skip
        self.add_page()

    def encode_difference(self, differences: Tensor) -> tuple[Tensor, Tensor]:
        """See `ResidualVision.encode_difference`."""
        features = self.encoder(differences)  # (B, d, SIDE, SIDE)
        frame = self.of_frame(features.flatten(1)).chunk(2, dim=1)  # (B, G) twice
        cells = self.of_cell(features).flatten(2).chunk(2, dim=1)  # (B, L, CELLS) twice
        mean, logvar = (torch.cat([f, c.flatten(1)], dim=1) for f, c in zip(frame, cells, strict=True))
        return mean, logvar.float().clamp(*LOGVAR_RANGE)

    def decode_difference(self, latents: Tensor) -> Tensor:
        """See `ResidualVision.decode_difference`."""
        frame = self.spread_out(latents[:, : self.shared]).unflatten(1, (FEATURES, SIDE, SIDE))
        cells = latents[:, self.shared :].unflatten(1, (-1, SIDE, SIDE))
        places = self.places.expand(len(latents), -1, -1, -1)
        images: Tensor = self.decoder(torch.cat([part.to(frame.dtype) for part in (frame, places, cells)], dim=1))
        return images
