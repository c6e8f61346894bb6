"""How long a run takes: a guess for every stage from its options, corrected by the stages that have ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# Per second, on the two cores of the timings in docs/experiments/training.md.
RANDOM_FRAMES, OWN_FRAMES, ENCODED_FRAMES = 3_000, 1_700, 7_000
BATCHES_OF_V, STEPS_OF_M, DREAM_STEPS, REAL_STEPS = 5, 20_000, 17_000, 500
STEPS_OF_A_DREAM, STEPS_OF_A_GAME, BATTERY = 300, 300, 14
PRIOR = 300.0  # seconds of guesses that count as confirmed before any stage has ended


def guess_seconds(name: str, options: Any, frames: int) -> float:
    """Seconds that a stage takes on the machine of the timings; `frames` are in the store."""
    real_episodes = getattr(options, "validate_episodes", 0) * 5
    if name == "collect":
        return float(options.frames / (RANDOM_FRAMES if options.round == 0 else OWN_FRAMES))
    if name == "vision":
        return float(options.batches / BATCHES_OF_V)
    if name == "memory":
        return frames / ENCODED_FRAMES + float(options.steps / STEPS_OF_M)
    if name == "ppo":
        rate = DREAM_STEPS if options.env == "dream" else REAL_STEPS
        return options.total_timesteps / rate + real_episodes * STEPS_OF_A_GAME / REAL_STEPS
    if name == "evolve":
        steps = options.generations * options.population * options.rollouts * STEPS_OF_A_DREAM
        return steps / DREAM_STEPS + real_episodes * STEPS_OF_A_GAME / REAL_STEPS
    if name == "fidelity":
        each = options.episodes * STEPS_OF_A_GAME / (2 * REAL_STEPS) + options.dreams * STEPS_OF_A_DREAM / DREAM_STEPS
        return float(BATTERY * each / 2)
    if name == "evaluate":
        return float(options.episodes * STEPS_OF_A_GAME / REAL_STEPS)
    return 10.0


class Estimate:
    """The time that is left, from the guesses and from the times that stages took."""

    def __init__(self, stages: Iterable[tuple[str, str, Any]]) -> None:
        self.guesses: list[tuple[str, float]] = []
        frames = 0
        for _, name, options in stages:
            frames += options.frames if name == "collect" else 0
            self.guesses.append((name, guess_seconds(name, options, frames)))
        self.took: dict[int, float] = {}

    def note(self, index: int, seconds: float) -> None:
        """A stage took so long."""
        self.took[index] = seconds

    def left(self, index: int) -> float:
        """Seconds from the start of stage `index` to the end."""
        return sum(seconds * self._ratio(name) for name, seconds in self.guesses[index:])

    def _ratio(self, name: str) -> float:
        """How much longer than guessed a stage takes: as those of its name that have ended, else as all of them."""
        ended = [at for at in self.took if self.guesses[at][0] == name]
        prior = 0.0 if ended else PRIOR
        ended = ended or list(self.took)
        guessed = prior + sum(self.guesses[at][1] for at in ended)
        return (prior + sum(self.took[at] for at in ended)) / guessed


def in_words(seconds: float) -> str:
    """A duration for readers: "1 h 25 min", "40 min", "30 s"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
