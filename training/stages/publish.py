"""Make a bundle to share from a world, with chosen controllers, scores and a model card."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import Field

from training.config.base import Positive, Text
from training.config.commands import Command as BaseCommand
from training.infra.folders import new_folder
from training.infra.records import from_json, to_json
from training.infra.worlds import check_controller, find_folder
from training.judging.fidelity import FidelityReport
from training.judging.scoring import TEST_SEEDS, Evaluation
from training.judging.world_card import WorldCard, read_world_card
from wm_envs.errors import BrokenStore
from wm_envs.files import write_text
from wm_envs.games.registry import get_task
from wm_envs.models.memory.registry import memory_kinds
from wm_envs.models.vision.registry import vision_kinds
from wm_envs.worlds import hub
from wm_envs.worlds.bundle import (
    CONTROLLERS,
    load_world,
    read_config,
    read_controller,
    save_controller,
    save_world,
)

T = TypeVar("T")


class Command(BaseCommand):
    """Copy a world into a new bundle, with some controllers and the results of its evaluation."""

    world: Text = Field("", description="folder of the world")
    to: str = Field(
        "wm_envs/pretrained/takecover", description="folder of the bundle to make, or hf://USER/NAME: on the hub"
    )
    controllers: str = Field(
        "controller", description="controllers to include, the default one first, comma separated; A=B renames A to B"
    )
    temperature: Positive = Field(1.0, description="default temperature of the new bundle")
    scores: Text = Field("", description="result file of `evaluate --scores`")
    fidelity: Text = Field("", description="file with the JSON line of `fidelity --json`")
    made: Text = Field("", description="how the world was made, for the card: commands, hours, machine")


@dataclass(frozen=True, kw_only=True)
class Published:
    """The new bundle: its folder, or its commit on the hub."""

    bundle: str
    megabytes: float
    controllers: tuple[str, ...]


def main(command: Command) -> Published:
    """Write config.json, the weights, the controllers and README.md; on the hub the result names the commit."""
    source = find_folder(command.world)
    names = {old: new or old for old, _, new in (pair.partition("=") for pair in command.controllers.split(","))}
    for name in names:
        check_controller(source, name, "controllers")
    report = _read(FidelityReport, command.fidelity) if command.fidelity else None
    card = WorldCard(made=command.made, evaluate=_evaluation(command.scores), fidelity=report)
    if not hub.is_on_hub(command.to):
        return _make(Path(command.to), command, source, names, card)
    hub.check_upload(command.to)
    with tempfile.TemporaryDirectory() as place:
        made = Path(place) / "bundle"
        contents = _make(made, command, source, names, card)
        write_text(made / "README.md", hub_card(made, command.to))
        return dataclasses.replace(contents, bundle=hub.upload(made, command.to))


def _evaluation(scores: str) -> Evaluation | None:
    """The result in the file `scores`, without the scores of single episodes."""
    if not scores:
        return None
    result = _read(Evaluation, scores)
    first_seed = result.first_seed or min(map(int, result.scores or {}), default=TEST_SEEDS)
    return dataclasses.replace(result, world=None, game=result.game or None, first_seed=first_seed, scores=None)


def _make(target: Path, command: Command, source: Path, names: dict[str, str], card: WorldCard) -> Published:
    """Make the bundle in the folder `target`."""
    config = read_config(source)
    controllers = config["controllers"]
    with new_folder(target) as made:
        world = load_world(source, overrides={"temperature": command.temperature})
        save_world(made, world, config["card"] | to_json(card))
        for name, renamed in names.items():
            save_controller(made, renamed, *read_controller(source, name), controllers[name].get("card"))
        write_text(made / "README.md", model_card(made, target.name))
    size = sum(path.stat().st_size for path in target.iterdir())
    return Published(bundle=str(target), megabytes=size / 1e6, controllers=tuple(names.values()))


def _read(kind: type[T], path: str) -> T:
    """The result in the JSON object on the last line of a file, or in the file as one; raises `BrokenStore`."""
    try:
        text = Path(path).read_text().strip()
        value = json.loads(text if text.startswith("{\n") else text.splitlines()[-1])
    except (OSError, ValueError, IndexError) as error:
        raise BrokenStore("results", f"{path} ({error})", "a JSON object", "make it with --json or --scores") from error
    return from_json(kind, value, path)


def model_card(folder: Path, name: str) -> str:
    """The model card of a bundle called `name`, from its config.json."""
    bundle = read_config(folder)
    world, card = bundle["world"], read_world_card(folder)
    shift = world["termination_shift"]
    vision, memory = vision_kinds()[world["vision"]["kind"]].network, memory_kinds()[world["memory"]["kind"]].network
    lines = [
        f"# World `{name}`",
        "",
        f"V ({vision.__name__}) and M ({memory.__name__}) after Ha & Schmidhuber, *World Models* (arXiv 1803.10122),",
        "with controllers trained in its dream. Weights are float16 safetensors; `config.json` has their SHA-256. MIT",
        "licence.",
        "",
        f"- One step is {world['frame_skip']} ticks of the game; termination is {world['termination']}"
        f"{f', its logit shifted by {shift:.2f} (calibrated)' if shift else ''}; "
        f"default temperature {world['temperature']}.",
        f"- V: {json.dumps(world['vision'])}",
        f"- M: {json.dumps(world['memory'])}; posterior noise {world['posterior_noise']}",
        f"- How it was made: {card.made or 'not said'}",
        f"- M on held-out episodes: {_figures(card.memory)}",
        f"- Controllers: {', '.join(bundle['controllers'])} (`{CONTROLLERS}`)",
    ]
    if card.evaluate:
        kind = "test" if card.evaluate.first_seed in (None, TEST_SEEDS) else "other"
        figures = {"controller": card.evaluate.controller} | to_json(card.evaluate)
        lines.append(f"- Real game, {kind} seeds: {_figures(figures)}")
    if report := card.fidelity:
        lines += [
            f"- Fidelity at temperature {report.temperature}: Spearman {report.spearman:.3f}, "
            f"{_figures(report.distances)}",
            "",
            "| policy | real | dream |",
            "|---|---|---|",
        ]
        for row in report.policies:
            cells = (f"{score.mean:.0f} +- {score.interval:.0f}" for score in (row.real, row.dream))
            lines.append(f"| {row.policy} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def hub_card(folder: Path, world: str) -> str:
    """The model card of a bundle as the hub wants it: with metadata, and how to open it as `world`."""
    task = get_task(read_config(folder)["world"]["task"])
    tags = ("world-model", "gymnasium", "reinforcement-learning", task.name)
    head = ["---", "license: mit", "library_name: wm-envs", "tags:", *(f"- {tag}" for tag in tags), "---", ""]
    use = [
        "## Use", "", "`pip install 'wm-envs[hub]'`", "", "```python",
        "import gymnasium as gym", "import wm_envs", "",
        f'env = gym.make("{task.dream_id}", world="{world}")', "```", "",
    ]  # fmt: skip
    return "\n".join([*head, model_card(folder, world.rpartition("/")[2]), *use])


def _figures(result: object) -> str:
    """The fields of a result."""
    values = to_json(result)
    if not isinstance(values, dict):
        return "not measured"
    return ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items())
