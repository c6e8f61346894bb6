"""Sizes of the paper's M."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from wm_envs.models.memory.lstm import LSTMConfig
from wm_envs.validation import STRICT


@dataclass(frozen=True, config=STRICT)
class MDNRNNConfig(LSTMConfig):
    """Sizes of the MDN-RNN; the defaults are the paper's for Doom (1,678,785 parameters)."""

    joint: Annotated[bool, Field(description="one mixture for all latent dimensions (the paper: one for each)")] = False
    _: KW_ONLY
    kind: str = "mdn-rnn"
