"""From tables to dreams, in five models of one small game: `python examples/from_tables_to_dreams.py [STEPS]`.

The tutorial is docs/from_tables_to_dreams.md. `--figure PATH` also draws its figure. STEPS are training steps of each
network (default: 2000; all takes about a minute on one core). Axes: B matches, T ticks, K components.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn import functional as F

from wm_envs.models.memory.mdn_rnn import MDNRNN, MDNRNNConfig
from wm_envs.models.memory.mixture import Prediction
from wm_envs.models.state import Noise

HANDS = ("rock", "paper", "scissors")  # hand h loses against hand (h + 1) % 3
PLACES = np.array([[-0.87, -0.5], [0.0, 1.0], [0.87, -0.5], [2.5, 1.0], [2.5, -0.5]])  # of the hands, "one" and "two"
ROUNDS, NOISE, HABIT = 10, 0.12, 0.8  # rounds in a match, std of a reading, how often the opponent keeps to its habit
MATCHES = 3000  # in the training set, in the test set, and in every dream
TICKS = 3 * ROUNDS  # readings of a match; a round has three: "one", "two", and a hand

# --- the game -------------------------------------------------------------------------------------------------


def habit(hand: int, mine: int) -> np.ndarray:
    """Probabilities (3,) of the opponent's next hand after it showed `hand` against `mine`: win-stay, lose-shift."""
    if hand == (mine + 1) % 3:  # it won: it stays
        return np.eye(3)[hand]
    return HABIT * np.eye(3)[(hand + 1) % 3] + (1 - HABIT) * np.eye(3)[(hand + 2) % 3]


class RockPaperScissors(gym.Env[Any, Any]):
    """Rock, paper, scissors against an opponent with a habit. A reading (2,) is where its hand seems to be."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Discrete(3)  # my hand; it counts on the tick that shows the opponent's

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Begin a match with "one"."""
        super().reset(seed=seed)
        self.tick, self.chances = 0, np.full(3, 1 / 3)
        return self._read(3), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One tick; every third shows the opponent's hand and has a reward: 1 for a win, -1 for a loss."""
        self.tick += 1
        if self.tick % 3 != 2:
            return self._read(3 + self.tick % 3), 0.0, False, False, {}
        hand, mine = int(self.np_random.choice(3, p=self.chances)), int(action)
        self.chances = habit(hand, mine)  # what the opponent has in mind: nobody sees it
        reward = (0.0, 1.0, -1.0)[(mine - hand) % 3]
        return self._read(hand), reward, self.tick == TICKS - 1, False, {"hand": hand}

    def _read(self, place: int) -> np.ndarray:
        return (PLACES[place] + NOISE * self.np_random.standard_normal(2)).astype(np.float32)


Policy = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


def at_random(hand: np.ndarray, mine: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """My next hand (B,): any."""
    return rng.integers(3, size=len(hand))


def exploit(hand: np.ndarray, mine: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """My next hand (B,): what beats the opponent's habit after its last `hand` (B,) against `mine` (B,)."""
    expected = np.where(hand == (mine + 1) % 3, hand, (hand + 1) % 3)
    return np.where(hand < 0, at_random(hand, mine, rng), (expected + 1) % 3)


def see(readings: np.ndarray) -> np.ndarray:
    """The hand at each reading (..., 2), or -1 where there is none within four stds."""
    distances = np.linalg.norm(readings[..., None, :] - PLACES[:3], axis=-1)
    return np.where(distances.min(-1) < 4 * NOISE, distances.argmin(-1), -1)


def play(matches: int, policy: Policy, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Readings (T, B, 2), my hands (T - 1, B) and the opponent's (ROUNDS, B). I choose a hand when a round begins."""
    env, rng = RockPaperScissors(), np.random.default_rng(seed)
    readings, mine = np.zeros((TICKS, matches, 2), np.float32), np.zeros((TICKS - 1, matches), np.int64)
    hands = np.zeros((ROUNDS, matches), np.int64)
    for match in range(matches):
        readings[0, match], _ = env.reset(seed=seed if match == 0 else None)
        action = np.zeros(1, np.int64)
        for tick in range(TICKS - 1):
            if tick % 3 == 2 or tick == 0:
                action = policy(see(readings[tick, [match]]), action, rng)
            mine[tick, match] = action[0]
            readings[tick + 1, match], _, _, _, info = env.step(action[0])
            hands[(tick + 1) // 3, match] = info.get("hand", 0)  # the last tick of a round has it
    return readings, mine, hands


def wins(hand: np.ndarray, mine: np.ndarray) -> np.ndarray:
    """Shares (ROUNDS + 1,) of the matches in which I win 0, 1, ... rounds; a reading that is no hand is no win."""
    won = ((hand >= 0) & (mine == (hand + 1) % 3)).sum(axis=0)
    return np.bincount(won, minlength=ROUNDS + 1) / len(won)


# --- rung 1: a table ------------------------------------------------------------------------------------------


def count(hand: np.ndarray, mine: np.ndarray) -> np.ndarray:
    """The table (3, 3, 3): how often each hand follows the opponent's hand and mine."""
    table = np.zeros((3, 3, 3))
    np.add.at(table, (hand[:-1].ravel(), mine[:-1].ravel(), hand[1:].ravel()), 1)
    return table / table.sum(-1, keepdims=True).clip(min=1)


def dream_of_table(table: np.ndarray, matches: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The opponent's hands and mine (ROUNDS, B) in matches that the table makes up. It sees hands, not readings."""
    rng = np.random.default_rng(seed)
    nobody = np.full(matches, -1)
    hands, mine = [rng.integers(3, size=matches)], [exploit(nobody, nobody, rng)]
    for _ in range(ROUNDS - 1):
        likely = table[hands[-1], mine[-1]].cumsum(-1)  # (B, 3)
        mine.append(exploit(hands[-1], mine[-1], rng))
        hands.append((rng.random((matches, 1)) > likely[:, :2]).sum(-1))
    return np.stack(hands), np.stack(mine)


# --- rungs 2 to 5: the package's M, with fewer or more of its parts ---------------------------------------------


class Model:
    """M (`MDNRNN`) with K components; without `memory` its state is erased before every tick; `mean`: squared error."""

    def __init__(self, mixtures: int, memory: bool = False, mean: bool = False, joint: bool = True) -> None:
        self.memory, self.mean = memory, mean
        self.net = MDNRNN(MDNRNNConfig(latent=2, action=3, hidden=64, mixtures=mixtures, joint=joint))

    def predict(self, readings: Tensor, mine: Tensor, first: int = 0, state: Any = None) -> tuple[Prediction, Any]:
        """The predictions of the readings that follow readings (T, B, 2) and my hands (T, B), and M's new state."""
        length, matches = mine.shape
        ticks = torch.arange(first, first + length)[:, None].expand(length, matches)
        inputs = self.net.assemble(readings, F.one_hot(mine, 3), ticks)
        if self.memory:
            outputs, state = self.net(inputs, state or self.net.initial_state(matches))
        else:  # every tick is a sequence of its own
            outputs, _ = self.net(inputs.flatten(0, 1)[None], self.net.initial_state(length * matches))
            outputs = outputs.unflatten(1, (length, matches))[0]
        return self.net.split(outputs), state

    def loss(self, prediction: Prediction, following: Tensor) -> Tensor:
        """Squared error, or -log p in nats, of each reading (..., 2): (...)."""
        if self.mean:
            return (prediction.means[..., 0, :] - following).square().sum(-1)
        return self.net.nll(prediction, following).sum(-1)

    def sample(self, prediction: Prediction, rng: torch.Generator, temperature: float = 1.0) -> Tensor:
        """Readings (B, 2) that the prediction draws; the squared error knows the mean alone."""
        if self.mean:
            return prediction.means[:, 0]
        shape = (len(prediction.means), 2)
        noise = Noise(torch.rand(shape, generator=rng), torch.randn(shape, generator=rng), torch.zeros(0))
        return self.net.sample(prediction, torch.full((1, 1), temperature), noise)

    def train(self, readings: Tensor, mine: Tensor, steps: int, batch: int = 16) -> Model:
        """Learn from readings (T, B, 2) and my hands (T - 1, B)."""
        optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-2)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
        for _ in range(steps):
            some = torch.randint(readings.shape[1], (batch,))
            prediction, _ = self.predict(readings[:-1, some], mine[:, some])
            loss = self.loss(prediction, readings[1:, some]).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        return self

    @torch.no_grad()
    def dream(self, matches: int, seed: int, temperature: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Readings (T, B, 2) and my hands (T - 1, B): the model receives its own readings, and no game runs."""
        rng, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
        readings = [torch.tensor(PLACES[3] + NOISE * rng.standard_normal((matches, 2))).float()]
        mine, action, state = [], np.zeros(matches, np.int64), None
        for tick in range(TICKS - 1):
            if tick % 3 == 2 or tick == 0:
                action = exploit(see(readings[-1].numpy()), action, rng)
            mine.append(action)
            prediction, state = self.predict(readings[-1][None], torch.from_numpy(action)[None], tick, state)
            now = Prediction(*(None if part is None else part[0] for part in prediction))
            readings.append(self.sample(now, noise, temperature))
        return torch.stack(readings).numpy(), np.stack(mine)


# --- the comparison -------------------------------------------------------------------------------------------


def nll_of_game() -> float:
    """-log p of a reading in nats, on average, if one knows the rules: the noise, and which of the hands it is."""
    draw = -HABIT * math.log(HABIT) - (1 - HABIT) * math.log(1 - HABIT)  # in two of three rounds of random play
    return 1 + math.log(2 * math.pi * NOISE**2) + (math.log(3) + (ROUNDS - 1) * 2 / 3 * draw) / (TICKS - 1)


def distance(shares: np.ndarray, others: np.ndarray) -> float:
    """Total variation distance of two distributions, in [0, 1]."""
    return float(np.abs(shares - others).sum() / 2)


def line(name: str, nll: float | None, impossible: float | None, dream: np.ndarray, real: np.ndarray) -> None:
    """Print a row of the results."""
    first, second = ("" if nll is None else f"{nll:.2f}"), ("" if impossible is None else f"{impossible:.1%}")
    print(f"{name:33}{first:>9}{second:>12}{dream @ np.arange(ROUNDS + 1):>7.1f}{distance(dream, real):>10.2f}")


@torch.no_grad()
def judge(model: Model, readings: Tensor, mine: Tensor, moment: Tensor) -> tuple[float | None, np.ndarray, np.ndarray]:
    """-log p in nats of new readings, samples (N, 2) at the `moment` (T - 1, B), and the wins in the model's dream."""
    prediction, _ = model.predict(readings[:-1], mine)
    nll = None if model.mean else float(model.loss(prediction, readings[1:]).mean())
    then = Prediction(*(None if part is None else part[moment] for part in prediction))
    dreamed, dreamed_mine = model.dream(MATCHES, seed=6)
    samples = model.sample(then, torch.Generator().manual_seed(5)).numpy()
    return nll, samples, wins(see(dreamed[2::3]), dreamed_mine[1::3])


def main() -> None:
    """Play, train every model, print the numbers and, if asked, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("steps", nargs="?", type=int, default=2000, help="training steps of each network")
    parser.add_argument("--figure", type=Path, help="draw the figure, and write it there")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)  # the networks are too small to share
    readings, mine, hands = play(MATCHES, at_random, seed=0)
    new, new_mine, new_hands = play(MATCHES, at_random, seed=1)
    real, again = (wins(hands, mine[1::3]) for _, mine, hands in (play(MATCHES, exploit, seed) for seed in (2, 3)))
    print(f"{MATCHES} matches of {TICKS} ticks for training, as many new ones for the test")
    print(f"{'':33}{'nats/tick':>9}{'impossible':>12}{'wins':>7}{'distance':>10}")
    line("the game", nll_of_game(), 0.0, real, real)
    line("the game again", None, None, again, real)

    table = count(hands, mine[1::3])
    found = len({each.tobytes() for each in readings.reshape(-1, 2)} & {each.tobytes() for each in new.reshape(-1, 2)})
    line("table (sees the hands)", None, table[0, 0, 0], dreamed := wins(*dream_of_table(table, MATCHES, 4)), real)
    moment = np.zeros((TICKS - 1, MATCHES), bool)  # the readings of paper or scissors, never rock, ...
    moment[4::3] = (new_hands[:-1] == 0) & (new_mine[1:-3:3] == 0)  # ... that follow when both showed rock
    columns = [(table[[0, 1, 2], [0, 1, 2]], dreamed)]  # to draw; of the table what follows a draw
    data, test = [tuple(map(torch.from_numpy, arrays)) for arrays in ((readings, mine), (new, new_mine, moment))]
    models = {
        "network, squared error": Model(1, mean=True), "one Gaussian": Model(1), "mixture": Model(8),
        "mixture with memory": Model(8, memory=True),
        "the same, a mixture per dimension": Model(8, memory=True, joint=False),  # no rung of its own
    }  # fmt: skip
    for name, model in models.items():
        model.train(*data, options.steps)
        nll, samples, dreamed = judge(model, *test)
        line(name, nll, float(np.mean(see(samples) < 1)), dreamed, real)
        columns.append((samples, dreamed))
    print(f"of {new[..., 0].size} new readings, {found} are in the training set")
    print("the mixture with memory at other temperatures:")
    for temperature in (0.1, 0.5, 1.0, 1.5, 2.0, 3.0):
        dreamed, dreamed_mine = models["mixture with memory"].dream(MATCHES, 6, temperature)
        hands = see(dreamed[2::3])
        name = f"  {temperature}, no hand in {np.mean(hands < 0):.1%} of rounds"
        line(name, None, None, wins(hands, dreamed_mine[1::3]), real)
    if options.figure:
        draw(options.figure, new[1:][moment], real, columns)


TITLES = (
    ("1. Table", "exact, but only for what\ncan be counted"),
    ("2. Squared error", "the mean of the hands\nis no hand"),
    ("3. One Gaussian", "one blob over all hands,\nmost of it between"),
    ("4. Mixture", "has the hands, but forgets:\nrock cannot follow here"),
    ("5. Mixture and memory", "the right hands,\nand the right score"),
)


def draw(path: Path, then: np.ndarray, real: np.ndarray, columns: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """A column for each rung: what follows after both showed rock, and the wins of a match in its dream.

    `then` (N, 2) are the real readings, `real` the real shares (ROUNDS + 1,) of matches; a column has the table's rows
    (3, 3) or the model's readings (N, 2), and the shares in its dream.
    """
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    game, model = "#9aa7b4", "#e4572e"
    rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure = Figure((10, 5.2))
    grid = figure.subplots(2, 5, height_ratios=(1.25, 1))
    figure.subplots_adjust(left=0.055, right=0.99, top=0.865, bottom=0.09, hspace=0.42, wspace=0.08)
    for (title, why), (top, bottom), (samples, dream) in zip(TITLES, grid.T, columns, strict=False):
        top.set_title(title, fontweight="bold", fontsize=10, pad=32)
        top.text(0.5, 1.02, why, transform=top.transAxes, ha="center", va="bottom", color=model)
        if len(samples) == 3:
            top.imshow(samples, cmap="Oranges", vmin=0, vmax=1.4)
            for (row, column), value in np.ndenumerate(samples):
                top.text(column, row, f"{value:.2f}", ha="center", va="center")
            top.set(xticks=range(3), yticks=range(3), xticklabels=HANDS, xlabel="next hand")
            top.set_yticklabels(HANDS, rotation=90, va="center")
            top.set_ylabel("both showed")
        else:
            top.plot(*then[:200].T, "o", color=game, markersize=5, alpha=0.5, markeredgewidth=0, label="game")
            top.plot(*samples[:200].T, "o", color=model, markersize=2.5, alpha=0.6, markeredgewidth=0, label="model")
            for name, place in zip(HANDS, PLACES, strict=False):
                top.text(place[0], place[1] + 0.6, name, ha="center", va="center")
            top.plot(*PLACES[:3].T, "o", markersize=37, fillstyle="none", color=game, markeredgewidth=0.7)
            top.set(xlim=(-1.7, 1.7), ylim=(-1.6, 1.8), aspect="equal")
            top.axis("off")
        wins = np.arange(ROUNDS + 1)
        bottom.bar(wins, real, 1, color=game, alpha=0.7, label="game")
        bottom.bar(wins, dream, 0.5, color=model, label="dream")
        bottom.set(ylim=(0, 0.5), xticks=range(0, 11, 2), yticks=[], xlabel="wins in 10 rounds")
        bottom.set_title(f"distance {distance(dream, real):.2f}", fontsize=9)
    grid[0, 1].legend(loc="lower center", ncols=2, frameon=False, handletextpad=0, columnspacing=1, borderpad=0)
    grid[1, 0].legend(loc="upper left", frameon=False)
    grid[1, 0].set_ylabel("share of matches")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
