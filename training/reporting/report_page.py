"""The data of a report's page; report.html.jinja makes them a page."""

from __future__ import annotations

import csv
import functools
import importlib.metadata
import platform
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from training.acting.policies import load_policy
from training.config.records import flattened
from training.data.episode_store import RolloutStore
from training.infra.records import from_json, read_record, read_result
from training.infra.run_folder import BUNDLE, RunFolder
from training.judging.choices import Choices
from training.judging.fidelity import FidelityReport
from training.judging.replay import longest_episode, read_episode, watch
from training.judging.scoring import Card, Evaluation
from training.judging.table_rows import TableFile
from training.judging.world_card import read_cards, read_world_card
from training.reporting import figures, predictions
from training.reporting.summary import commands, score_sentence
from wm_envs.files import JsonObject
from wm_envs.games.registry import TASKS
from wm_envs.models.world_model import WorldModel
from wm_envs.worlds.bundle import load_world

PACKAGES = ("wm-envs", "torch", "gymnasium", "numpy", "zarr", "stable-baselines3", "cma")


@dataclass(frozen=True)
class Block:
    """A piece of a section."""

    kind: str  # heading, text, strong, missing, list, command, svg, png, table, or details (a table to unfold)
    text: str = ""
    image: str = ""  # an SVG element, or the data URI of a PNG
    head: Sequence[str] = ()  # of a table
    rows: Sequence[Any] = ()  # of a table: sequences of cells; of a list: its items


def make_page(run: RunFolder) -> tuple[str, list[str]]:
    """The HTML of a run's report, and the titles of the sections without data, which the page lists at its end."""
    sections = {title: _blocks(make) for title, make in Contents(run).sections().items()}
    shown = {title: blocks for title, blocks in sections.items() if blocks}
    missing = [title for title in sections if title not in shown]
    templates = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = templates.from_string(Path(__file__).with_name("report.html.jinja").read_text("utf-8"))
    return template.render(title=f"wm-envs: {run.path.resolve().name}", sections=shown, missing=missing), missing


def _blocks(make: Callable[[], Iterator[Block]]) -> list[Block]:
    try:
        return list(make())
    except Exception as error:  # one broken file must not hide the rest
        return [Block("missing", f"Unreadable: {str(error) or repr(error)}")]


class Contents:
    """The sections of a run's report. Each yields its blocks, or none without data."""

    def __init__(self, run: RunFolder) -> None:
        self.run, self.rounds = run, run.rounds()
        self.worlds = [folder.world for folder in self.rounds if folder.has_world]

    def sections(self) -> dict[str, Callable[[], Iterator[Block]]]:
        """All sections in order, by their titles."""
        tables = {
            f"Table: {path.parent.name} of {folder.name}": functools.partial(self.table, path)
            for folder in self.rounds
            for path in folder.tables()
        }
        return {
            "Result": self.result,
            **tables,
            "Fidelity": self.fidelity,
            "V: frames and their reconstructions": self.reconstructions,
            "V: latent traversals": self.traversals,
            "M: predictions": self.predictions,
            "Filmstrips": self.films,
            "Curves": self.curves,
            "Population": self.populations,
            "Budget and choices": self.budget,
            "Options and versions": self.options,
            "Commands": self.commands,
        }

    @functools.cached_property
    def results(self) -> JsonObject:
        """What results.json has."""
        return read_record(self.run.results) if self.run.results.exists() else {}

    @functools.cached_property
    def choices(self) -> Choices | None:
        """What a run with minutes decided."""
        return read_result(Choices, self.run.choices) if self.run.choices.exists() else None

    @functools.cached_property
    def world(self) -> WorldModel:
        """The last world."""
        return load_world(self.worlds[-1])

    def result(self) -> Iterator[Block]:
        """What the run has come to, its score, and the scores of every round."""
        if self.choices and self.choices.verdict:
            yield Block("strong", self.choices.verdict)
        if values := self.results.get("final", self.results).get("evaluate"):  # an older run has it at the top
            yield Block("strong", score_sentence(from_json(Evaluation, values, self.run.results)))
        reports, rows = self._reports(), []
        for name, done in self.results.items():
            learned = next((done[key] for key in ("ppo", "evolve") if isinstance(done, dict) and key in done), None)
            if learned:
                card = from_json(Card, learned, self.run.results)
                spearman = f"{reports[name].spearman:.2f}" if name in reports else ""
                rows.append([name, card.dream or "", card.validation or "", spearman])
        if rows:
            yield Block("table", head=["", "in dreams", "in the game (validation)", "Spearman"], rows=rows)

    def _reports(self) -> dict[str, FidelityReport]:
        return {
            name: from_json(FidelityReport, done["fidelity"], self.run.results)
            for name, done in self.results.items()
            if isinstance(done, dict) and "fidelity" in done
        }

    def table(self, path: Path) -> Iterator[Block]:
        """A table of an experiment."""
        rows = read_result(TableFile, path).rows
        yield Block("svg", image=figures.intervals([(row.name, row.real, row.dream) for row in rows]))
        if learners := {row.policy: row.curve for row in rows if len(row.curve) > 1}:  # one point is not a curve
            yield Block("svg", image=figures.learning(learners))

    def fidelity(self) -> Iterator[Block]:
        """The policies' scores in the game and in the dream."""
        reports = self._reports()
        if not reports and self.worlds and (report := read_world_card(self.worlds[-1]).fidelity):
            reports = {"world": report}
        controllers = {name for folder in self.worlds for name in read_cards(folder)}
        for name, report in reports.items():
            yield Block("heading", f"{name}, temperature {report.temperature:g}: Spearman {report.spearman:.3f}")
            yield Block("svg", image=figures.fidelity(report.policies, controllers))

    def reconstructions(self) -> Iterator[Block]:
        """The pictures of every round."""
        for folder in self.rounds:
            for path in folder.images():
                image = figures.png(np.asarray(Image.open(path).convert("RGB")))
                yield Block("png", f"{path.stem} of {folder.name}", image)

    def traversals(self) -> Iterator[Block]:
        """What single latent dimensions change in V's picture."""
        if self.worlds:
            picture, dimensions = figures.traversals(self.world)
            shown = ", ".join(map(str, dimensions))
            yield Block("text", f"From -3 to 3, the dimensions with the least noise first: {shown}.")
            yield Block("png", "latent traversals", figures.png(picture))

    def predictions(self) -> Iterator[Block]:
        """A held-out episode, and M's predictions of it."""
        if not self.worlds or not self.run.rollouts.is_dir():
            return
        world = self.world
        part = RolloutStore(self.run.rollouts).split()[1][-1]  # held out from training
        watched = watch(world, read_episode(part, longest_episode(part, ended=True)))
        film = predictions.film(world, watched, world.config.temperature)
        yield Block(
            "text",
            f"The longest held-out episode that the game ended, {len(watched.frames)} steps. Dreams at temperature "
            f"{world.config.temperature:g} take the recorded actions. From the top:",
        )
        yield Block("list", rows=film.rows)
        yield Block("png", "an episode and M's predictions of it", figures.png(film.picture))
        yield Block("svg", image=predictions.lines(world, watched, world.config.temperature))

    def films(self) -> Iterator[Block]:
        """Frames of the game, and of dreams of up to three controllers."""
        if self.run.rollouts.is_dir():
            yield Block("heading", "The game, as recorded")
            yield Block("png", "frames of the game", figures.png(figures.real_strip(RolloutStore(self.run.rollouts))))
        for folder in self.worlds[-1:]:
            temperature = self.world.config.temperature
            for name in list(read_cards(folder))[:3]:
                strip = figures.dream_strip(self.world, load_policy(folder, name), temperature)
                yield Block("heading", f"A dream of {name}, temperature {temperature:g}")
                yield Block("png", "frames of a dream", figures.png(strip))

    def curves(self) -> Iterator[Block]:
        """The metrics of every stage."""
        for folder in self.rounds:
            for path in folder.curves():
                points = {name: values for name, values in read_curves(path).items() if len(values)}
                lines = {name: values for name, values in points.items() if len(values) > 1}
                once = {name: values[0, 1] for name, values in points.items() if name not in lines}
                if points:
                    yield Block("heading", f"{folder.name}: {path.stem}")
                if lines:
                    yield Block("svg", image=figures.curves(lines))
                if once:  # one point is not a curve
                    shown = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in once.items())
                    yield Block("text", f"Measured once: {shown}.")

    def populations(self) -> Iterator[Block]:
        """The scores of CMA-ES' candidates."""
        for folder in self.rounds:
            for search in folder.searches():
                scores = [entry["scores"] for entry in read_record(search.history)["generations"]]
                if len(scores) > 1:
                    yield Block("heading", f"{folder.name}: {search.path.name}")
                    yield Block("svg", image=figures.population(scores))

    def options(self) -> Iterator[Block]:
        """The options of every stage, and the versions of packages."""
        for folder in self.rounds:
            for name, path in folder.option_records().items():
                rows = [(option, _words(value)) for option, value in read_record(path).items()]
                yield Block("details", f"{folder.name}: {name}", head=["option", "value"], rows=rows)
        versions = [(name, _version(name)) for name in [*PACKAGES, *_game_packages()]]
        rows = [("Python", platform.python_version()), *versions]
        yield Block("details", "Versions that wrote this report", head=["package", "version"], rows=rows)

    def budget(self) -> Iterator[Block]:
        """How a run spent its minutes, and what it decided."""
        if not self.choices:
            return
        speeds = {name: value for name, value in vars(self.choices.measured).items() if isinstance(value, float)}
        motion = self.choices.measured.motion
        shown = ", ".join(f"{name} {value:.4g}" for name, value in speeds.items())
        yield Block("text", f"Measured at the start, a second: {shown}. Things move {motion.pixels:.2g} pixels a tick.")
        taken, rows = self.results.get("seconds", {}), []
        for stage, seconds in self.choices.planned.items():
            values = ", ".join(f"{name} {value}" for name, value in self.choices.values.get(stage, {}).items())
            rows.append(
                (stage, f"{seconds:.0f}", f"{taken.get(stage, 0):.0f}", values, self.choices.said.get(stage, ""))
            )
        yield Block("table", head=["stage", "seconds planned", "taken", "chosen", "found"], rows=rows)

    def commands(self) -> Iterator[Block]:
        """What to do next."""
        worlds = [*self.worlds, *([self.run.best] if (self.run.best / BUNDLE).exists() else [])]
        lines = [(aim, command) for world in worlds[-1:] for aim, command in commands(world).items()]
        if self.run.options.exists() and "plan" not in (record := read_record(self.run.options)):  # else: of 1.0
            lines.append(("make it again", run_command(record)))
        for aim, command in lines:
            yield Block("text", f"To {aim}:")
            yield Block("command", command)


def run_command(record: JsonObject) -> str:
    """The command that starts a run with these options, which can be pasted into a shell."""
    options = {name: value for name, value in flattened(record).items() if value not in ("", None)}
    return " ".join(["python -m training run", *(_argument(name, value) for name, value in options.items())])


def read_curves(path: Path) -> dict[str, np.ndarray]:
    """A CSV log as points (N, 2), step and value, for each metric; rows without the metric are left out."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in (rows[0] if rows else {}) if name not in ("step", "seconds", None)]
    return {
        name: np.array([(float(row["step"]), float(row[name])) for row in rows if row[name]]).reshape(-1, 2)
        for name in names
    }


def _words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _argument(name: str, value: object) -> str:
    """An option of the command line; for a flag, --STAGE.NAME or --STAGE.no-NAME."""
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        stage, dot, last = flag.rpartition(".")
        return f"--{flag}" if value else f"--{stage}{dot}no-{last}"
    return shlex.join([f"--{flag}", *map(str, value if isinstance(value, list) else [value])])


def _game_packages() -> list[str]:
    """Packages of all games, by the name of their distribution where they are installed."""
    owners = importlib.metadata.packages_distributions()
    modules = {module for task in TASKS.values() for module in task.requires}
    return sorted({name for module in modules for name in owners.get(module, [module])})


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
