"""The page of a report: its sections, each of which yields pieces of HTML, or nothing without data."""

from __future__ import annotations

import csv
import functools
import html
import importlib.metadata
import platform
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from training.acting.policies import load_policy
from training.data.episode_store import RolloutStore
from training.infra.records import from_json, read_record, read_result
from training.infra.run_folder import BUNDLE, RoundFolder, RunFolder
from training.judging.fidelity import FidelityReport
from training.judging.replay import longest_episode, read_episode, watch
from training.judging.scoring import Card, Evaluation
from training.judging.table_rows import TableFile
from training.judging.world_card import read_world_card
from training.reporting import figures, predictions
from training.reporting.summary import commands, score_sentence
from wm_envs.games.registry import TASKS
from wm_envs.worlds.bundle import load_world, read_config

TABLES = {
    "transfer": "Transfer",
    "ablations": "What C needs",
    "learners": "Learners",
}  # name of each table, and its title
PACKAGES = ("wm-envs", "torch", "gymnasium", "numpy", "zarr", "stable-baselines3", "cma")
STYLE = """
:root { color-scheme: light dark; --soft: #8883; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1, h2, h3 { line-height: 1.2; } nav { font-size: 0.9rem; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--soft); }
svg, img { max-width: 100%; height: auto; } img { image-rendering: pixelated; }
div.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 0.9rem; }
td, th { text-align: left; padding: 0.2rem 0.8rem 0.2rem 0; border-bottom: 1px solid var(--soft); }
pre { overflow-x: auto; background: var(--soft); padding: 0.6rem; } .missing { opacity: 0.7; font-style: italic; }
"""


Section = tuple[str, Callable[[], Iterator[str]]]  # title, and what makes its pieces


def make_page(run: RunFolder) -> tuple[str, list[str]]:
    """The HTML of a run's report, and the titles of the sections without data, which are not shown."""
    body: list[str] = []
    missing: list[str] = []
    links: list[str] = []
    for number, (title, make) in enumerate(_sections(run, run.rounds())):
        try:
            parts = list(make())
        except Exception as error:  # one broken file must not hide the rest
            parts = [f"<p class='missing'>Unreadable: {html.escape(str(error) or repr(error))}</p>"]
        if not parts:
            missing.append(title)
            continue
        links.append(f"<a href='#section-{number}'>{html.escape(title)}</a>")
        body += [f"<section id='section-{number}'><h2>{html.escape(title)}</h2>", *parts, "</section>"]
    title = html.escape(f"wm-envs: {run.path.resolve().name}")
    head = "<meta charset='utf-8'><meta name='viewport' content='width=device-width'><link rel='icon' href='data:,'>"
    page = f"<!doctype html><html lang='en'><head>{head}<title>{title}</title><style>{STYLE}</style></head>"
    return f"{page}<body><h1>{title}</h1><nav>{' | '.join(links)}</nav>{''.join(body)}</body></html>\n", missing


def _sections(run: RunFolder, rounds: list[RoundFolder]) -> list[Section]:
    """All sections, in order."""
    return [
        ("Result", lambda: _result(run)),
        *((title, functools.partial(_comparison, rounds, name)) for name, title in TABLES.items()),
        ("Fidelity", lambda: _fidelity(run, rounds)),
        ("V: frames and their reconstructions", lambda: _pairs(rounds)),
        ("V: latent traversals", lambda: _traversals(rounds)),
        ("M: what it expected", lambda: _expected(run, rounds)),
        ("Filmstrips", lambda: _films(run, rounds)),
        ("Curves", lambda: _curves(rounds)),
        ("The population", lambda: _populations(rounds)),
        ("Options and versions", lambda: _options(run, rounds)),
        ("Commands", lambda: _commands(run, rounds)),
    ]


# --- sections: each yields pieces of HTML, or nothing without data --------------------------------------


def _result(run: RunFolder) -> Iterator[str]:
    results = _results(run)
    if found := results.get("final", results).get("evaluate"):  # an older run has it at the top
        sentence = score_sentence(from_json(Evaluation, found, run.results))
        yield f"<p><strong>{_code(html.escape(sentence))}</strong></p>"
    rows = []
    for name, done in results.items():
        learned = next((done[key] for key in ("ppo", "evolve") if isinstance(done, dict) and key in done), None)
        if learned:
            card = from_json(Card, learned, run.results)
            cells = [str(score) if score else "" for score in (card.dream, card.validation)]
            rows.append([name, *cells, f"{done['fidelity']['spearman']:.2f}" if "fidelity" in done else ""])
    if rows:
        yield _table(["", "in dreams", "in the game (validation)", "Spearman"], rows)


def _comparison(rounds: list[RoundFolder], name: str) -> Iterator[str]:
    for folder in rounds:
        path = folder.table(name).rows
        if path.exists():
            rows = read_result(TableFile, path).rows
            yield _wide(figures.intervals([(row.name, row.real, row.dream) for row in rows]))
            if learners := {row.policy: row.curve for row in rows if len(row.curve) > 1}:  # one point is not a curve
                yield _wide(figures.learning(learners))


def _fidelity(run: RunFolder, rounds: list[RoundFolder]) -> Iterator[str]:
    reports = {
        name: from_json(FidelityReport, done["fidelity"], run.results)
        for name, done in _results(run).items()
        if isinstance(done, dict) and "fidelity" in done
    }
    worlds = _worlds(rounds)
    if not reports and worlds and (report := read_world_card(worlds[-1]).fidelity):
        reports = {"world": report}
    controllers = {name for folder in _worlds(rounds) for name in read_config(folder)["controllers"]}
    for name, report in reports.items():
        title = f"{name}, temperature {report.temperature:g}: Spearman {report.spearman:.3f}"
        yield f"<h3>{html.escape(title)}</h3>"
        yield _wide(figures.fidelity(report.policies, controllers))


def _pairs(rounds: list[RoundFolder]) -> Iterator[str]:
    for folder in rounds:
        for path in folder.images():
            data = figures.png(np.asarray(Image.open(path).convert("RGB")))
            yield f"<div class='wide'><img alt='{html.escape(f'{path.stem} of {folder.name}')}' src='{data}'></div>"


def _traversals(rounds: list[RoundFolder]) -> Iterator[str]:
    for folder in _worlds(rounds)[-1:]:
        picture, dimensions = figures.traversals(load_world(folder))
        yield f"<p>From -3 to 3, the dimensions with the least noise first: {', '.join(map(str, dimensions))}.</p>"
        yield f"<div class='wide'><img alt='latent traversals' src='{figures.png(picture)}'></div>"


def _films(run: RunFolder, rounds: list[RoundFolder]) -> Iterator[str]:
    if run.rollouts.is_dir():
        data = figures.png(figures.real_strip(RolloutStore(run.rollouts)))
        yield f"<h3>The game, as recorded</h3><div class='wide'><img alt='frames of the game' src='{data}'></div>"
    for folder in _worlds(rounds)[-1:]:
        world = load_world(folder)
        for name in list(read_config(folder)["controllers"])[:3]:
            data = figures.png(figures.dream_strip(world, load_policy(folder, name), world.config.temperature))
            title = f"A dream of {name}, temperature {world.config.temperature:g}"
            yield f"<h3>{html.escape(title)}</h3><div class='wide'><img alt='frames of a dream' src='{data}'></div>"


def _expected(run: RunFolder, rounds: list[RoundFolder]) -> Iterator[str]:
    for folder in _worlds(rounds)[-1:] if run.rollouts.is_dir() else ():
        world = load_world(folder)
        part = RolloutStore(run.rollouts).split()[1][-1]  # held out from training
        seen = watch(world, read_episode(part, longest_episode(part, ended=True)))
        film = predictions.film(world, seen, world.config.temperature)
        yield f"<p>The longest held-out episode that the game ended, {len(seen.frames)} steps; dreams at temperature "
        yield f"{world.config.temperature:g} take the recorded actions. From the top:</p>"
        yield f"<ul>{''.join(f'<li>{html.escape(row)}</li>' for row in film.rows)}</ul>"
        yield _wide(f"<img alt='an episode and what M expected of it' src='{figures.png(film.picture)}'>")
        yield _wide(predictions.lines(world, seen, world.config.temperature))


def _curves(rounds: list[RoundFolder]) -> Iterator[str]:
    for folder in rounds:
        for path in folder.curves():
            found = {name: values for name, values in read_curves(path).items() if len(values)}
            lines = {name: values for name, values in found.items() if len(values) > 1}
            once = {name: values[0, 1] for name, values in found.items() if name not in lines}
            if found:
                yield f"<h3>{html.escape(f'{folder.name}: {path.stem}')}</h3>"
            if lines:
                yield _wide(figures.curves(lines))
            if once:  # one point is not a curve
                points = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in once.items())
                yield f"<p>Measured once: {html.escape(points)}.</p>"


def _populations(rounds: list[RoundFolder]) -> Iterator[str]:
    for folder in rounds:
        for search in folder.searches():
            scores = [entry["scores"] for entry in read_record(search.history)["generations"]]
            if len(scores) > 1:
                title = html.escape(f"{folder.name}: {search.path.name}")
                yield f"<h3>{title}</h3>" + _wide(figures.population(scores))


def _commands(run: RunFolder, rounds: list[RoundFolder]) -> Iterator[str]:
    worlds = [*_worlds(rounds), *([run.best] if (run.best / BUNDLE).exists() else [])]
    lines = [(what, command) for world in worlds[-1:] for what, command in commands(world).items()]
    if run.options.exists():
        options = {name: value for name, value in read_record(run.options).items() if not isinstance(value, dict)}
        words = " ".join(_argument(name, value) for name, value in options.items() if value != "")
        lines.append(("make it again", f"python -m training run {words}"))
    for what, command in lines:
        yield f"<p>To {html.escape(what)}:</p><pre>{html.escape(command)}</pre>"


def _options(run: RunFolder, rounds: list[RoundFolder]) -> Iterator[str]:
    for folder in rounds:
        for name, path in folder.option_records().items():
            rows = [[key, _words(value)] for key, value in read_record(path).items()]
            title = html.escape(f"{folder.name}: {name}")
            yield f"<details><summary>{title}</summary>{_table(['option', 'value'], rows)}</details>"
    versions = [
        ["Python", platform.python_version()],
        *([name, _version(name)] for name in [*PACKAGES, *_game_packages()]),
    ]
    table = _table(["package", "version"], versions)
    yield f"<details><summary>Versions that wrote this report</summary>{table}</details>"


# --- pieces -------------------------------------------------------------------------------------------


def read_curves(path: Path) -> dict[str, np.ndarray]:
    """A CSV log as points (N, 2), step and value, for each metric; rows without the metric are left out."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in (rows[0] if rows else {}) if name not in ("step", "seconds", None)]
    return {
        name: np.array([(float(row["step"]), float(row[name])) for row in rows if row[name]]).reshape(-1, 2)
        for name in names
    }


def _results(run: RunFolder) -> dict[str, Any]:
    return read_record(run.results) if run.results.exists() else {}


def _worlds(rounds: list[RoundFolder]) -> list[Path]:
    return [folder.world for folder in rounds if folder.has_world]


def _words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _argument(name: str, value: object) -> str:
    """An option of the command line; for a flag, --NAME or --no-NAME."""
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return f"--{flag} " + " ".join(shlex.quote(str(word)) for word in (value if isinstance(value, list) else [value]))


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


def _code(text: str) -> str:
    """Words between backticks as code."""
    return re.sub("`(.+?)`", r"<code>\1</code>", text)


def _wide(piece: str) -> str:
    return f"<div class='wide'>{piece}</div>"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["".join(f"<th>{html.escape(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) for row in rows]
    return _wide("<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>")
