"""Inside M: dreams without some components, which component speaks, and the stage, with every kind of M."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from experiments.__main__ import EXPERIMENTS
from experiments.mixtures import events, information, lifetimes, speakers, subsets
from tests.helpers import TINY, TINY_DRIVE, last_json, synthetic_episodes, tiny_model, with_memory
from tests.training.test_replay import episode
from training.acting.policies import random_policy
from training.data.episode_store import write_part
from training.judging.replay import watch
from wm_envs.errors import InvalidOption
from wm_envs.models.memory.autoregressive import AutoregressiveConfig, AutoregressiveMDNRNN
from wm_envs.models.memory.mixture import mask_components, sample_latents
from wm_envs.models.memory.registry import memory_kinds
from wm_envs.models.vision.conv_vae import ConvVAE
from wm_envs.models.world_model import WorldConfig, WorldModel
from wm_envs.worlds.bundle import save_world

HEAT = torch.ones(1, 1)


def autoregressive() -> WorldModel:
    """A world with an autoregressive M that models 3 of 4 latents."""
    memory = AutoregressiveConfig(latent=4, action=1, hidden=8, mixtures=3, units=6, active=(2, 0, 3))
    torch.manual_seed(3)
    config = WorldConfig(vision=TINY.vision, memory=memory)
    network = AutoregressiveMDNRNN(memory)
    with torch.no_grad():
        network.mixture_bias[:, 3:6] = torch.tensor([-5.0, 0.0, 5.0])  # means that tell the components apart
        network.mixture_bias[:, 6:] = -4.0
        network.mixture.mul_(0.01)
    return WorldModel(config, ConvVAE(TINY.vision), network, torch.randn(9, 4), torch.randn(9, 4) - 3)


WORLDS: dict[str, Any] = {
    "mdn-rnn": tiny_model,
    "joint": lambda: tiny_model(config=with_memory(joint=True)),
    "autoregressive": autoregressive,
}


def test_every_kind_of_m_is_tested_here() -> None:
    assert set(memory_kinds()) <= set(WORLDS)


@pytest.mark.parametrize("kind", WORLDS)
@pytest.mark.parametrize("batch", [1, 6])
def test_dreams_draw_only_the_components_that_are_on(kind: str, batch: int) -> None:
    world = WORLDS[kind]()
    state, action = world.initial_state(batch, torch.Generator().manual_seed(1)), torch.zeros(batch, 1)
    draw = torch.Generator().manual_seed(2)
    for components in ([1], [0, 2], [0, 1, 2]):
        some = world.with_components(components)
        noises = [world.draw_noise(batch, draw) for _ in range(40)]
        for noise in noises:
            noise.normal.zero_()  # every latent is the mean of its component
        prediction, _ = world.predict(state, action)
        found = torch.stack([some.memory.sample(prediction, HEAT, noise) for noise in noises])
        if kind == "autoregressive":
            means = torch.tensor([-5.0, 0.0, 5.0])[components]
            nearest = (found[..., [2, 0, 3]][..., None] - means).abs().amin(-1)
            assert nearest.max() < 0.5
        else:
            means = prediction.means.float()[:, components]  # (B, k, Z)
            assert (found[..., None, :] - means).abs().amin(2).max() < 1e-3
    assert world.memory.masked == () and some.memory is not world.memory, "the world itself does not change"
    assert some.memory.head is world.memory.head, "the weights are shared"


def test_the_ratios_of_the_others_stay() -> None:
    """Draws without a component are those of the mixture conditioned on the others."""
    world = tiny_model()
    prediction, _ = world.predict(world.initial_state(1, torch.Generator().manual_seed(1)), torch.zeros(1, 1))
    weights = prediction.logits[0].float().softmax(0)[:, 0]
    some, n = world.with_components([0, 2]), 20_000
    uniform = torch.linspace(0, 1 - 1e-6, n)[:, None].expand(n, 4)
    many = prediction._replace(logits=mask_components(prediction.logits, some.memory.masked).expand(n, -1, -1))
    many = many._replace(means=prediction.means.expand(n, -1, -1), log_stds=prediction.log_stds.expand(n, -1, -1))
    drawn = sample_latents(many, HEAT, uniform, torch.zeros(n, 4))[:, 0]
    share = float(((drawn - prediction.means[0, 0, 0]).abs() < 1e-4).float().mean())
    assert share == pytest.approx(float(weights[0] / (weights[0] + weights[2])), abs=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("kind", WORLDS)
def test_weights_are_those_of_the_likelihood(kind: str) -> None:
    """The weights of a mixture that has one component on are 1 there; they add up to 1 for every dimension."""
    world = WORLDS[kind]()
    seen = watch(world, episode(60))
    dimensions = {"joint": 1, "autoregressive": 3, "mdn-rnn": 4}[kind]
    assert seen.weights.shape == (15, 3, dimensions)
    torch.testing.assert_close(seen.weights.sum(1), torch.ones(15, dimensions))


def test_the_keyword_of_the_dreams(tiny_world: Path) -> None:
    latents = {}
    for name, keywords in {"plain": {}, "all": {"components": [0, 1, 2]}, "one": {"components": (1,)}}.items():
        env = gym.make("WMDream-v0", world=str(tiny_world), **keywords)
        batch = gym.make_vec("WMDream-v0", num_envs=1, world=str(tiny_world), **keywords)
        env.reset(seed=3)
        batch.reset(seed=3)
        latents[name] = env.step(env.action_space.low)[0]
        assert np.array_equal(latents[name], batch.step(batch.action_space.low)[0][0])
        env.close()
    assert np.array_equal(latents["plain"], latents["all"]) and not np.array_equal(latents["plain"], latents["one"])


@pytest.mark.parametrize("components", [[], [3], [-1], [0.0], "0", 0, [True], {0}])
def test_components_that_m_does_not_have_are_refused(tiny_world: Path, components: Any) -> None:
    with pytest.raises(InvalidOption, match="from 0 to 2") as error:
        gym.make("WMDream-v0", world=str(tiny_world), components=components)
    assert error.value.field == "components"


def test_information_of_known_mixtures() -> None:
    rng = np.random.default_rng(0)
    event = rng.random(4000) < 0.5
    tells = torch.zeros(4000, 2, 1)
    tells[torch.arange(4000), torch.from_numpy(event.astype(int)), 0] = 1.0
    found = information(tells, event)
    share = event.mean()
    entropy = -share * np.log2(share) - (1 - share) * np.log2(1 - share)
    assert found["bits"] == pytest.approx(entropy) and found["p"] < 0.02 and found["shuffled"] < 0.01
    noise = torch.from_numpy(rng.random((4000, 2, 3))).float()
    found = information(noise, event)
    assert found["bits"] < 0.01 and found["p"] > 0.02
    assert speakers(tells, event) == {"with": [0.0, 1.0], "without": [1.0, 0.0]}


def test_events_of_an_episode() -> None:
    world, recorded = tiny_model(), episode(80)
    recorded.objects = np.zeros((80, 2, 64, 64), bool)
    recorded.objects[8:, 1, 30:33, 10:12] = True  # a fireball from the third step on
    recorded.objects[20:, 1, 30:50, 40:50] = True  # a second one, which is near, from the sixth step on
    seen = watch(world, recorded)
    found = events(world.task, recorded, seen)
    assert np.flatnonzero(found["the end is near"]).tolist() == [15, 16, 17, 18, 19]
    assert np.flatnonzero(found["DoomImpBall in sight"]).tolist() == list(range(2, 20))
    assert np.flatnonzero(found["one more DoomImpBall in sight"]).tolist() == [2, 5]
    assert np.flatnonzero(found["DoomImpBall near"]).tolist() == list(range(5, 20))
    assert not found["DoomImp in sight"].any()
    assert np.array_equal(found["action to the left"], seen.actions[:, 0].numpy() <= -0.3)
    driven = episode(80, actions=3)
    driven.rewards = np.repeat(np.float32([0.5, -0.5]), 40)
    drive = tiny_model(config=TINY_DRIVE)
    assert events(drive.task, driven, watch(drive, driven))["reward above 0"].tolist() == [True] * 5 + [False] * 5


def test_lifetimes_have_a_row_for_every_choice() -> None:
    world = tiny_model()
    rows = lifetimes(world, random_policy(world.task), 8, 1.0)
    assert [row["components"] for row in rows] == list(subsets(3)) and len(rows) == 7
    assert all(0 < row["mean"] <= 2100 and row["ended"] == 1.0 for row in rows)
    assert len({row["mean"] for row in rows}) > 1


@pytest.mark.parametrize("kind", WORLDS)
def test_the_stage(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_world(tmp_path / "round-0/world", WORLDS[kind]())
    write_part(tmp_path / "rollouts", 0, synthetic_episodes([60, 90, 50]), {"task": "takecover"})
    assert EXPERIMENTS.main(["components", "--run", str(tmp_path), "--dreams", "4", "--json"]) == 0
    found = last_json(capsys)
    assert found["steps"] == 15 + 23 + 13 and len(found["dreams"]) == 7
    assert {"the end is near", "action to the left"} <= {row["event"] for row in found["events"]}
    assert Path(found["picture"]).read_text().startswith("<svg")


def test_an_m_with_one_component_is_refused(tmp_path: Path) -> None:
    save_world(tmp_path / "round-0/world", tiny_model(config=with_memory(mixtures=1)))
    write_part(tmp_path / "rollouts", 0, synthetic_episodes([60]), {"task": "takecover"})
    assert EXPERIMENTS.main(["components", "--run", str(tmp_path)]) == 2
