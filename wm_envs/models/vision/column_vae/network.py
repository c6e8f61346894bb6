"""V with a spatial code: some latents for the whole frame and a few for each of its columns.

The paper's V has to learn for every object and every place separately how to encode it: it leaves out small objects
that can be anywhere. Here one convolution encodes what is in a column of 4 pixels, wherever the column is. So V learns
small objects soon, and encodes an empty column with no nats at all.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wm_envs.models.vision.base import LOGVAR_RANGE, Vision
from wm_envs.models.vision.column_vae.config import COLUMNS, ColumnVAEConfig


class ColumnVAE(Vision):
    """Frames (B, 3, 64, 64) in [0, 1] <-> latents (B, Z): first the global ones, then L maps of COLUMNS values.

    The last convolution of the encoder covers a column from top to bottom. The decoder gives each column its latents
    and features made of the global ones.
    """

    config: ColumnVAEConfig

    def __init__(self, config: ColumnVAEConfig) -> None:
        super().__init__()
        self.config = config
        a, b, c, d = config.channels
        self.shared = config.latent - COLUMNS * config.per_column  # G
        self.encoder = nn.Sequential(
            nn.Conv2d(3, a, 4, 2, 1), nn.ReLU(),  # (B, a, 32, 32)
            nn.Conv2d(a, b, 4, 2, 1), nn.ReLU(),  # (B, b, 16, COLUMNS)
            nn.Conv2d(b, c, (16, 3), padding=(0, 1)), nn.ReLU(),  # (B, c, 1, COLUMNS)
            nn.Conv2d(c, d, (1, 3), padding=(0, 1)), nn.ReLU(),
        )  # fmt: skip
        self.of_picture = nn.Sequential(nn.Linear(COLUMNS * d, 256), nn.ReLU(), nn.Linear(256, 2 * self.shared))
        self.of_column = nn.Conv2d(d, 2 * config.per_column, 1)
        self.spread = nn.Sequential(nn.Linear(self.shared, 256), nn.ReLU(), nn.Linear(256, b * COLUMNS))
        self.mix = nn.Sequential(
            nn.Conv2d(b + config.per_column, d, (1, 3), padding=(0, 1)), nn.ReLU(),  # (B, d, 1, COLUMNS)
            nn.Conv2d(d, c, (1, 3), padding=(0, 1)), nn.ReLU(),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(c, b, (16, 1)), nn.ReLU(),  # (B, b, 16, COLUMNS)
            nn.ConvTranspose2d(b, a, 4, 2, 1), nn.ReLU(),  # (B, a, 32, 32)
            nn.ConvTranspose2d(a, 3, 4, 2, 1), nn.Sigmoid(),  # (B, 3, 64, 64)
        )  # fmt: skip

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, 64, 64) in [0, 1] -> mean and log variance of the latents, (B, Z) each."""
        features = self.encoder(images)  # (B, d, 1, COLUMNS)
        picture = self.of_picture(features.flatten(1)).chunk(2, dim=1)  # (B, G) twice
        columns = self.of_column(features).flatten(2).chunk(2, dim=1)  # (B, L, COLUMNS) twice
        mean, logvar = (torch.cat([p, c.flatten(1)], dim=1) for p, c in zip(picture, columns, strict=True))
        return mean, logvar.float().clamp(*LOGVAR_RANGE)

    def decode(self, latents: Tensor) -> Tensor:
        """(B, Z) -> (B, 3, 64, 64) in [0, 1]."""
        picture = self.spread(latents[:, : self.shared]).unflatten(1, (-1, 1, COLUMNS))  # (B, b, 1, COLUMNS)
        columns = latents[:, self.shared :].unflatten(1, (-1, 1, COLUMNS))  # (B, L, 1, COLUMNS)
        images: Tensor = self.decoder(self.mix(torch.cat([picture, columns], dim=1)))
        return images
