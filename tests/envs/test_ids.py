"""The spaces of every id stay as they are."""

import doctest

import gymnasium as gym
import pytest

import wm_envs
import wm_envs.envs.dream
from wm_envs.envs.spaces import action_kind, action_space, observation_space

# A change of one of these lines breaks what users have trained. A shipped world with other spaces needs a new version
# of its ids; the old version keeps opening the old world.
FEATURES = {"takecover": 565, "carracing": 266}
ACTIONS = {"takecover": (1,), "carracing": (3,)}
CHOICES = {"takecover": 3, "carracing": 8}
WORLDS = {
    "WMDream-v0": "takecover",
    "WMTakeCover-v0": "takecover",
    "WMDreamCarRacing-v0": "carracing",
    "WMCarRacing-v0": "carracing",
}


def spaces_of(env_id: str) -> tuple[gym.Space, gym.Space]:
    """The spaces of an id, without opening a game."""
    keywords = gym.spec(env_id).kwargs
    world = wm_envs.load_world(keywords["world"])
    kind = action_kind(world.task, keywords.get("actions"))
    return observation_space(world, keywords.get("observation", "zh")), action_space(world.task, kind)


@pytest.mark.parametrize(("env_id", "world"), WORLDS.items())
def test_the_spaces_of_an_id(env_id: str, world: str) -> None:
    assert gym.spec(env_id).kwargs == {"world": world}
    for variant in ("", "Discrete", "Pixels", "DiscretePixels"):
        observations, actions = spaces_of(env_id.replace("-v", f"{variant}-v"))
        assert observations.shape == ((64, 64, 3) if "Pixels" in variant else (FEATURES[world],))
        assert actions.shape == (() if "Discrete" in variant else ACTIONS[world])
        assert "Discrete" not in variant or actions.n == CHOICES[world]


def test_the_world_of_the_paper_has_the_spaces_of_the_first_release() -> None:
    env = gym.make("WMDream-v0", world="takecover-paper")
    assert env.observation_space.shape == (576,) and env.action_space.shape == (1,)


def test_all_ids_are_listed_here() -> None:
    shipped = {env_id for env_id, spec in gym.registry.items() if spec.kwargs.get("world") in FEATURES}
    variants = ("", "Discrete", "Pixels", "DiscretePixels")
    assert shipped == {env_id.replace("-v", f"{variant}-v") for env_id in WORLDS for variant in variants}


def test_the_examples_in_the_docstrings() -> None:
    result = doctest.testmod(wm_envs.envs.dream)
    assert result.attempted and not result.failed
