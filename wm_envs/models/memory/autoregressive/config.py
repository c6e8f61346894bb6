"""Sizes of the autoregressive M."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from wm_envs.models.memory.lstm import LSTMConfig
from wm_envs.validation import STRICT, Size


@dataclass(frozen=True, config=STRICT)
class AutoregressiveConfig(LSTMConfig):
    """Sizes of the autoregressive M."""

    _: KW_ONLY
    active: tuple[int, ...] = ()  # modelled latent dimensions in the order they are drawn (none named: all)
    units: Annotated[Size, Field(description="U, ReLU units between h and the mixture of one dimension")] = 48
    joint: Literal[False] = False  # bundles have it
    kind: str = "autoregressive"

    @model_validator(mode="after")
    def _active_exist(self) -> AutoregressiveConfig:
        if len(set(self.active)) < len(self.active) or not all(0 <= at < self.latent for at in self.active):
            raise ValueError(f"active is {self.active}, expected different dimensions from 0 to {self.latent - 1}")
        return self
