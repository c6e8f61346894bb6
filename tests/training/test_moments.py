"""Recorded moments: M's state within recorded episodes, and dreams of PPO that begin there."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.helpers import memory_options, ppo_options, save_vision, synthetic_store
from tests.training.test_sequences import episode_at, store
from training.data.sequences import join
from training.infra.run_folder import RunFolder
from training.learning.moments import NEAR_AN_END, Moments, recorded_moments
from training.learning.recorded_starts import RecordedStarts
from training.stages import memory, ppo
from wm_envs.envs.dream import DreamVectorEnv
from wm_envs.errors import InvalidOption
from wm_envs.models.memory.mdn_rnn import MDNRNN, MDNRNNConfig
from wm_envs.models.vision.conv_vae import ConvVAE, ConvVAEConfig
from wm_envs.models.world_model import WorldConfig, WorldModel
from wm_envs.worlds.bundle import load_world


@pytest.mark.parametrize(("skip", "burn_in"), [(1, 0), (3, 12)])
def test_a_moment_is_ms_state_within_its_episode(skip: int, burn_in: int) -> None:
    parts, encoded = store()
    latents = join(parts, [(means / 100, logvars) for means, logvars in encoded], skip)
    torch.manual_seed(0)
    network = MDNRNN(MDNRNNConfig(latent=2, action=1, hidden=8, mixtures=3))
    moments = recorded_moments(network, latents, burn_in, count=40)
    config = WorldConfig(vision=ConvVAEConfig(2, (4, 4, 8, 8)), memory=network.config, frame_skip=skip)
    world = WorldModel(config, ConvVAE(config.vision), network, torch.zeros(1, 2), torch.zeros(1, 2))
    at = (moments.means[:, 0] * 100).round().long().tolist()  # the latent says which tick it is of
    assert len(set(at)) == len(at) >= 20 and len(moments.ticks.unique()) > 4
    for number, (tick, ticks) in enumerate(zip(at, moments.ticks.tolist(), strict=True)):
        first, stop, terminated = episode_at(parts)[tick]
        assert ticks == tick - first >= burn_in and ticks % skip == 0
        if terminated and stop - first > burn_in + NEAR_AN_END * skip:
            assert tick <= stop - 1 - NEAR_AN_END * skip, "near the end it may be certain"
        state = world.state_from_latents(latents.means[first : first + 1].float())
        for step in range(first, tick, skip):
            _, recurrent = world.predict(state, latents.actions[step : step + 1])
            seen = latents.means[step + skip : step + skip + 1].float()
            state = world.next_state(state, seen, recurrent, torch.zeros(1))
        torch.testing.assert_close(moments.recurrent[0][number], state.recurrent[0][0], atol=1e-5, rtol=1e-4)


def some_moments(world: WorldModel, ticks: int = 100, count: int = 5) -> Moments:
    recurrent = tuple(torch.full((count, *shape), 0.5) for shape in world.memory.recurrent_shapes.values())
    latents = torch.zeros(count, world.config.memory.latent)
    return Moments(latents, latents - 9, recurrent, torch.full((count,), ticks), torch.zeros(count))


def test_a_share_of_dreams_begins_at_recorded_moments(tiny_world: Path, tmp_path: Path) -> None:
    world = load_world(tiny_world)
    some_moments(world).save(tmp_path / "moments.safetensors", world.memory)
    moments = Moments.read(tmp_path / "moments.safetensors", world)
    dreams = DreamVectorEnv(64, world=str(tiny_world), autoreset_mode="Disabled", actions="discrete")
    envs = RecordedStarts(dreams, moments, share=0.5)
    envs.seed(3)
    envs.reset()
    assert dreams.state.ticks.tolist() == [100] * 64, "the first dreams are not in step"
    begun = []
    for _ in range(60):
        _, _, done, _ = envs.step(np.zeros(64, np.int64))
        begun += dreams.state.ticks[torch.from_numpy(done)].tolist()
    assert set(begun) == {0, 100} and 0.4 < np.mean(np.array(begun) == 100) < 0.6
    envs.set_options({"state": world.initial_state(64, torch.Generator())})
    envs.reset()
    assert dreams.state.ticks.tolist() == [0] * 64, "a state that is given comes first"


def test_a_dream_from_a_moment_ends_at_the_episodes_limit(immortal_world: Path) -> None:
    world = load_world(immortal_world)
    dreams = DreamVectorEnv(2, world=str(immortal_world), autoreset_mode="Disabled", actions="discrete")
    envs = RecordedStarts(dreams, some_moments(world, ticks=world.task.timing.tick_limit - 8), share=0.0)
    envs.reset()
    assert not envs.step(np.zeros(2, np.int64))[2].any() and envs.step(np.zeros(2, np.int64))[2].all()
    assert dreams.state.ticks.tolist() == [0, 0]


def test_the_memory_stage_writes_the_moments_and_ppo_begins_there(tmp_path: Path) -> None:
    synthetic_store(tmp_path)
    save_vision(tmp_path)
    memory.main(memory_options(tmp_path))
    folder = RunFolder(tmp_path).round(0)
    moments = Moments.read(folder.moments, load_world(folder.world))
    assert moments.ticks.unique().tolist() == [*range(0, 36, 4)] and moments.ticks.dtype == torch.int64
    result = ppo.main(ppo_options(tmp_path, recorded_starts=0.5, total_timesteps=128))
    assert result.dream
    with pytest.raises(InvalidOption, match="train-in game"):
        ppo_options(tmp_path, recorded_starts=0.5, train_in="game")


def test_without_the_moments_the_option_is_refused(own_world: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match=r"moments\.safetensors"):
        ppo.main(ppo_options(tmp_path, recorded_starts=0.5))


def test_a_ppo_from_recorded_moments_resumes(own_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = load_world(own_world)
    some_moments(world).save(tmp_path / "round-0/moments.safetensors", world.memory)
    ppo.main(ppo_options(tmp_path, name="whole", recorded_starts=0.5))
    judged = ppo.Training.evaluate
    best = tmp_path / "round-0/ppo/stopped/best.json"
    monkeypatch.setattr(ppo.Training, "evaluate", lambda *given: 1 / 0 if best.exists() else judged(*given))
    with pytest.raises(ZeroDivisionError):
        ppo.main(ppo_options(tmp_path, name="stopped", recorded_starts=0.5))
    monkeypatch.undo()
    ppo.main(ppo_options(tmp_path, name="stopped", recorded_starts=0.5))
    one, other = (load_file(tmp_path / f"round-0/ppo/{name}/policy.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(one[key], other[key]) for key in one)
