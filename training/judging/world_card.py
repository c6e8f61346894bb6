"""The card of a world: the results that its bundle keeps in config.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training.infra.records import from_json
from training.judging.fidelity import FidelityReport
from training.judging.memory_metrics import MemoryMetrics
from training.judging.scoring import Card, Evaluation
from wm_envs.worlds.bundle import read_config


@dataclass(frozen=True, kw_only=True)
class WorldCard:
    """How a world was made, and what was measured of it."""

    memory: MemoryMetrics | str | None = None  # a word for an M that is not trained
    made: str | None = None
    evaluate: Evaluation | None = None
    fidelity: FidelityReport | None = None


def read_world_card(folder: Path) -> WorldCard:
    """The card of the bundle in `folder`; raises `BrokenStore`."""
    return from_json(WorldCard, read_config(folder)["card"], folder)


def read_cards(folder: Path) -> dict[str, Card]:
    """The cards of the controllers of a bundle, by name; raises `BrokenStore`."""
    controllers = read_config(folder)["controllers"]
    return {name: from_json(Card, entry.get("card") or {}, f"{folder}, {name}") for name, entry in controllers.items()}
