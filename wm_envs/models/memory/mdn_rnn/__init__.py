"""The paper's M."""

from wm_envs.models.memory.mdn_rnn.config import MDNRNNConfig
from wm_envs.models.memory.mdn_rnn.network import MDNRNN

__all__ = ["MDNRNN", "MDNRNNConfig"]
