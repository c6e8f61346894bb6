"""Rows of tables: controllers that are trained in different ways and play the same test episodes of the real game."""

from __future__ import annotations

from dataclasses import dataclass

from training.judging.scoring import Score


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """The scores of one policy."""

    policy: str
    player: str | None = None  # name of the policy in its world
    real: Score
    dream: Score | None = None
    label: str | None = None  # for readers, instead of `policy`
    curve: tuple[tuple[int, float], ...] = ()  # of `scoring.Learned`

    @property
    def name(self) -> str:
        """The name for readers."""
        return self.label or self.policy


@dataclass(frozen=True, kw_only=True)
class TableFile:
    """A table as its rows.json has it."""

    rows: tuple[TableRow, ...]
    world: str | None = None  # fingerprint of the world whose V and M the rows play with
