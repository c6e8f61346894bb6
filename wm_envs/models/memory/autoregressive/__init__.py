"""M with a head that draws the latents one after the other."""

from wm_envs.models.memory.autoregressive.config import AutoregressiveConfig
from wm_envs.models.memory.autoregressive.network import AutoregressiveMDNRNN

__all__ = ["AutoregressiveConfig", "AutoregressiveMDNRNN"]
