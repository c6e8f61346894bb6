"""V with latents of the whole frame and of the cells of a grid."""

from wm_envs.models.vision.grid_vae.config import GridVAEConfig
from wm_envs.models.vision.grid_vae.network import GridVAE

__all__ = ["GridVAE", "GridVAEConfig"]
