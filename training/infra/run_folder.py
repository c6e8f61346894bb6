"""The layout of a run on disk: every path and record of a run has its name here and nowhere else.

RUN/
    rollouts/  latents/               the store and its latent cache, of all rounds
    round-0/  round-1/  ...           the models of each round, see `RoundFolder`
    best/                             the best world of all rounds, with its best controller first
    game.json  preview.png            the environment that is the game, and what V will see of it
    run.json  choices.json  results.json  scores.json  report.html  fidelity_cache.json
    set-aside/                        broken files that `doctor --repair` moved away

RUN/round-N/
    vision.safetensors  vision.json  vision_metrics.json      V, its options and its metrics
    memory.safetensors  memory.json  memory_metrics.json      M, its options and its metrics
    moments.safetensors                                       recorded moments, where dreams of PPO can begin
    world/                                                    V and M as an environment, with its controllers
    ppo/NAME/  evolve/NAME/                                   a learner and its history
    transfer/  ablations/  learners/                          tables
    logs/  pictures/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wm_envs.errors import BrokenStore, InvalidOption

LATENTS, SET_ASIDE = "latents", "set-aside"
BUNDLE = "config.json"  # the file that makes a folder a bundle


class Place:
    """A file or folder with a fixed name in a folder; read from an instance, it is the whole path."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, folder: Folder, owner: type[Folder]) -> Path:
        return folder.path / self.name


class Folder(Protocol):
    """What has places: its path."""

    @property
    def path(self) -> Path:
        """The folder itself."""


@dataclass(frozen=True)
class LearnerFolder:
    """One controller while it learns with PPO or CMA-ES."""

    path: Path

    options = Place("options.json")  # the record of its options
    checkpoint = Place("policy.safetensors")  # the last policy and its optimizer (PPO)
    best = Place("best.json")  # the best controller so far and its card (PPO)
    history = Place("history.json")  # the scores so far


@dataclass(frozen=True)
class TableFolder:
    """One table of controllers."""

    path: Path

    options = Place("options.json")  # the record of its options
    rows = Place("rows.json")  # the rows so far
    markdown = Place("table.md")  # the table for readers


@dataclass(frozen=True)
class RoundFolder:
    """The models of one round, and everything that learned in their dreams."""

    run: RunFolder
    number: int

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self.run.path / f"round-{self.number}"

    @property
    def name(self) -> str:
        """The round in words."""
        return f"round {self.number}"

    vision = Place("vision.safetensors")  # the checkpoint of V
    vision_options = Place("vision.json")  # the options V is trained with
    vision_metrics = Place("vision_metrics.json")  # V on held-out frames
    memory = Place("memory.safetensors")  # the checkpoint of M
    memory_options = Place("memory.json")  # the options M is trained with
    memory_metrics = Place("memory_metrics.json")  # M on held-out episodes
    moments = Place("moments.safetensors")  # recorded moments, where dreams of PPO can begin
    world = Place("world")  # the bundle of V, M and the controllers

    @property
    def has_world(self) -> bool:
        """Whether the bundle is there."""
        return (self.world / BUNDLE).exists()

    logs = Place("logs")  # curves of the stages
    pictures = Place("pictures")  # pictures of what V does
    vision_picture = Place("pictures/vision.png")  # frames and their reconstructions

    def ppo(self, name: str) -> LearnerFolder:
        """A controller that learns with PPO."""
        return LearnerFolder(self.path / "ppo" / name)

    def evolve(self, name: str) -> LearnerFolder:
        """A controller that learns with CMA-ES."""
        return LearnerFolder(self.path / "evolve" / name)

    def table(self, name: str) -> TableFolder:
        """A table by its name."""
        return TableFolder(self.path / name)

    def tables(self) -> list[Path]:
        """The rows of all tables of experiments."""
        return sorted(self.path.glob("*/rows.json"))

    def searches(self) -> list[LearnerFolder]:
        """All controllers that learn with CMA-ES and have a history."""
        return [LearnerFolder(path.parent) for path in sorted(self.path.glob("evolve/*/history.json"))]

    def curves(self) -> list[Path]:
        """The CSV logs of the stages."""
        return sorted(self.logs.glob("*.csv"))

    def images(self) -> list[Path]:
        """All pictures."""
        return sorted(self.pictures.glob("*.png"))

    def option_records(self) -> dict[str, Path]:
        """The options of every stage, by the stage's or the controller's name."""
        learners = [path for kind in ("ppo", "evolve") for path in sorted(self.path.glob(f"{kind}/*/options.json"))]
        found = {"vision": self.vision_options, "memory": self.memory_options}
        found |= {f"{path.parent.parent.name} {path.parent.name}": path for path in learners}
        found |= {path.parent.name: path for path in sorted(self.path.glob("*/options.json"))}  # tables
        return {name: path for name, path in found.items() if path.exists()}


class RunFolder:
    """A run folder; nothing is created before a stage writes."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    rollouts = Place("rollouts")  # the store of episodes of all rounds
    game = Place("game.json")  # the game of the run, when it is that of an environment
    preview = Place("preview.png")  # what V will see
    collect_lock = Place("rollouts/collect")  # what a process locks while it writes to the store
    latents = Place(LATENTS)  # the latents of the store, by the V that made them
    options = Place("run.json")  # the options of the whole run
    choices = Place("choices.json")  # what a run with minutes measured and decided
    results = Place("results.json")  # the metrics of every stage
    scores = Place("scores.json")  # the score of every test episode
    report = Place("report.html")  # the report
    best = Place("best")  # the best world of all rounds
    fidelity_cache = Place("fidelity_cache.json")  # real returns of scripts, which do not depend on the models

    def round(self, number: int) -> RoundFolder:
        """The folder of a round, which may not be there yet."""
        return RoundFolder(self, number)

    def rounds(self) -> list[RoundFolder]:
        """The rounds that are there, in order."""
        numbers = [path.name.removeprefix("round-") for path in self.path.glob("round-*") if path.is_dir()]
        return [self.round(number) for number in sorted(int(each) for each in numbers if each.isdecimal())]

    def world_round(self, number: int = -1) -> RoundFolder:
        """Round `number`; with -1, the latest round that has a world (round 0 when there is none)."""
        if number >= 0:
            return self.round(number)
        return next((each for each in reversed(self.rounds()) if each.has_world), self.round(0))

    def vision_round(self, number: int) -> RoundFolder:
        """The latest round up to `number` that has a V (round `number` itself when there is none)."""
        rounds = (self.round(each) for each in range(number, -1, -1))
        return next((each for each in rounds if each.vision.exists()), self.round(number))

    def check_exists(self) -> None:
        """Raises `BrokenStore` when there is no such folder."""
        if not self.path.is_dir():
            raise BrokenStore("run", self.path, "a run folder", "give --run the folder that the stages were given")

    def check_round(self, number: int) -> None:
        """Raises `InvalidOption` for a round that cannot be next: the one before has no V and no world."""
        if number and not (self.vision_round(number - 1).vision.exists() and self.round(number - 1).path.is_dir()):
            following = len(self.rounds())
            raise InvalidOption(
                "round", f"{number}, in {self.path} without a round {number - 1}", f"a round up to {following}",
                f"give --round {following}, or make the rounds before first, as `python -m training run` does",
            )  # fmt: skip

    def folders(self) -> list[Path]:
        """The run folder and all folders in it."""
        return [self.path, *(path for path in self.path.rglob("*") if path.is_dir() and not path.is_symlink())]

    def readable(self) -> Iterator[tuple[Path, str]]:
        """Everything that can be read by itself, each with its kind: parts, bundles, latents, checkpoints or json."""
        for path in sorted(self.path.rglob("*")):
            inside = path.relative_to(self.path).parts
            in_part = any(name.endswith(".zarr") for name in inside[:-1])
            if inside[0] == SET_ASIDE or in_part or path.name.startswith("."):
                continue
            bundled = any((parent / BUNDLE).exists() for parent in path.parents if self.path in parent.parents)
            if path.suffix == ".zarr":
                yield path, "parts"
            elif path.name == BUNDLE:
                yield path.parent, "bundles"
            elif path.suffix == ".safetensors" and not bundled:
                yield path, "latents" if LATENTS in inside else "checkpoints"
            elif path.suffix == ".json" and not bundled:
                yield path, "json"

    def set_aside(self, name: str) -> Path:
        """Move RUN/name to RUN/set-aside/name, or beside what is there already; returns where it is now."""
        target, number = self.path / SET_ASIDE / name, 1
        while target.exists():
            number += 1
            target = self.path / SET_ASIDE / f"{name}.{number}"
        target.parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).rename(target)
        return target
