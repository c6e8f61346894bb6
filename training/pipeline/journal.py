"""The journal of a run: what each stage found, in results.json, so that a stage that is done is not done again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from training.config.commands import Command
from training.config.records import as_record
from training.infra.records import read_record, to_json, write_result
from training.infra.run_folder import RunFolder
from training.pipeline.plan import Step
from wm_envs.files import JsonObject

# Options that change nothing of a result: where files are, and who does the work.
WITHOUT_EFFECT = {"run", "task", "world", "start", "cache", "scores", "workers", "ray", "to"}
DONE = "done"  # key in results.json of the options of all finished stages
SECONDS = "seconds"  # and of the time that they took
SHOWN = {  # the figures of a stage that a reader of the terminal sees
    "collect": ("parts",),
    "vision": ("error", "moving_error", "active"),
    "memory": ("nll", "train_nll", "shuffled", "marginal", "moving_nll", "moving_copy", "r2"),
    "fidelity": ("spearman", "log_ratio", "relative_error"),
}


class Journal:
    """The stages of a run, in order. `results` is what they found, and `seconds` what they took, by "ROUND/STAGE"."""

    def __init__(self, run: RunFolder, steps: list[Step]) -> None:
        self.run, self.places = run, [(step.where, step.name) for step in steps]
        self.results: JsonObject = read_record(run.results) if run.results.exists() else {}
        self.done: JsonObject = self.results.pop(DONE, {})
        self.seconds: dict[str, float] = self.results.pop(SECONDS, {})
        places = {step.where for step in steps}
        self.results = {name: result for name, result in self.results.items() if name in places}
        self.all_done = True  # so far

    def do(self, step: Step, work: Callable[[], Any], there: Callable[[], bool]) -> Any:
        """The result of a stage; it works unless its result is known, for the same options, and its files are `there`.

        Once a stage has worked, all later ones do: they use what it makes.
        """
        where = "" if step.where == "final" else f", {step.where}"
        title = f"stage {self.places.index((step.where, step.name)) + 1} of {len(self.places)}: {step.name}{where}"
        options = comparable(step.command)
        known = self.results.get(step.where, {}).get(step.name)
        if self.all_done and known is not None and there() and self._has_options(step, options):
            print(f"{title}: done before. {figures(step.name, known)}".rstrip(), flush=True)
            return known
        self.all_done = False
        print(title, flush=True)
        started = time.monotonic()
        result = to_json(work())
        self.results.setdefault(step.where, {})[step.name] = result
        self.done.setdefault(step.where, {})[step.name] = options
        took = time.monotonic() - started
        self.seconds[f"{step.where}/{step.name}"] = round(took, 1)
        write_result(self.run.results, self.results | {DONE: self.done, SECONDS: self.seconds})
        print(f"    {figures(step.name, result)} ({duration(took)})", flush=True)
        return result

    def _has_options(self, step: Step, options: JsonObject) -> bool:
        return bool(self.done.get(step.where, {}).get(step.name) == options)


def duration(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def comparable(command: Command) -> JsonObject:
    """The options that a result depends on."""
    return {name: value for name, value in as_record(command).items() if name not in WITHOUT_EFFECT}


def figures(name: str, found: JsonObject) -> str:
    """The main figures of a stage, for the terminal."""
    if name in ("ppo", "evolve"):
        places = {"validation": "in the game (validation)", "dream": "in dreams"}
        return ", ".join(f"{_spread(found[key])} {place}" for key, place in places.items() if key in found)
    if name == "evaluate":
        return f"{_spread(found)} in the game (test)"
    shown = [key for key in SHOWN.get(name, ()) if key in found]
    return ", ".join(f"{key.replace('_', ' ')} {found[key]:.4g}" for key in shown)


def _spread(score: dict[str, float]) -> str:
    return f"{score['mean']:.0f} +- {score['std']:.0f}"
