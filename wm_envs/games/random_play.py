"""Random play: actions that are held for a random time, because actions redrawn at every tick cancel out."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from wm_envs.games.base import Array, Task

ALWAYS = 0.03  # share of the time for any actions, so that no habit is a constant action
TAPS = 0.5  # share of habits that hold all but the usual action for the shortest range
RESTS = 0.25  # share of habits whose usual action is an idle one, if one is known


def held_actions(task: Task, rng: np.random.Generator, holds: tuple[int, int] | None = None) -> Iterator[Array]:
    """Random play of one episode: the agent's action (A,) float32 for each tick, without end.

    Each action is held for low..high ticks, the range `holds`. By default the play is the game's: see `RandomPlay`.
    """
    if holds is None and task.random_play.concentrations:
        return _habits(task, rng)
    return _equally_often(task, rng, holds)


def _equally_often(task: Task, rng: np.random.Generator, holds: tuple[int, int] | None) -> Iterator[Array]:
    """All actions equally often, or in half of the episodes all that are not idle. The episode draws its range of
    holds, unless it is given."""
    drawn = task.random_play.holds[rng.integers(len(task.random_play.holds))]
    low, high = holds or drawn
    idle = task.random_play.idle if rng.random() < 0.5 else ()
    choices = [index for index in range(len(task.actions.discrete)) if index not in idle]
    while True:
        action = np.array(task.actions.discrete[choices[rng.integers(len(choices))]], np.float32)
        for _ in range(int(rng.integers(low, high + 1))):
            yield action


def _habits(task: Task, rng: np.random.Generator) -> Iterator[Array]:
    """One habit after the other; a long episode has several."""
    while True:
        low, high = task.random_play.habit
        yield from islice(_habit(task, rng), int(np.exp(rng.uniform(np.log(low), np.log(high)))))


def _habit(task: Task, rng: np.random.Generator) -> Iterator[Array]:
    """Actions whose shares of the time come from a Dirichlet distribution. The most frequent, or usual, action is held
    for another range of ticks than the others: so some habits wait and tap, some hold and some mix."""
    actions, play = task.actions, task.random_play
    choices, low, high = (np.array(each, np.float32) for each in (actions.discrete, actions.low, actions.high))
    shares = rng.dirichlet(np.full(len(choices), play.concentrations[rng.integers(len(play.concentrations))]))
    if play.idle and rng.random() < RESTS:
        pair = [int(shares.argmax()), play.idle[rng.integers(len(play.idle))]]
        shares[pair] = shares[pair[::-1]]
    usual, between = int(shares.argmax()), rng.random() < play.between
    shares = (1 - ALWAYS) * shares + ALWAYS / len(choices)
    of_usual, of_others = (play.holds[rng.integers(len(play.holds))] for _ in range(2))
    if rng.random() < TAPS:
        of_others = play.holds[0]
    probability = shares / np.where(np.arange(len(choices)) == usual, sum(of_usual), sum(of_others))
    probability /= probability.sum()
    while True:
        chosen = int(rng.choice(len(choices), p=probability))
        action = rng.uniform(low, high).astype(np.float32) if between else choices[chosen]
        shortest, longest = of_usual if chosen == usual else of_others
        for _ in range(int(rng.integers(shortest, longest + 1))):
            yield action
