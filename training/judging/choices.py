"""What a run with minutes measured and decided: speeds, the sizes of its stages, and what its gates found."""

from __future__ import annotations

from dataclasses import dataclass, field

from training.judging.motion import Motion
from wm_envs.files import JsonObject

DREAMS = 256  # in which a controller is evaluated


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Speeds of one process, and what moves in the game. Rates are a second."""

    motion: Motion
    frames: float  # of random play
    steps: float  # of a controller in the game, on the features of V and M
    encoded: float  # frames that V encodes
    vision: float  # batches
    memory: float  # batches
    updates: float  # of PPO in the dream
    dreams: float  # steps of `DREAMS` dreams


@dataclass(frozen=True)
class Choices:
    """What a run decided, of each stage that has begun by "ROUND/STAGE"."""

    measured: Measured
    values: dict[str, JsonObject] = field(default_factory=dict)  # of its configuration
    planned: dict[str, float] = field(default_factory=dict)  # seconds
    estimated: dict[str, float] = field(default_factory=dict)  # seconds that its sizes take by the measured speeds
    again: list[str] = field(default_factory=list)  # those that a gate has sent back
    said: dict[str, str] = field(default_factory=dict)  # by the gates
    verdict: str = ""  # on the whole run, in one sentence
