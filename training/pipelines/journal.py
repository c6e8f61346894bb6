"""The journal of a run: what each stage found, in results.json, so that a stage that is done is not done again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from training.infra.options import as_json
from training.infra.records import read_record, to_json, write_result
from training.infra.run_folder import RunFolder
from training.pipelines.estimate import Estimate, in_words

# Options that change nothing of a result: where files are, and who does the work.
WITHOUT_EFFECT = {"run", "task", "world", "start", "cache", "scores", "workers", "ray", "to"}
DONE = "done"  # key in results.json of the options of all finished stages
SHOWN = {  # the figures of a stage that a reader of the terminal sees
    "collect": ("parts",),
    "vision": ("error", "moving_error", "active"),
    "memory": ("nll", "shuffled", "marginal", "r2"),
    "fidelity": ("spearman", "log_ratio", "relative_error"),
}


class Journal:
    """The stages of a run, in order. `results` is what they found."""

    def __init__(self, run: RunFolder, stages: list[tuple[str, str, Any]]) -> None:
        self.run, self.stages = run, stages
        self.results: dict[str, Any] = read_record(run.results) if run.results.exists() else {}
        self.done: dict[str, Any] = self.results.pop(DONE, {})
        places = {where for where, _, _ in stages}
        self.results = {name: found for name, found in self.results.items() if name in places}
        self.estimate = Estimate(stages)
        self.all_done = True  # so far
        self._begun = run.rollouts.exists()  # the first stage that is done now may have been half done

    def stage(self, where: str, name: str, work: Callable[[], Any], there: Callable[[], bool]) -> Any:
        """What a stage finds; it works unless its result is known, for the same options, and its files are `there`.

        Once a stage has worked, all later ones do: they use what it makes.
        """
        index = next(at for at, (place, stage, _) in enumerate(self.stages) if (place, stage) == (where, name))
        title = f"stage {index + 1} of {len(self.stages)}: {name}{f', {where}' if where != 'final' else ''}"
        options = comparable(self.stages[index][2])
        known = self.results.get(where, {}).get(name)
        if self.all_done and known is not None and self.done.get(where, {}).get(name) == options and there():
            print(f"{title}: done before. {figures(name, known)}".rstrip(), flush=True)
            return known
        self.all_done = False
        print(f"{title}; about {in_words(self.estimate.left(index))} left in all", flush=True)
        started = time.monotonic()
        found = to_json(work())
        seconds = time.monotonic() - started
        if not self._begun:
            self.estimate.note(index, seconds)
        self._begun = False
        self.results.setdefault(where, {})[name] = found
        self.done.setdefault(where, {})[name] = options
        self.save()
        print(f"    {figures(name, found)} ({in_words(seconds)})", flush=True)
        return found

    def save(self) -> None:
        """Write results.json."""
        write_result(self.run.results, self.results | {DONE: self.done})


def comparable(options: Any) -> dict[str, Any]:
    """The options that a result depends on."""
    return {name: value for name, value in as_json(options).items() if name not in WITHOUT_EFFECT}


def figures(name: str, found: dict[str, Any]) -> str:
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
