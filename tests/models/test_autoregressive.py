"""The autoregressive M: its likelihood against torch's mixtures, and draws against the likelihood."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, Normal

from tests.helpers import TINY, tiny_model
from training.data.sequences import Latents
from training.infra.checkpoint import save_checkpoint, start_from
from training.stages.memory import network_config, of_kind
from wm_envs.games.registry import get_task
from wm_envs.models.memory.autoregressive import AutoregressiveConfig, AutoregressiveMDNRNN
from wm_envs.models.state import Noise
from wm_envs.models.world_model import WorldModel
from wm_envs.worlds.bundle import save_world

CONFIG = AutoregressiveConfig(latent=4, action=1, hidden=8, mixtures=3, units=6, active=(2, 0, 3))


def memory(config: AutoregressiveConfig = CONFIG, seed: int = 0) -> AutoregressiveMDNRNN:
    torch.manual_seed(seed)
    return AutoregressiveMDNRNN(config)


def reference_nll(m: AutoregressiveMDNRNN, context: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """-log p of each active dimension of one step, written out with torch's own mixtures."""
    found = []
    parts = context.unflatten(-1, (len(m.modelled), -1))
    for i, dimension in enumerate(m.modelled):
        before = latents[m.modelled[:i]]
        units = torch.relu(parts[i] + m.earlier[i, :, :i] @ before)
        logits, means, log_stds = (units @ m.mixture[i] + m.mixture_bias[i]).chunk(3)
        mixture = MixtureSameFamily(Categorical(logits=logits), Normal(means, log_stds.exp()))
        found.append(-mixture.log_prob(latents[dimension]))
    return torch.stack(found)


@torch.no_grad()
def test_its_likelihood_is_that_of_torchs_mixtures() -> None:
    m, latents = memory(), torch.randn(5, 2, 4)
    outputs, _ = m(m.assemble(torch.randn(5, 2, 4), torch.randn(5, 2, 1), torch.zeros(5, 2)), m.initial_state(2))
    said = m.split(outputs)
    found = m.nll(said, latents)
    assert found.shape == (5, 2, 3)
    for step in range(5):
        for env in range(2):
            expected = reference_nll(m, said.context[step, env], latents[step, env])
            torch.testing.assert_close(found[step, env], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_draws_follow_the_likelihood() -> None:
    """The mean NLL of draws is the entropy, which a grid over the joint density of two dimensions gives."""
    m = memory(AutoregressiveConfig(latent=2, action=1, hidden=8, mixtures=2, units=6, active=(1, 0)))
    m.mixture_bias[:, 4:] = -0.5
    outputs, _ = m(torch.randn(1, 1, m.inputs), m.initial_state(1))
    said = m.split(outputs[0].expand(40_000, -1))
    generator = torch.Generator().manual_seed(1)
    uniform, normal = (draw(40_000, 2, generator=generator) for draw in (torch.rand, torch.randn))
    drawn = m.sample(said, torch.ones(1, 1), Noise(uniform, normal, uniform[:, 0]))
    axis = torch.linspace(-12, 12, 400)
    grid = torch.cartesian_prod(axis, axis)
    nll = m.nll(m.split(outputs[0].expand(len(grid), -1)), grid).sum(-1)
    density = torch.exp(-nll) * (axis[1] - axis[0]) ** 2
    assert float(density.sum()) == pytest.approx(1, abs=1e-3)
    assert float(m.nll(said, drawn).sum(-1).mean()) == pytest.approx(float((density * nll).sum()), abs=0.03)
    assert torch.allclose((density[:, None] * grid).sum(0), drawn.mean(0), atol=0.05)


@torch.no_grad()
def test_what_is_not_active_is_prior_noise_that_m_does_not_see() -> None:
    m, normal = memory(), torch.randn(6, 4)
    said, recurrent = m.step(torch.randn(6, 4), torch.zeros(6, 1), torch.zeros(6), m.initial_state(6))
    drawn = m.sample(said, torch.full((6, 1), 0.3), Noise(torch.rand(6, 4), normal, torch.rand(6)))
    assert torch.equal(drawn[:, 1], normal[:, 1]) and not torch.equal(drawn[:, 0], normal[:, 0])
    latents = torch.randn(6, 4)
    first, _ = m.step(latents, torch.zeros(6, 1), torch.zeros(6), recurrent)
    kept = first.context.clone()
    latents[:, 1] += 5
    second, _ = m.step(latents, torch.zeros(6, 1), torch.zeros(6), recurrent)
    assert torch.equal(kept, second.context)


def test_a_low_temperature_draws_the_likeliest_component() -> None:
    m = memory()
    said, _ = m.step(torch.randn(64, 4)[:1].repeat(64, 1), torch.zeros(64, 1), torch.zeros(64), m.initial_state(64))
    noise = Noise(torch.rand(64, 4), torch.randn(64, 4), torch.rand(64))
    drawn = [m.sample(said, torch.full((1, 1), temperature), noise) for temperature in (1e-4, 1, 3)]
    spread = [float(latents[:, m.modelled].std(0).mean()) for latents in drawn]
    assert spread[0] < 0.05 < spread[1] < spread[2]


def test_it_learns_what_depends_on_an_earlier_dimension() -> None:
    """Two dimensions that are equal up to sign: the head learns that the second follows the first."""
    m = memory(AutoregressiveConfig(latent=2, action=1, hidden=8, mixtures=2, units=8))
    optimizer = torch.optim.Adam(m.parameters(), 0.01)
    generator = torch.Generator().manual_seed(0)
    ones = torch.ones(1, 256)
    for _ in range(300):
        first = torch.randn(1, 256, 1, generator=generator)
        latents = torch.cat([first, first + 0.1 * torch.randn(1, 256, 1, generator=generator)], -1)
        inputs = m.assemble(torch.zeros(1, 256, 2), torch.zeros(1, 256, 1), torch.zeros(1, 256))
        nll, _, loss = m.loss(m.split(m(inputs, m.initial_state(256))[0]), latents, 0 * ones, ones, ones)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    independent = 0.5 * (1 + math.log(2 * math.pi))  # nats per dimension of two independent standard normals
    joint = independent + 0.5 * math.log(0.1)
    assert joint - 0.05 < float(nll.detach()) < joint + 0.25


def world_of(m: AutoregressiveMDNRNN) -> WorldModel:
    first = tiny_model()
    config = dataclasses.replace(TINY, memory=m.config)
    return WorldModel(config, first.vision, m, first.initial_means, first.initial_logvars)


@torch.no_grad()
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("temperature", [0.1, 1.0, 1.7])
def test_one_dream_draws_as_a_batch_does(temperature: float, keep: bool) -> None:
    m = memory(dataclasses.replace(CONFIG, keep=keep))
    said, _ = m.step(torch.randn(32, 4), torch.randn(32, 1), torch.zeros(32), m.initial_state(32))
    noise = Noise(torch.rand(32, 4), torch.randn(32, 4), torch.rand(32))
    together = m.sample(said, torch.tensor([[temperature]]), noise)
    for row in range(32):
        kept = None if said.kept is None else said.kept[row : row + 1]
        one = said._replace(context=said.context[row : row + 1], kept=kept)
        only = Noise(*(part[row : row + 1] for part in noise))
        torch.testing.assert_close(m.sample(one, torch.tensor([[temperature]]), only)[0], together[row])


@pytest.mark.parametrize("source", ["checkpoint", "world"])
def test_training_that_goes_on_keeps_the_order_of_the_dimensions(tmp_path: Path, source: str) -> None:
    m = memory()
    if source == "checkpoint":
        start = tmp_path / "memory.safetensors"
        save_checkpoint(start, m, torch.optim.Adam(m.parameters(), fused=True), 0, {})
    else:
        start = tmp_path / "world"
        save_world(start, world_of(m))
    options = of_kind("autoregressive", hidden=8, mixtures=3, units=6)
    ticks = np.arange(10)
    latents = Latents(  # the last dimension has the least noise, so it would be the first
        torch.zeros(10, 4), torch.tensor([0.0, -1.0, -2.0, -3.0]).repeat(10, 1), torch.zeros(10, 1), ticks < 9,
        ticks > 8, ticks[:1], ticks[-1:] + 1, 4,
    )  # fmt: skip
    task = get_task("takecover")
    config = network_config(task, latents, options, str(start))
    assert config.active == CONFIG.active
    assert network_config(task, latents, options).active == (3, 2, 1)
    start_from(str(start), AutoregressiveMDNRNN(config))
