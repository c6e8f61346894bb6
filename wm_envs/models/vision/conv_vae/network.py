"""The paper's convolutional VAE (World Models, appendix A.1)."""

from __future__ import annotations

from torch import Tensor, nn

from wm_envs.models.vision.base import LOGVAR_RANGE, Vision
from wm_envs.models.vision.conv_vae.config import ConvVAEConfig


class ConvVAE(Vision):
    """Frames (B, 3, 64, 64) in [0, 1] <-> latents (B, Z).

    The encoder has four convolutions of kernel 4 and stride 2, and two dense heads. The decoder has a dense layer and
    four transposed convolutions of stride 2 and kernels 5, 5, 6, 6.
    """

    config: ConvVAEConfig

    def __init__(self, config: ConvVAEConfig) -> None:
        super().__init__()
        self.config = config
        a, b, c, d = config.channels
        self.encoder = nn.Sequential(
            nn.Conv2d(3, a, 4, 2), nn.ReLU(),  # (B, a, 31, 31)
            nn.Conv2d(a, b, 4, 2), nn.ReLU(),  # (B, b, 14, 14)
            nn.Conv2d(b, c, 4, 2), nn.ReLU(),  # (B, c, 6, 6)
            nn.Conv2d(c, d, 4, 2), nn.ReLU(),  # (B, d, 2, 2)
        )  # fmt: skip
        self.mean = nn.Linear(4 * d, config.latent)
        self.logvar = nn.Linear(4 * d, config.latent)
        self.expand = nn.Linear(config.latent, 4 * d)
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(4 * d, c, 5, 2), nn.ReLU(),  # (B, c, 5, 5)
            nn.ConvTranspose2d(c, b, 5, 2), nn.ReLU(),  # (B, b, 13, 13)
            nn.ConvTranspose2d(b, a, 6, 2), nn.ReLU(),  # (B, a, 30, 30)
            nn.ConvTranspose2d(a, 3, 6, 2), nn.Sigmoid(),  # (B, 3, 64, 64)
        )  # fmt: skip

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, 64, 64) in [0, 1] -> mean and log variance of the latents, (B, Z) each."""
        features = self.encoder(images).flatten(1)  # (B, 4d)
        return self.mean(features), self.logvar(features).float().clamp(*LOGVAR_RANGE)

    def decode(self, latents: Tensor) -> Tensor:
        """(B, Z) -> (B, 3, 64, 64) in [0, 1]."""
        first, *rest = self.decoder
        assert isinstance(first, nn.ConvTranspose2d)
        assert first.bias is not None
        # A transposed convolution of a single pixel is a matrix product, which is several times faster.
        weight = first.weight.flatten(1)  # (4d, c*5*5)
        hidden = (self.expand(latents) @ weight).unflatten(1, first.weight.shape[1:])  # (B, c, 5, 5)
        hidden = hidden + first.bias[:, None, None].to(hidden.dtype)
        for layer in rest:
            hidden = layer(hidden)
        return hidden
