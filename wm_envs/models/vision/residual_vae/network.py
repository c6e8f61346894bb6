"""The paper's V on how a frame differs from the mean frame of its game."""

from __future__ import annotations

from torch import Tensor, nn

from wm_envs.models.vision.conv_vae.network import ConvVAE
from wm_envs.models.vision.residual import ResidualVision
from wm_envs.models.vision.residual_vae.config import ResidualVAEConfig


class ResidualVAE(ResidualVision, ConvVAE):
    """The networks of the paper's V between the difference and the latents."""

    def __init__(self, config: ResidualVAEConfig) -> None:
        ConvVAE.__init__(self, config)
        self.decoder = nn.Sequential(*list(self.decoder)[:-1])  # without the sigmoid: a difference has no bounds
        self.add_page()

    def encode_difference(self, differences: Tensor) -> tuple[Tensor, Tensor]:
        """See `ResidualVision.encode_difference`."""
        return ConvVAE.encode(self, differences)

    def decode_difference(self, latents: Tensor) -> Tensor:
        """See `ResidualVision.decode_difference`."""
        return ConvVAE.decode(self, latents)
