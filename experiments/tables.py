"""Tables: controllers that were trained in different ways, each played in the real game on the test seeds.

A table is a folder of the round: its rows.json grows row by row, no row is made twice, and table.md is for readers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field

from training.acting.policies import Policy
from training.config.base import MAY_CHANGE, Count, Natural, Text
from training.config.commands import DEFAULT_TASK, RUNS, WorldRound
from training.config.records import recorded
from training.infra.packages import check_game
from training.infra.records import read_result, write_result
from training.infra.run_folder import RunFolder
from training.infra.worlds import copy_world, find_folder, find_round, fingerprint
from training.judging.scoring import TEST_SEEDS, Score
from training.judging.table_rows import TableFile, TableRow
from training.judging.validation import game_score
from wm_envs.envs.checks import game_kwargs
from wm_envs.errors import InvalidOption, OptionsDiffer
from wm_envs.files import write_text
from wm_envs.models.world_model import WorldModel
from wm_envs.worlds.bundle import load_world


class TableCommand(WorldRound):
    """What all tables are given."""

    world: Text = Field(
        "", description="a shipped world's name or a folder, which is copied into the run; without --run: the game's"
    )
    episodes: Count = Field(100, description="test episodes per row")
    renderer: Text = Field("", description="renderer of the game in the test episodes (default: the one for scores)")
    hidden_sizes: tuple[Count, ...] = Field((64,), description="tanh units of the controllers' hidden layers")
    validate_episodes: Annotated[Natural, MAY_CHANGE] = Field(48, description="real episodes per validation")

    @property
    def source(self) -> str:
        """The world that is copied into the run; "": none, the run has one."""
        return self.world or ("" if self.run else self.task or DEFAULT_TASK)

    @property
    def run_folder(self) -> RunFolder:
        """The run folder; by default it is named after the world."""
        return RunFolder(self.run or RUNS / f"tables-{Path(self.source).name}")

    def check_comparable(self) -> None:
        """Raises `InvalidOption` without validation in the game or without a hidden layer, for tables that compare."""
        if not self.hidden_sizes:
            fix = "give --hidden-sizes 64, for example"
            raise InvalidOption("hidden_sizes", self.hidden_sizes, "the size of a hidden layer", fix)
        if not self.validate_episodes:
            fix = "give --validate-episodes 1 or more"
            raise InvalidOption("validate_episodes", 0, "a whole number of at least 1", fix)


class Trained(NamedTuple):
    """The policy of a row, the bundle that it plays with, and what else the row shows; see `TableRow`."""

    world: Path
    policy: Policy
    dream: Score | None = None
    label: str | None = None
    curve: tuple[tuple[int, float], ...] = ()


class Table:
    """Rows of a table; no other process can work on the table while it is open."""

    def __init__(self, name: str, command: TableCommand) -> None:
        self.name, self.command = name, command
        run, number = command.run_folder, command.round
        if command.source:
            copy_world(find_folder(command.source), run.world_round(-1 if number == "latest" else number).world)
        self.round = find_round(run, number, command.task)
        self.files = self.round.table(name)
        self.world = load_world(self.round.world)
        check_game(self.world.task)
        self.game_kwargs = game_kwargs(self.world.task, command.renderer or None, {})
        self.rows: list[TableRow] = []
        self.asked: list[str] = []

    def __enter__(self) -> Table:
        with ExitStack() as held:
            held.enter_context(recorded(self.files.options, self.command, made=self.files.rows))
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
        seeds = list(range(TEST_SEEDS, TEST_SEEDS + self.command.episodes))
        real, _ = game_score(world, player, seeds, self.command.pool, self.game_kwargs)
        self.rows.append(TableRow(policy=policy, player=player.name, real=real, dream=dream, label=label, curve=curve))
        write_result(self.files.rows, TableFile(world=fingerprint(self.round.world), rows=tuple(self.rows)))

    def place(self) -> dict[str, Any]:
        """What every learner of the table is given: the round, the seed and the processes."""
        command = self.command
        shared = {name: getattr(command, name) for name in ("seed", "workers", "ray")}
        return {"run": self.round.run.path, "round": self.round.number, **shared}

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
