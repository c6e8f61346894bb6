"""The kinds of M. A new kind is a folder beside this file and one line in it.

A kind can also stand in another package: call `register_memory` when that package is imported.
"""

from __future__ import annotations

from wm_envs.models.kinds import Kinds
from wm_envs.models.memory.autoregressive import AutoregressiveConfig, AutoregressiveMDNRNN
from wm_envs.models.memory.base import Memory, MemoryConfig
from wm_envs.models.memory.mdn_rnn import MDNRNN, MDNRNNConfig

_KINDS: Kinds[MemoryConfig, Memory] = Kinds()


def memory_kinds() -> Kinds[MemoryConfig, Memory]:
    """The kinds of M by name."""
    return _KINDS


def register_memory(config: type[MemoryConfig], network: type[Memory]) -> None:
    """Add a kind of M: its config, whose `kind` is its name, and its network, made from a config."""
    _KINDS.register(config, network)


register_memory(MDNRNNConfig, MDNRNN)
register_memory(AutoregressiveConfig, AutoregressiveMDNRNN)
