"""The paper's V."""

from wm_envs.models.vision.conv_vae.config import ConvVAEConfig
from wm_envs.models.vision.conv_vae.network import ConvVAE

__all__ = ["ConvVAE", "ConvVAEConfig"]
