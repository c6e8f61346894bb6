"""Tables: controllers that were trained in different ways, each played in the real game on the test seeds.

A table is a folder of the round: its rows.json grows row by row, no row is made twice, and table.md is for readers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import torch

from training.acting.policies import Policy
from training.infra.option_groups import (
    DEFAULT_TASK,
    RUNS,
    ControllerOptions,
    RealGameOptions,
    SeedOption,
    WorldRoundOptions,
    game_settings,
)
from training.infra.options import check_run_options, stage_option
from training.infra.packages import check_game
from training.infra.pool import Workers
from training.infra.records import read_result, write_result
from training.infra.run_folder import RunFolder
from training.infra.worlds import copy_world, find_folder, find_round, fingerprint
from training.judging.scoring import TEST_SEEDS, Score
from training.judging.table_rows import TableFile, TableRow
from training.judging.validation import game_score
from wm_envs.envs.checks import game_kwargs
from wm_envs.errors import InvalidOption, OptionsDiffer
from wm_envs.files import file_lock, write_text
from wm_envs.models.world_model import WorldModel
from wm_envs.worlds.bundle import load_world


@dataclass
class TableOptions(SeedOption, RealGameOptions, ControllerOptions, WorldRoundOptions):
    """Options of all tables."""

    world: str = stage_option(
        "", "a shipped world's name or a folder, which is copied into the run; without --run: that of the game"
    )
    episodes: int = stage_option(100, "test episodes per row", identity=True, minimum=1)
    renderer: str = stage_option(
        "", "renderer of the game in the test episodes (default: the one that scores are measured with)", identity=True
    )

    @classmethod
    def defaults(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Without a run, the shipped world of the game in a run folder of its own."""
        if given.get("run"):
            return super().defaults(given)
        world = given.get("world") or given.get("task") or DEFAULT_TASK
        return super().defaults(given) | {"world": world, "run": RUNS / f"tables-{Path(world).name}"}

    def needs_hidden_layer(self) -> None:
        """Raises `InvalidOption` without a hidden layer, for tables that compare with a linear controller."""
        if not self.hidden_sizes:
            raise InvalidOption(
                "hidden_sizes", self.hidden_sizes, "the size of a hidden layer", "give --hidden-sizes 64, for example"
            )

    def needs_validation(self) -> None:
        """Raises `InvalidOption` without validation in the real game."""
        if not self.validate_episodes:
            raise InvalidOption(
                "validate_episodes", 0, "a whole number of at least 1", "give --validate-episodes 1 or more"
            )

    def shared(self) -> dict[str, Any]:
        """Options of every learner of the table."""
        return {name: getattr(self, name) for name in ("run", "round", "validate_episodes", "workers", "ray", "seed")}


class Trained(NamedTuple):
    """The policy of a row, the bundle that it plays with, and what else the row shows; see `TableRow`."""

    world: Path
    policy: Policy
    dream: Score | None = None
    label: str | None = None
    curve: tuple[tuple[int, float], ...] = ()


class Table:
    """Rows of a table; no other process can work on the table while it is open."""

    def __init__(self, name: str, options: TableOptions) -> None:
        self.name, self.options = name, options
        if options.world:
            copy_world(find_folder(options.world), RunFolder(options.run).world_round(options.round).world)
        self.round = find_round(options)
        options.round = self.round.number  # all learners of the table use this round
        self.files = self.round.table(name)
        self.world = load_world(self.round.world)
        check_game(self.world.task)
        self.game_kwargs = game_kwargs(self.world.task, options.renderer or None, game_settings(()))
        self.rows: list[TableRow] = []
        self.asked: list[str] = []

    def __enter__(self) -> Table:
        with ExitStack() as held:
            held.enter_context(file_lock(self.files.rows))
            held.enter_context(check_run_options(self.files.options, self.options, started=self.files.rows))
            if self.files.rows.exists():
                self.rows = self._read()
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._held.__exit__(kind, error, where)

    def row(self, policy: str, train: Callable[[], Trained]) -> None:
        """Train and play a policy, unless the table has a row of that name."""
        self.asked.append(policy)
        if any(row.policy == policy for row in self.rows):
            return
        world, player, dream, label, curve = train()
        seeds = list(range(TEST_SEEDS, TEST_SEEDS + self.options.episodes))
        real, _ = game_score(world, player, seeds, Workers(self.options.workers, self.options.ray), self.game_kwargs)
        self.rows.append(TableRow(policy=policy, player=player.name, real=real, dream=dream, label=label, curve=curve))
        write_result(self.files.rows, TableFile(world=fingerprint(self.round.world), rows=tuple(self.rows)))

    def finish(self) -> dict[str, Any]:
        """Write the table for readers; returns the rows that were asked for."""
        known = {row.policy: row for row in self.rows}
        rows = [known[policy] for policy in self.asked]
        write_text(self.files.markdown, as_markdown(rows))
        print(as_markdown(rows))
        return {"rows": rows, "table": str(self.files.markdown)}

    def _read(self) -> list[TableRow]:
        """The rows so far; raises `BrokenStore`, and `OptionsDiffer` when they are those of another world."""
        table = read_result(TableFile, self.files.rows)
        if table.world != fingerprint(self.round.world):
            raise OptionsDiffer(
                "table", f"{self.files.rows} of another V and M", "the world that its rows were played in",
                f"remove {self.files.path} to make the table again",
            )  # fmt: skip
        return list(table.rows)


def untrained_memory(world: WorldModel, seed: int) -> WorldModel:
    """The same V with an untrained M."""
    torch.manual_seed(seed)
    config = dataclasses.replace(world.config, burn_in=0)  # the states after a burn-in depend on M
    return WorldModel(
        config, world.vision, type(world.memory)(config.memory), world.initial_means, world.initial_logvars
    )


def as_markdown(rows: Sequence[TableRow]) -> str:
    """The table for readers, without empty columns."""
    columns: dict[str, Callable[[TableRow], str]] = {
        "policy": lambda row: row.name,
        "in the dream": lambda row: str(row.dream or ""),
        "in the real game": lambda row: str(row.real),
        "95% interval": lambda row: "{:.0f} to {:.0f}".format(*row.real.bounds),
        "10th percentile": lambda row: f"{row.real.p10:.0f}",
        "goal reached": lambda row: "" if row.real.finished is None else f"{row.real.finished:.0%}",
    }
    cells = {name: [of(row) for row in rows] for name, of in columns.items()}
    shown = {name: values for name, values in cells.items() if any(values)}
    lines = [list(shown), ["---"] * len(shown), *zip(*shown.values(), strict=True)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
