"""M: number of parameters; loss and sampling against references; a sequence against single steps."""

import dataclasses
import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.nn.functional import logsigmoid

from tests.helpers import TINY_DRIVE, tiny_model
from wm_envs import hardware
from wm_envs.models.memory.loss import reward_of_step
from wm_envs.models.memory.mdn_rnn import MDNRNN, MDNRNNConfig
from wm_envs.models.memory.mixture import Prediction, mixture_nll, sample_latents
from wm_envs.models.memory.rewards import mean_reward, reward_values, two_hot
from wm_envs.models.state import LATENT_LIMIT


def parameters(config: MDNRNNConfig) -> int:
    """The number of parameters of M; the two biases of PyTorch's LSTM, which are only added, count as one."""
    with torch.device("meta"):
        memory = MDNRNN(config)
    return sum(p.numel() for name, p in memory.named_parameters() if name != "lstm.bias_hh_l0")


def test_number_of_parameters_is_the_papers() -> None:
    assert parameters(MDNRNNConfig()) == 1_678_785
    assert parameters(MDNRNNConfig(32, 3, 256, 5, restart=False)) == 422_368 + 257  # with the termination head
    assert parameters(MDNRNNConfig(32, 3, 256, 5, restart=False, reward=True)) == 422_368 + 2 * 257


def prediction(batch: tuple[int, ...], mixtures: int = 3, latent: int = 4) -> Prediction:
    torch.manual_seed(0)
    logits, means, log_stds = torch.randn(3, *batch, mixtures, latent)
    return Prediction(3 * logits, 2 * means, log_stds, torch.randn(batch), None)


def test_nll_and_gradients_match_torch_distributions() -> None:
    said, latents = prediction((5, 2)), 3 * torch.randn(5, 2, 4)
    inputs, weight = [said.logits, said.means, said.log_stds], torch.rand(5, 2, 4)
    results = []
    for reference in (False, True):
        logits, means, log_stds = (value.clone().requires_grad_() for value in inputs)
        if reference:
            components = Normal(means.transpose(-1, -2), log_stds.exp().transpose(-1, -2))
            nll = -MixtureSameFamily(Categorical(logits=logits.transpose(-1, -2)), components).log_prob(latents)
        else:
            nll = mixture_nll(Prediction(logits, means, log_stds, said.termination, None), latents)
        results.append([nll.detach(), *torch.autograd.grad((nll * weight).sum(), [logits, means, log_stds])])
    for ours, torchs in zip(*results, strict=True):
        torch.testing.assert_close(ours, torchs, atol=1e-5, rtol=1e-4)


def test_joint_nll_and_gradients_match_torch_distributions() -> None:
    memory = MDNRNN(MDNRNNConfig(latent=6, hidden=8, mixtures=4, joint=True))
    outputs = torch.randn(3, 5, memory.head.out_features, dtype=torch.float64, requires_grad=True)
    latents = torch.randn(3, 5, 6, dtype=torch.float64)
    said = memory.split(outputs)
    components = Independent(Normal(said.means, said.log_stds.exp()), 1)
    reference = -MixtureSameFamily(Categorical(logits=said.logits[..., 0]), components).log_prob(latents)
    ours = mixture_nll(said, latents)[..., 0]
    torch.testing.assert_close(ours, reference)
    gradients = [torch.autograd.grad(value.sum(), outputs, retain_graph=True)[0] for value in (ours, reference)]
    torch.testing.assert_close(*gradients)


def test_joint_mixture_draws_one_component_for_all_dimensions() -> None:
    logits, means = torch.zeros(1, 2, 1), torch.tensor([[[-5.0] * 6, [5.0] * 6]])
    log_stds, ends = torch.full((500, 2, 6), -3.0), torch.zeros(500)
    said = Prediction(logits.expand(500, 2, 1), means.expand(500, 2, 6), log_stds, ends, None)
    drawn = sample_latents(said, torch.ones(1, 1), torch.rand(500, 6), torch.randn(500, 6))
    signs = drawn.sign().mean(dim=1)
    assert set(signs.tolist()) == {-1.0, 1.0}
    assert 180 < int((signs > 0).sum()) < 320


def test_loss_ignores_masked_steps() -> None:
    config, said, latents = MDNRNNConfig(4, 1, 8, 3), prediction((5, 2)), torch.randn(5, 2, 4)
    terminated, has_next, valid = torch.zeros(3, 5, 2)
    has_next[:3], valid[:4], terminated[3] = 1, 1, 1
    losses = MDNRNN(config).loss(said, latents, terminated, has_next, valid)
    nll = mixture_nll(said, latents)[:3].mean()
    weighted = -torch.cat([logsigmoid(-said.termination[:3]), 10 * logsigmoid(said.termination[3:4])])
    torch.testing.assert_close(losses, (nll, weighted.mean(), nll + weighted.mean()))
    latents[3:], terminated[4] = 100.0, 1.0
    assert torch.equal(MDNRNN(config).loss(said, latents, terminated, has_next, valid)[2], losses[2])


def test_a_step_that_ends_the_episode_has_a_reward_of_its_own() -> None:
    memory = MDNRNN(MDNRNNConfig(4, 1, 8, 3, reward=True, end_reward=True))
    said = memory.split(torch.randn(5, 2, memory.head.out_features))
    latents, terminated, rewards = torch.randn(5, 2, 4), torch.zeros(5, 2), torch.full((5, 2), 3.0)
    terminated[3], rewards[3] = 1, -100
    nll, bce, loss = memory.loss(said, latents, terminated, 1 - terminated, torch.ones(5, 2), rewards)
    errors = torch.cat([said.reward[[0, 1, 2, 4], :, 0] - 3, said.reward[3:4, :, 1] + 100])
    torch.testing.assert_close(loss - nll - bce, errors.square().mean())

    config = dataclasses.replace(TINY_DRIVE, memory=dataclasses.replace(TINY_DRIVE.memory, end_reward=True))
    world = tiny_model(config=config)
    with torch.no_grad():
        world.memory.head.weight[-2:] = 0
        world.memory.head.bias[-2:] = torch.tensor([2.0, -7.0])
    noise = world.draw_noise(64, torch.Generator().manual_seed(1))
    state = world.initial_state(64, torch.Generator().manual_seed(0))
    _, outcome = world.step(state, torch.zeros(64, 3), noise, torch.ones(1, 1))
    assert 0 < int(outcome.terminated.sum()) < 64
    expected = torch.where(outcome.terminated, -7.0, 2.0) * world.reward_scale
    torch.testing.assert_close(outcome.reward, expected)


def test_rewards_as_classes_have_the_mean_of_their_bins() -> None:
    rewards = torch.tensor([-54.0, -3.3, -1.0, 0.0, 0.01, 0.5, 1.0, 20.0, 53.0])
    weights = two_hot(rewards, 41)
    torch.testing.assert_close(weights @ reward_values(41), rewards.clamp(-53.6, 53.6), atol=0.1, rtol=1e-4)
    assert int((weights > 0).sum(-1).max()) == 2 and float(weights[3].max()) == 1
    torch.testing.assert_close(mean_reward(weights.clamp_min(1e-30).log()), weights @ reward_values(41))
    with pytest.raises(ValueError, match="reward_bins"):
        MDNRNNConfig(reward_bins=40)


def test_classes_learn_the_mean_of_rare_rewards() -> None:
    """Of 400 steps with the same inputs, ten pay 10 and the others nothing."""
    memory = MDNRNN(MDNRNNConfig(4, 1, 8, 3, reward=True, end_reward=True, reward_bins=41))
    optimizer = torch.optim.Adam(memory.parameters(), 0.02)
    rewards, ones = torch.zeros(1, 400), torch.ones(1, 400)
    rewards[:, :10] = 10
    inputs, latents = torch.zeros(1, 400, memory.inputs), torch.zeros(1, 400, 4)
    for step in range(500):
        said = memory.split(memory(inputs, memory.initial_state(400))[0])
        if step == 0:
            assert said.reward.shape == (1, 400, 2, 41)
            assert float(reward_of_step(said, 0 * ones).detach().abs().max()) < 1e-4
        loss = memory.loss(said, latents, 0 * ones, ones, ones, rewards, 5.0)[2]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(reward_of_step(said, 0 * ones).detach().mean()) == pytest.approx(0.25, abs=0.1)


@pytest.mark.parametrize("bins", [0, 5])
def test_a_reward_can_see_the_next_latents(bins: int) -> None:
    """The reward is 1 where the first of the next latents, which are noise to h, is above 0."""
    torch.manual_seed(0)
    config = MDNRNNConfig(4, 1, 8, 3, reward=True, end_reward=True, reward_bins=bins, reward_units=16)
    memory, ones = MDNRNN(config), torch.ones(1, 256)
    optimizer = torch.optim.Adam(memory.parameters(), 0.02)
    for _ in range(200):
        latents, inputs = torch.randn(1, 256, 4), torch.zeros(1, 256, memory.inputs)
        rewards = (latents[..., 0] > 0).float()
        said = memory.split(memory(inputs, memory.initial_state(256))[0])
        said = memory.see_next(said, latents)
        memory.loss(said, latents, 0 * ones, ones, ones, rewards, 5.0)[2].backward()
        optimizer.step()
        optimizer.zero_grad()
    found = reward_of_step(said, 0 * ones).detach()
    assert float((found - rewards).square().mean()) < 0.05 < float(rewards.var())

    world = tiny_model(config=dataclasses.replace(TINY_DRIVE, memory=dataclasses.replace(config, action=3)))
    with torch.no_grad():
        world.memory.next_reward.weight.normal_()
    noise, state = (make(64, torch.Generator().manual_seed(0)) for make in (world.draw_noise, world.initial_state))
    after, outcome = world.step(state, torch.zeros(64, 3), noise, torch.ones(1, 1))
    said = world.memory.see_next(world.predict(state, torch.zeros(64, 3))[0], after.latents)
    expected = reward_of_step(said, outcome.terminated) * world.reward_scale
    torch.testing.assert_close(outcome.reward, expected, atol=1e-3, rtol=1e-2)


@torch.no_grad()
def test_a_memory_that_keeps_starts_as_a_copy() -> None:
    memory, still = MDNRNN(MDNRNNConfig(4, 1, 8, 3, keep=True)), MDNRNN(MDNRNNConfig(4, 1, 8, 3))
    assert memory.config.keep and memory.head.out_features == still.head.out_features + 4
    latents = 20 * torch.randn(6, 4)
    memory.head.weight[-4:] = 0
    said, _ = memory.step(latents, torch.zeros(6, 1), torch.zeros(6), memory.initial_state(6))
    error = said.means.float() - torch.sigmoid(torch.tensor(2.0)) * latents[:, None]
    assert float(error.abs().max()) < 1.5


@torch.no_grad()
def test_a_dream_pays_no_more_than_was_seen() -> None:
    noise, state = None, None
    for limits in (None, (-0.02, 0.01)):
        world = tiny_model(config=dataclasses.replace(TINY_DRIVE, reward_range=limits))
        noise = noise or world.draw_noise(64, torch.Generator().manual_seed(1))
        state = state or world.initial_state(64, torch.Generator().manual_seed(0))
        reward = world.step(state, torch.zeros(64, 3), noise, torch.ones(1, 1))[1].reward
        if limits is None:
            free = reward
    assert float(free.min()) < -0.02 and float(free.max()) > 0.01
    torch.testing.assert_close(reward, free.clamp(-0.02, 0.01))
    with pytest.raises(ValueError, match="reward_range"):
        dataclasses.replace(TINY_DRIVE, reward_range=(1.0, -1.0))


@torch.no_grad()
def test_large_batch_is_close_to_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """From a batch of 8, products can be in bfloat16, so results are close, not equal."""
    monkeypatch.setattr(hardware, "fast_bfloat16", lambda: True)
    world = tiny_model()
    state = world.initial_state(32, torch.Generator().manual_seed(0))
    many, (hidden, _) = world.predict(state, torch.zeros(32, 1))
    few, (hidden_few, _) = world.predict(state.select(torch.arange(4)), torch.zeros(4, 1))
    torch.testing.assert_close(hidden[:4], hidden_few, atol=0.02, rtol=0.05)
    torch.testing.assert_close(many.means[:4].float(), few.means, atol=0.05, rtol=0.05)


LOGITS = torch.tensor([[0.0, 1.0], [1.5, -1.0], [-0.5, 0.3]])  # (K, Z)
MEANS = torch.tensor([[-10.0, 0.0], [0.0, 10.0], [10.0, 20.0]])
LOG_STDS = torch.tensor([[-2.0, -0.7], [-0.3, -2.5], [-0.5, -1.0]])


def draw(temperature: float, batch_size: int = 60_000, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    said = Prediction(*(v.expand(batch_size, 3, 2) for v in (LOGITS, MEANS, LOG_STDS)), torch.zeros(batch_size), None)
    uniform, normal = torch.rand(batch_size, 2, generator=random), torch.randn(batch_size, 2, generator=random)
    return sample_latents(said, torch.full((1, 1), temperature), uniform, normal)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0, 1.3, 2.0])
def test_sampling_has_the_analytic_moments(temperature: float) -> None:
    drawn = draw(temperature)
    weights = torch.softmax(LOGITS / temperature, dim=0)
    stds = LOG_STDS.exp() * math.sqrt(temperature)
    nearest = (drawn[:, None] - MEANS).abs().argmin(1)  # the components lie 10 apart
    for dimension in range(2):
        for component in range(3):
            share = float(weights[component, dimension])
            picked = nearest[:, dimension] == component
            error = math.sqrt(share * (1 - share) / len(drawn))
            assert float(picked.float().mean()) == pytest.approx(share, abs=5 * error + 1e-4)
            if share > 0.05:
                of_it = drawn[picked, dimension]
                std = float(stds[component, dimension])
                count = math.sqrt(len(of_it))
                expected = float(MEANS[component, dimension])
                assert float(of_it.mean()) == pytest.approx(expected, abs=5 * std / count + 0.01)
                assert float(of_it.std()) == pytest.approx(std, rel=5 / count)
    mean = (weights * MEANS).sum(0)
    variance = (weights * (stds**2 + MEANS**2)).sum(0) - mean**2
    error = float(variance.max().sqrt()) / math.sqrt(len(drawn))
    torch.testing.assert_close(drawn.mean(0), mean, atol=5 * error, rtol=0)
    torch.testing.assert_close(drawn.var(0), variance, atol=0.05, rtol=0.05)


def test_dimensions_draw_components_independently() -> None:
    drawn = draw(1.0)
    nearest = (drawn[:, None] - MEANS).abs().argmin(1)
    together = ((nearest[:, 0] == 1) & (nearest[:, 1] == 0)).float().mean()
    apart = (nearest[:, 0] == 1).float().mean() * (nearest[:, 1] == 0).float().mean()
    assert float(together) == pytest.approx(float(apart), abs=0.01)


def test_sampling_is_a_function_of_the_noise() -> None:
    assert torch.equal(draw(1.0, 1000), draw(1.0, 1000))
    assert not torch.equal(draw(1.0, 1000), draw(1.0, 1000, seed=1))


def test_temperature_per_environment() -> None:
    said, noise = prediction((2,)), torch.rand(1, 4).expand(2, 4)
    both = sample_latents(said, torch.tensor([[0.2], [2.0]]), noise, noise)
    for env, temperature in enumerate((0.2, 2.0)):
        one = Prediction(*(v[env : env + 1] for v in said[:4]), None)
        single = sample_latents(one, torch.tensor([[temperature]]), noise[:1], noise[:1])
        torch.testing.assert_close(both[env : env + 1], single)


@pytest.mark.parametrize("temperature", [0.05, 0.3, 1.0, 5.0])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4, 1e30])
def test_sampling_is_finite_for_extreme_predictions(temperature: float, scale: float) -> None:
    config = MDNRNNConfig(4, 1, 8, 3)
    outputs = scale * torch.randn(50, 37, generator=torch.Generator().manual_seed(0))
    said = MDNRNN(config).split(outputs)
    temperatures, normal = torch.full((50, 1), temperature), 6 * torch.randn(50, 4)
    for uniform in (0.0, 0.5, 1 - 2**-24):
        drawn = sample_latents(said, temperatures, torch.full((50, 4), uniform), normal)
        assert torch.isfinite(drawn).all() and drawn.abs().max() <= LATENT_LIMIT


def test_component_of_zero_weight_is_never_drawn() -> None:
    logits = torch.tensor([-1e4, 0.3, 1.7, -1e4])[:, None].expand(500, 4, 1).clone()
    logits[:, 1] = torch.randn(500, 1)
    means = torch.tensor([-20.0, 0.0, 1.0, 20.0])[:, None].expand(500, 4, 1)
    said = Prediction(logits, means, torch.full_like(means, -8), torch.zeros(500), None)
    for uniform in (0.0, 1 - 2**-24):
        drawn = sample_latents(said, torch.ones(1, 1), torch.full((500, 1), uniform), torch.zeros(500, 1))
        assert set(drawn.flatten().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("weight", [1.0, 10.0, 50.0])
def test_termination_probability_undoes_the_loss_weight(weight: float) -> None:
    """The weighted loss has its minimum at logit(p) + log(weight); `termination_probability` turns it back into p."""
    memory = MDNRNN(MDNRNNConfig(4, 1, 8, 3, termination_weight=weight))
    share = 0.03
    logits = torch.linspace(-12, 12, 24_001)
    loss = -weight * share * logsigmoid(logits) - (1 - share) * logsigmoid(-logits)
    assert float(memory.termination_probability(logits[loss.argmin()])) == pytest.approx(share, rel=0.01)
