"""The tutorial's game is an environment, its opponent has the habit that the page tells of, and M needs its memory."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from tests.helpers import load_script

ladder = load_script("examples/from_tables_to_dreams.py")


@pytest.mark.filterwarnings("ignore:.*Box observation space")  # a reading has no bounds
def test_game_is_an_environment() -> None:
    check_env(ladder.RockPaperScissors(), skip_render_check=True)


def test_rewards_and_ends() -> None:
    env = ladder.RockPaperScissors()
    env.reset(seed=0)
    for tick in range(1, ladder.TICKS):
        reading, reward, terminated, truncated, info = env.step(1)
        assert terminated == (tick == ladder.TICKS - 1) and not truncated
        assert ("hand" in info) == (tick % 3 == 2)
        if "hand" in info:
            assert ladder.see(reading) == info["hand"]
            assert reward == {"rock": 1, "paper": 0, "scissors": -1}[ladder.HANDS[info["hand"]]]


def test_table_finds_the_habit() -> None:
    _, mine, hands = ladder.play(500, ladder.at_random, seed=0)
    habit = np.array([[ladder.habit(hand, own) for own in range(3)] for hand in range(3)])
    assert np.abs(ladder.count(hands, mine[1::3]) - habit).max() < 0.1  # 500 rounds a row: std at most 0.02
    assert habit[0, 1].tolist() == pytest.approx([0, 0.8, 0.2])  # rock lost against paper
    assert habit[0, 2].tolist() == [1, 0, 0]  # rock beat scissors


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As in the script: several threads make networks this small slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_memory_brings_the_dream_to_the_game() -> None:
    readings, mine, _ = ladder.play(3000, ladder.at_random, seed=0)
    _, real_mine, real_hands = ladder.play(500, ladder.exploit, seed=1)
    real = ladder.wins(real_hands, real_mine[1::3])
    distances = []
    for memory in (False, True):
        torch.manual_seed(0)
        model = ladder.Model(8, memory).train(torch.from_numpy(readings), torch.from_numpy(mine), steps=2000)
        dreamed, dreamed_mine = model.dream(500, seed=2)
        distances.append(ladder.distance(ladder.wins(ladder.see(dreamed[2::3]), dreamed_mine[1::3]), real))
    forgets, remembers = distances
    assert forgets > 0.7 and remembers < 0.5 * forgets
