"""A scene: everything that is drawn at one tick. Widgets get a scene, and know nothing of the player."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from player.guides import Gauge
from player.latents import Editor
from wm_envs.games.base import Frame


@dataclass(frozen=True)
class Picture:
    """A frame (64, 64, 3) uint8, and the words on the strip above it, if there is one."""

    frame: Frame
    title: Sequence[str] = ()


@dataclass(frozen=True)
class Plot:
    """The last values of a view; `length` of them fill the plot."""

    words: str
    values: Sequence[float]
    length: int
    limits: tuple[float, float]


@dataclass(frozen=True)
class Scene:
    """Pictures from left to right, the message over them, and the contents of the panel beside them."""

    pictures: list[Picture]
    message: list[str] = field(default_factory=list)
    message_at_top: bool = True
    smooth: bool = False
    editor: Editor | None = None  # it takes the place of a second picture

    scores: list[str] = field(default_factory=list)  # the score of each view, and the time
    best_scores: list[str] = field(default_factory=list)
    driver: str = ""  # who is in control
    temperature: str = ""  # empty if no dream is visible
    temperature_fraction: float = 0.0  # place on the slider, 0 to 1
    plots: list[Plot] = field(default_factory=list)
    gauges: list[Gauge] = field(default_factory=list)
    goal: str = ""

    @property
    def columns(self) -> int:
        """Number of squares side by side."""
        return 2 if self.editor else len(self.pictures)
