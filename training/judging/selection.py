"""The controllers of one training with PPO: the best so far, and the history of validations, each in a file."""

from __future__ import annotations

from dataclasses import dataclass

from training.infra.records import read_result, write_result
from training.infra.run_folder import LearnerFolder
from training.judging.scoring import Card
from wm_envs.errors import BrokenStore


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best policy so far, as best.json has it."""

    card: Card
    parameters: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Validated(Card):
    """A validation in history.json, after so many updates."""

    updates: int


@dataclass(frozen=True, kw_only=True)
class History:
    """The validations so far; only the learning curve needs them."""

    validations: tuple[Validated, ...] = ()


class Selection:
    """What a learner's folder holds of its validations."""

    def __init__(self, files: LearnerFolder) -> None:
        self.files = files

    def best(self) -> Best:
        """The best policy; raises `BrokenStore` before the first."""
        if not self.files.best.exists():
            raise BrokenStore(
                "best policy",
                f"no {self.files.best}",
                f"{self.files.best.name} beside {self.files.checkpoint.name}",
                "give another --name to start again",
            )
        return read_result(Best, self.files.best)

    def add(self, updates: int, card: Card, parameters: tuple[float, ...], always: bool = False) -> bool:
        """Keep a policy if none before was better, or `always`; returns whether it is kept.

        An equal score also replaces: a run that was stopped here meets its own score again.
        """
        kept = always or not self.files.best.exists() or card.selection >= self.best().card.selection
        if kept:
            write_result(self.files.best, Best(card=card, parameters=parameters))
        before = [entry for entry in self.history() if entry.updates < updates]
        write_result(self.files.history, History(validations=(*before, Validated(**vars(card), updates=updates))))
        return kept

    def history(self) -> tuple[Validated, ...]:
        """The validations so far, each with the number of updates before it; raises `BrokenStore`."""
        return read_result(History, self.files.history).validations if self.files.history.exists() else ()

    def curve(self, update_size: int) -> tuple[tuple[int, float], ...]:
        """The learning curve: steps until each validation, and its mean in the real game."""
        return tuple((v.updates * update_size, v.validation.mean) for v in self.history() if v.validation)
