"""V that encodes how a frame differs from the mean frame of its game."""

from wm_envs.models.vision.residual_vae.config import ResidualVAEConfig
from wm_envs.models.vision.residual_vae.network import ResidualVAE

__all__ = ["ResidualVAE", "ResidualVAEConfig"]
