"""Tables: controllers that learnt in different ways, each played in the real game on the test seeds.

RUN/NAME/rows.json grows row by row, and a row that is there is not made again; RUN/NAME/table.md is for people.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import torch

from training.evaluation.policies import Policy
from training.evaluation.scoring import TEST_SEEDS
from training.evaluation.validation import score
from training.infra.options import check_run_options, count, game_settings, read_record, stage_option
from training.infra.pool import Workers
from wm_envs.envs.spaces import game_kwargs
from wm_envs.errors import BrokenStore, InvalidOption, OptionsDiffer
from wm_envs.files import file_lock, write_json, write_text
from wm_envs.models.bundle import load_world, read_config
from wm_envs.models.mdn_rnn import MDNRNN
from wm_envs.models.world_model import WorldModel


@dataclass
class TableOptions:
    """What all tables ask for."""

    run: Path = stage_option("runs/takecover", "run folder with a world")
    hidden_sizes: tuple[int, ...] = stage_option((64,), "tanh units of C's hidden layers, where PPO makes some", True)
    validate_episodes: int = stage_option(48, "real episodes in a validation", True)
    episodes: int = stage_option(100, "episodes of every row, on test seeds", True)
    renderer: str = stage_option("", "how the game draws itself at last (default: as scores are measured)", True)
    workers: int = stage_option(0, "processes for the real game (0: one a core)")
    ray: str = stage_option("", "do it on a Ray cluster instead: its address, auto, or local to start one here")
    seed: int = stage_option(0, "of the weights and of the episodes to learn from", True)

    def checked(self) -> None:
        """Raises `InvalidOption` for what no table could be made with."""
        count("episodes", self.episodes)
        for name in ("validate_episodes", "workers", "seed"):
            count(name, getattr(self, name), 0)
        for width in self.hidden_sizes:
            count("hidden_sizes", width)

    def needs_units(self) -> None:
        """Raises `InvalidOption` where a row is called one with a hidden layer and there is none."""
        if not self.hidden_sizes:
            raise InvalidOption(
                "hidden_sizes", self.hidden_sizes, "the width of a hidden layer", "give --hidden-sizes 64, say"
            )

    def shared(self) -> dict[str, Any]:
        """What every learner of the table is given."""
        return {name: getattr(self, name) for name in ("validate_episodes", "workers", "ray", "seed")}


class Learnt(NamedTuple):
    """Who is to be played for a row, through which bundle, and what else stands in the row."""

    world: Path
    policy: Policy
    more: dict[str, Any] = {}  # noqa: RUF012 - nobody writes to it


class Table:
    """Rows of RUN/NAME/rows.json, for as long as it is entered this process's own."""

    def __init__(self, name: str, options: TableOptions) -> None:
        self.name, self.options, self.folder = name, options, Path(options.run) / name
        self.world = load_world(Path(options.run) / "world")
        self.how = game_kwargs(self.world.task, options.renderer or None, game_settings(()))
        self.path = self.folder / "rows.json"
        self.rows: list[dict[str, Any]] = []
        self.asked: list[str] = []

    def __enter__(self) -> Table:
        with ExitStack() as held:
            held.enter_context(file_lock(self.path))
            held.enter_context(check_run_options(self.folder / "options.json", self.options, begun=self.path))
            if self.path.exists():
                self.rows = self._read()
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._held.__exit__(kind, error, where)

    def row(self, policy: str, learn: Callable[[], Learnt]) -> None:
        """Let somebody learn and play, unless the row called `policy` is there."""
        self.asked.append(policy)
        if any(row["policy"] == policy for row in self.rows):
            return
        world, player, more = learn()
        seeds = list(range(TEST_SEEDS, TEST_SEEDS + self.options.episodes))
        real, _ = score(world, player, seeds, Workers(self.options.workers, self.options.ray), self.how)
        self.rows.append({"policy": policy, "player": player.name, "real": real, **more})
        write_json(self.path, {"world": self._world(), "rows": self.rows})

    def finish(self) -> dict[str, Any]:
        """Write the table for people; returns the rows that were asked for."""
        known = {row["policy"]: row for row in self.rows}
        rows = [known[policy] for policy in self.asked]
        write_text(self.folder / "table.md", as_markdown(rows))
        print(as_markdown(rows))
        return {"rows": rows}

    def _world(self) -> str:
        """Names the V and M that the rows are of."""
        return str(read_config(Path(self.options.run) / "world")["files"]["world.safetensors"]["sha256"])

    def _read(self) -> list[dict[str, Any]]:
        """The rows that are there; raises `BrokenStore`, and `OptionsDiffer` when they are another world's."""
        found = read_record(self.path)
        rows = found.get("rows")
        if not isinstance(rows, list) or not all(_is_row(row) for row in rows):
            raise BrokenStore("table", self.path, "the rows that were made", "remove it and run the stage again")
        if found.get("world") != self._world():
            raise OptionsDiffer(
                "table", f"{self.path} of another V and M", "the world that its rows were played in",
                f"remove {self.folder} to make the table anew",
            )  # fmt: skip
        return rows


def _is_row(row: object) -> bool:
    if not isinstance(row, dict) or not {"policy", "real"} <= set(row):
        return False
    summaries = [row[side] for side in ("real", "dream") if side in row]
    return all(isinstance(each, dict) and {"mean", "std", "interval", "p10"} <= set(each) for each in summaries)


def untrained_memory(world: WorldModel, seed: int) -> WorldModel:
    """The same V with an M that never learnt."""
    torch.manual_seed(seed)
    config = dataclasses.replace(world.config, burn_in=0)  # M's states after it are another M's
    return WorldModel(config, world.vision, MDNRNN(config.memory), world.initial_means, world.initial_logvars)


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """The table, for people: a column only where some row has something for it."""
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "policy": lambda row: row["policy"],
        "in the dream": lambda row: _spread(row["dream"]) if "dream" in row else "",
        "in the real game": lambda row: _spread(row["real"]),
        "95% interval": lambda row: "{:.0f} to {:.0f}".format(*_interval(row["real"])),
        "10th percentile": lambda row: f"{row['real']['p10']:.0f}",
        "goal reached": lambda row: f"{row['real']['finished']:.0%}" if "finished" in row["real"] else "",
    }
    cells = {name: [of(row) for row in rows] for name, of in columns.items()}
    shown = {name: values for name, values in cells.items() if any(values)}
    lines = [list(shown), ["---"] * len(shown), *zip(*shown.values(), strict=True)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _spread(value: dict[str, float]) -> str:
    return f"{value['mean']:.0f} +- {value['std']:.0f}"


def _interval(value: dict[str, float]) -> tuple[float, float]:
    return value["mean"] - value["interval"], value["mean"] + value["interval"]
