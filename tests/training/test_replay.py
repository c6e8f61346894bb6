"""M on recorded episodes: what the report shows of it, against M stepped by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers import TINY_DRIVE, synthetic_episodes, tiny_model
from training.data.episode_store import Episode, RolloutStore, write_part
from training.judging.replay import ahead, longest_episode, most_probable, read_episode, watch
from training.reporting.predictions import film, lines


def episode(ticks: int = 90, actions: int = 1) -> Episode:
    found = synthetic_episodes([ticks], terminated=[True])[0]
    found.actions = np.random.default_rng(0).normal(size=(ticks, actions)).astype(np.float32).clip(-1, 1)
    return found


def test_an_episode_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = synthetic_episodes([13, 50, 37], terminated=[True, False, True])
    write_part(tmp_path, 0, written, {"task": "takecover"})
    part = RolloutStore(tmp_path).parts[0]
    assert longest_episode(part) == 1 and longest_episode(part, ended=True) == 2
    for number, expected in enumerate(written):
        found = read_episode(part, number)
        assert np.array_equal(found.frames, expected.frames) and np.array_equal(found.actions, expected.actions)
        assert found.terminated == expected.terminated


def test_predictions_are_those_of_m_stepped_by_hand() -> None:
    world, recorded = tiny_model(), episode(90)
    seen = watch(world, recorded)
    assert len(seen.frames) == 23 and np.array_equal(seen.frames, recorded.frames[::4])
    assert seen.rewards.tolist() == [4.0] * 22 + [2.0], "the last step has two ticks"
    state = world.state_from_latents(seen.latents[:1])
    for step in range(5):
        torch.testing.assert_close(seen.states.select(torch.tensor([step])).recurrent, state.recurrent)
        action = torch.from_numpy(recorded.actions[4 * step : 4 * step + 4].mean(0, keepdims=True))
        after, outcome = world.step(state, action, most_probable(world, 1), torch.full((1, 1), 1e-3))
        torch.testing.assert_close(seen.expected[step : step + 1], after.latents)
        assert seen.end[step] == pytest.approx(float(outcome.termination_probability))
        assert seen.reward[step] == pytest.approx(4 - 1.5 * seen.end[step])
        state = after._replace(latents=seen.latents[step + 1 : step + 2])


def test_the_most_probable_latents_are_means_of_the_heaviest_components() -> None:
    world = tiny_model()
    state, action = world.initial_state(1, torch.Generator().manual_seed(0)), torch.zeros(1, 1)
    prediction, _ = world.predict(state, action)
    heaviest = prediction.logits[0].argmax(0)
    expected = prediction.means[0].gather(0, heaviest[None])[0].clone()
    after, _ = world.step(state, action, most_probable(world, 1), torch.full((1, 1), 1e-3))
    torch.testing.assert_close(after.latents[0], expected)


def test_a_dream_ahead_begins_in_the_past_with_the_recorded_actions() -> None:
    world = tiny_model()
    seen = watch(world, episode())
    cold = 1e-6  # the draws hardly matter
    found = ahead(world, seen, torch.tensor([7, 12]), 5, cold)
    for row, moment in enumerate((7, 12)):
        state = seen.states.select(torch.tensor([moment - 5]))
        for step in range(moment - 5, moment):
            noise, heat = most_probable(world, 1), torch.full((1, 1), cold)
            state, _ = world.step(state, seen.actions[step : step + 1], noise, heat)
        torch.testing.assert_close(found[row], state.latents[0], atol=1e-2, rtol=0)
    assert torch.equal(ahead(world, seen, torch.tensor([7]), 1, 1.0)[0], seen.expected[6])


def test_the_film_shows_the_same_moments_in_every_row() -> None:
    world = tiny_model()
    seen = watch(world, episode())
    made = film(world, seen, 1.0, moments=3)
    assert made.picture.shape == (64 * 5, 64 * 3, 3), "23 steps are too few for 50 ahead"
    assert [row.split(":")[0] for row in made.rows] == ["the game", "V", "M", "M", "M"] and "20 steps" in made.rows[-1]
    assert np.array_equal(made.picture[:64, -64:], seen.frames[-1]), "the last moment is the last step"
    assert np.array_equal(made.picture[64:128, -64:], world.decode(seen.latents[-1:])[0].numpy())
    before = int(made.rows[2].rpartition(": ")[2].rstrip(")"))
    moments = torch.linspace(20, 22, 3).long()
    difference = (seen.frames[moments] / 255.0 - seen.frames[moments - 1] / 255.0) ** 2
    assert before == round(difference.sum((1, 2, 3)).mean())


def test_rewards_that_m_predicts_are_drawn_too() -> None:
    world, recorded = tiny_model(config=TINY_DRIVE), episode(200, actions=3)
    recorded.rewards = np.full(200, 0.5, np.float32)
    seen = watch(world, recorded)
    assert seen.rewards.tolist() == [4.0] * 25 and seen.reward.std() > 0
    assert lines(world, seen, 1.0).count("reward of the step") == 1
