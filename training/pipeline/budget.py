"""How a run spends its minutes: the sizes of a stage follow from the time that is left and from measured speeds.

The stages that are left share the time that is left, by their weights. What a stage took corrects the estimate for the
next one of its kind. The sizes are decided when a stage begins and are kept in the run folder, so a resumed run has the
same ones.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

from training.config.records import flattened
from training.infra.pool import available_cores
from training.infra.records import read_result, write_result
from training.judging.battery import scripts
from training.judging.choices import DREAMS, Choices, Measured
from training.pipeline.config import Run
from training.pipeline.measure import measure
from training.pipeline.plan import Plan, Step
from training.stages import memory
from wm_envs.files import JsonObject

WEIGHTS = {  # of the stages in the time that is left
    "collect": 3.0, "vision": 8.0, "memory": 6.0, "ppo": 7.0, "evolve": 7.0, "fidelity": 1.0, "evaluate": 3.0,
    "report": 0.3,
}  # fmt: skip
CONTINUED = 0.5  # of V's weight in rounds in which it goes on
MOST_FRAMES = 200_000  # of a round
PARTS = 20  # of a round at most, so that one part in twenty is held out
LEAST, LEAST_PART = 50, 1_000  # batches; frames
CHECKS = 8  # of V and M at most, validations of C
PROBED = 3 * 2_048  # frames that V would encode in the time of a check
VALIDATING = 0.2  # share of C's time
EVALUATING = 0.1  # share of all time that the test may take, since fewer episodes say little
CORRECTION = (0.5, 4.0)  # of an estimate; not lower, since a stage can also be short because its sizes have limits


class Budget:
    """The minutes of a run. `taken` are the seconds of the stages that are done, by "ROUND/STAGE"."""

    def __init__(self, plan: Plan, taken: dict[str, float]) -> None:
        self.run, self.task, self.folder, self.taken = plan.run, plan.task, plan.folder, taken
        self.steps = plan.steps()
        assert self.run.minutes != "none", "a run with a budget"
        self.seconds = 60.0 * self.run.minutes
        self.started, self.before = time.monotonic(), sum(taken.values())
        self.workers = self.run.workers if isinstance(self.run.workers, int) else available_cores()
        self.fixed = _given(self.run)
        if self.folder.choices.exists():
            self.choices = read_result(Choices, self.folder.choices)
        else:
            self.choices = Choices(measure(self.run, self.task))
            write_result(self.folder.choices, self.choices)

    @property
    def measured(self) -> Measured:
        """The speeds."""
        return self.choices.measured

    @property
    def left(self) -> float:
        """Seconds."""
        return max(0.0, self.seconds - self.before - (time.monotonic() - self.started))

    def sized(self, steps: Sequence[Step]) -> Step:
        """The first of the steps that are left, with its sizes."""
        step = steps[0]
        name = f"{step.where}/{step.name}"
        if name not in self.choices.planned:
            seconds = self.left * weight(step) / sum(weight(each) for each in steps)
            estimate = seconds / self._correction(step.name)
            self.choices.planned[name], self.choices.estimated[name] = seconds, estimate
            sizes = self._sizes(step, estimate)
            self.choices.values[name] = sizes | self.choices.values.get(name, {})
            write_result(self.folder.choices, self.choices)
        values = self.choices.values[name]
        command: Any = step.command
        return Step(step.where, step.name, command.replace(config=command.config.replace(**values))) if values else step

    def affords(self, where: str) -> bool:
        """Whether a round has begun, or there is at least half of the time that it would have by its weights."""
        if any(name.startswith(f"{where}/") for name in self.choices.planned):
            return True
        weights = [(step.where, weight(step)) for step in self.steps]
        share = sum(each for place, each in weights if place == where) / sum(each for _, each in weights)
        return self.left > 0.5 * share * self.seconds

    def say(self, where: str, name: str, sentence: str) -> None:
        """Tell, and keep, what a gate has found out about a stage."""
        print(f"    {sentence}", flush=True)
        self.choices.said[f"{where}/{name}"] = sentence
        write_result(self.folder.choices, self.choices)

    def judge(self, verdict: str) -> None:
        """Keep what the run has come to."""
        self.choices = dataclasses.replace(self.choices, verdict=verdict)
        write_result(self.folder.choices, self.choices)

    def is_again(self, where: str, name: str) -> bool:
        """Whether a stage was changed after its gate."""
        return f"{where}/{name}" in self.choices.again

    def again(self, where: str, name: str, values: JsonObject) -> None:
        """Let a stage be done once more, with these values of its configuration and new sizes; later stages of its name
        have the same values."""
        stage = f"{where}/{name}"
        self.choices.again.append(stage)
        self.choices.planned.pop(stage)
        for step in self.steps:
            if step.name == name:
                self.choices.values[f"{step.where}/{name}"] = values
        write_result(self.folder.choices, self.choices)

    def _correction(self, stage: str) -> float:
        """How much longer the last stage of this name took than by the measured speeds."""
        known = [name for name in self.taken if name.endswith(f"/{stage}") and self.choices.estimated.get(name)]
        if not known:
            return 1.0
        low, high = CORRECTION
        return min(high, max(low, self.taken[known[-1]] / self.choices.estimated[known[-1]]))

    def _sizes(self, step: Step, seconds: float) -> JsonObject:
        """What fits into so many seconds, without what the user has given."""
        command: Any = step.command
        sizes: JsonObject = {
            "collect": self._collect, "vision": self._vision, "memory": self._memory, "ppo": self._ppo,
            "fidelity": self._fidelity, "evaluate": self._evaluate,
        }.get(step.name, lambda *_: {})(command, seconds)  # fmt: skip
        field = "own_frames" if step.name == "collect" and command.round else f"{step.name}.frames"
        return {
            name: value
            for name, value in sizes.items()
            if (field if name == "frames" else f"{step.name}.{name}") not in self.fixed
        }

    # --- the sizes of each stage ------------------------------------------------------------------

    @property
    def _steps_of_games(self) -> float:
        """Steps of a controller in all games, a second."""
        return self.measured.steps * self.workers

    def _episode_seconds(self, skip: int) -> float:
        """Seconds of an episode of a controller that lasts until the limit, with all processes."""
        return self.task.timing.steps(skip) / self._steps_of_games

    @property
    def _skip(self) -> int:
        skip = memory.complete(self.run.memory, self.task, lambda: self.measured.motion).frame_skip
        assert isinstance(skip, int), "it is complete"
        return skip

    def _collect(self, command: Any, seconds: float) -> JsonObject:
        rate = self._steps_of_games if command.round else self.measured.frames * self.workers
        frames = round(max(1_000, min(MOST_FRAMES, rate * seconds)))
        return {"frames": frames, "part_frames": max(LEAST_PART, -(-frames // PARTS))}

    def _vision(self, command: Any, seconds: float) -> JsonObject:
        checks = min(CHECKS, max(2, round(seconds / 60)))
        training = max(0.5 * seconds, seconds - checks * PROBED / self.measured.encoded)
        batches = max(LEAST, round(self.measured.vision * training))
        return {"batches": batches, "checkpoint_every": -(-batches // checks)}

    def _memory(self, command: Any, seconds: float) -> JsonObject:
        frames = sum(sizes.get("frames", 0) for name, sizes in self.choices.values.items() if name.endswith("/collect"))
        training = max(0.5 * seconds, seconds - frames / self.measured.encoded)
        batches = max(LEAST, round(self.measured.memory * training))
        steps = batches * command.config.batch_size * command.config.sequence_length
        return {"steps": steps, "checkpoint_every": -(-batches // CHECKS)}

    def _ppo(self, command: Any, seconds: float) -> JsonObject:
        config = command.config
        if command.train_in == "game":
            updates = max(10, round(seconds * self.measured.steps / config.update_size))
        else:
            updates = max(CHECKS, round((1 - VALIDATING) * seconds * self.measured.updates / config.ensemble_size))
        each = VALIDATING * seconds / CHECKS / config.ensemble_size
        each -= self.task.timing.steps(self._skip) / self.measured.dreams
        episodes = round(each / self._episode_seconds(self._skip))
        return {
            "total_timesteps": updates * config.update_size,
            "validate_every": -(-updates // CHECKS),
            "validate_episodes": min(32, max(12, episodes)),
        }

    def _fidelity(self, command: Any, seconds: float) -> JsonObject:
        each = seconds / (len(scripts(self.task)) + 1)  # seconds of a policy
        lasting = self.task.timing.steps(self._skip) / self.measured.dreams
        return {
            "episodes": min(24, max(4, round(0.6 * each / self._episode_seconds(self._skip)))),
            "dreams": min(128, max(16, round(DREAMS * 0.3 * each / lasting))),
        }

    def _evaluate(self, command: Any, seconds: float) -> JsonObject:
        most, each = command.config.episodes, self._episode_seconds(self._skip)
        seconds = max(seconds, EVALUATING * self.seconds)
        return {"episodes": min(most, max(20, round(seconds / each)))}


def weight(step: Step) -> float:
    """The weight of a stage."""
    continued = step.name == "vision" and getattr(step.command, "round", 0) > 0
    return WEIGHTS[step.name] * (CONTINUED if continued else 1.0)


def _given(run: Run) -> set[str]:
    """Full names of the options that are not those of the recipe: the user has given them."""
    values, defaults = (flattened(each.as_json()) for each in (run, run.base))
    return {name for name, value in values.items() if defaults.get(name) != value}
