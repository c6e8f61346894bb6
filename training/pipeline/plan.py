"""The plan of a run: the commands of all its stages, which follow from its configuration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from training.config.commands import Command, game_settings
from training.pipeline.config import Run
from training.stages import collect, evaluate, evolve, fidelity, memory, ppo, report, vision
from training.stages.fidelity import FidelityConfig
from wm_envs.envs.checks import game_kwargs

Fields = dict[str, Any]  # of commands, by name


@dataclass(frozen=True)
class Step:
    """One stage of a run: where its result belongs ("round 0", "tuned" or "final"), and its command."""

    where: str
    name: str
    command: Command


@dataclass(frozen=True)
class RoundPlan:
    """The commands of a round; results of earlier rounds add who plays in `collect`."""

    number: int
    collect: collect.Command
    vision: vision.Command | None
    memory: memory.Command
    learner: ppo.Command | evolve.Command
    fidelity: fidelity.Command | None

    def steps(self) -> Iterator[Step]:
        """The commands in order."""
        learner = "ppo" if isinstance(self.learner, ppo.Command) else "evolve"
        commands: dict[str, Command | None] = {
            "collect": self.collect,
            "vision": self.vision,
            "memory": self.memory,
            learner: self.learner,
            "fidelity": self.fidelity,
        }
        for name, command in commands.items():
            if command is not None:
                yield Step(f"round {self.number}", name, command)


class Plan:
    """The commands of all stages; results of the rounds add the world of the last two."""

    def __init__(self, run: Run) -> None:
        self.run, self.folder, self.task = run, run.run_folder, run.game
        self.rounds = [self._round(number) for number in range(run.rounds + 1)]
        self.tuned = self._tuned() if run.real_steps else None
        self.evaluate = evaluate.Command(
            **self._machine,
            world=str(self.folder.best),
            controller="tuned" if self.tuned else "controller",
            scores=str(self.folder.scores),
            config=run.evaluate,
        )
        self.report = report.Command(run=self.folder.path)
        run.evaluate.check_for(self.task)
        game_kwargs(self.task, None, game_settings(run.real_settings))

    def steps(self) -> list[Step]:
        """All commands in order."""
        steps = [step for planned in self.rounds for step in planned.steps()]
        steps += [Step("tuned", "ppo", self.tuned)] if self.tuned else []
        return [*steps, Step("final", "evaluate", self.evaluate), Step("final", "report", self.report)]

    @property
    def _machine(self) -> Fields:
        return {"workers": self.run.workers, "ray": self.run.ray}

    @property
    def _place(self) -> Fields:
        return {"run": self.folder.path, "task": self.task.name, "seed": self.run.seed, **self._machine}

    @property
    def _temperatures(self) -> Fields:
        return {"temperature": self.run.temperature, "temperature_high": self.run.temperature_high}

    def _round(self, number: int) -> RoundPlan:
        run = self.run
        exploring = number == 0 and run.explore_steps > 0
        frames = run.collect.replace(frames=run.own_frames) if number else run.collect
        return RoundPlan(
            number,
            collect.Command(**self._place, round=number, config=frames),
            self._vision(number) if number <= run.vision_rounds else None,
            self._memory(number),
            self._explorer() if exploring else self._learner(number),
            None if exploring else self._fidelity(number),
        )

    def _vision(self, number: int) -> vision.Command:
        """V of a round: after round 0 it trains for a third of the batches, at a third of the rate."""
        config, start = self.run.vision, ""
        if number:
            config = config.replace(batches=max(1, config.batches // 3), learning_rate=config.learning_rate / 3)
            start = str(self.folder.round(number - 1).vision)
        place = {name: value for name, value in self._place.items() if name not in self._machine}
        return vision.Command(**place, round=number, rounds=number + 1, start=start, config=config)

    def _memory(self, number: int) -> memory.Command:
        """M of a round.

        After exploration M of round 0 only has to provide features, so it trains for a third of the steps. In round 1
        it starts from new weights: on random play it learned to ignore actions, which it hardly unlearns. Later rounds
        continue.
        """
        config, exploring, start = self.run.memory, self.run.explore_steps > 0, ""
        if number > exploring:
            rate = config.learning_rate * (2 / 3 if exploring else 1 / 2)  # an explorer leaves more to learn
            config = config.replace(steps=max(1, config.steps * 2 // 3), learning_rate=rate)
            start = str(self.folder.round(number - 1).memory)
        elif exploring and number == 0:
            config = config.replace(steps=max(1, config.steps // 3))
        return memory.Command(**self._place, round=number, rounds=number + 1, start=start, config=config)

    def _learner(self, number: int) -> ppo.Command | evolve.Command:
        given: Fields = {**self._place, **self._temperatures, "round": number, "name": "controller"}
        if self.run.continue_controller and number > (self.run.explore_steps > 0):  # M is continued, too
            given |= {"start": "controller", "start_round": number - 1}
        if self.run.learner == "ppo":
            return ppo.Command(**given, config=self.run.ppo)
        return evolve.Command(**given, config=self.run.evolve)

    def _in_the_game(self, steps: int, **given: Any) -> ppo.Command:
        """PPO in the real game; of the run's options for PPO, those that belong to the controller apply to it."""
        own = self.run.ppo
        config = ppo.IN_THE_GAME.replace(
            total_timesteps=steps,
            hidden_sizes=own.hidden_sizes,
            observation=own.observation,
            actions=own.actions,
            validate_episodes=own.validate_episodes,
            validate_every=48,
        )
        return ppo.Command(**self._place, **self._temperatures, round=0, train_in="game", config=config, **given)

    def _explorer(self) -> ppo.Command:
        return self._in_the_game(self.run.explore_steps, name="explorer", curious=self.run.curious)

    def _tuned(self) -> ppo.Command:
        planned = self._in_the_game(
            self.run.real_steps, name="tuned", start="controller", settings=self.run.real_settings
        )
        return planned.replace(config=planned.config.replace(learning_rate=3e-4, gamma=0.99))

    def _fidelity(self, number: int) -> fidelity.Command:
        run, given = self.run, self.run.fidelity
        middle = (run.temperature + run.highest) / 2
        sizes = {
            "episodes": max(2, run.validate_episodes) if given.episodes == "validation" else given.episodes,
            "temperature": middle if given.temperature == "middle" else given.temperature,
        }
        config = FidelityConfig(**dict(given) | sizes)
        return fidelity.Command(
            **self._machine,
            world=str(self.folder.round(number).world),
            controllers="controller",
            cache=str(self.folder.fidelity_cache),
            config=config,
        )
