"""V with a spatial code: latents of the whole frame and of its columns."""

from wm_envs.models.vision.column_vae.config import ColumnVAEConfig
from wm_envs.models.vision.column_vae.network import ColumnVAE

__all__ = ["ColumnVAE", "ColumnVAEConfig"]
