"""Sequences to train M: each epoch has every step of every phase once, with its latent, action and termination."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers import TINY, synthetic_episodes, synthetic_store
from training.data.episode_store import Part, RolloutStore
from training.data.latent_cache import encode_store
from training.data.sequences import Streams, join
from training.infra.checkpoint import save_checkpoint
from training.infra.pool import Workers
from training.learning.optim import generator
from training.stages.memory import initial_states, reward_range
from wm_envs.games.registry import get_task
from wm_envs.models.memory.mdn_rnn import MDNRNN, MDNRNNConfig
from wm_envs.models.vision.conv_vae import ConvVAE, ConvVAEConfig
from wm_envs.models.world_model import WorldConfig, WorldModel

LENGTHS, TERMINATED = [[37, 50, 13], [3, 64, 25]], [[True, False, True], [True, True, False]]  # 192 ticks


def store(lengths: list[list[int]] = LENGTHS, terminated: list[list[bool]] = TERMINATED) -> tuple[list[Part], list]:
    """Parts whose latent at tick t of the store is t in both dimensions."""
    rng, parts, encoded, first = np.random.default_rng(0), [], [], 0
    for index, (sizes, ended) in enumerate(zip(lengths, terminated, strict=True)):
        total = sum(sizes)
        actions = rng.uniform(-1, 1, (total, 1)).astype(np.float32)
        rewards = rng.normal(size=total).astype(np.float32)
        parts.append(Part(index, Path(), actions, np.array(sizes, np.int32), np.array(ended), {}, rewards))
        means = torch.arange(first, first + total).half()[:, None].repeat(1, 2)
        encoded.append((means, torch.full_like(means, -200.0)))  # a posterior without noise
        first += total
    return parts, encoded


def episodes(parts: list[Part]) -> list[tuple[int, int, bool]]:
    """(first tick, tick after the last, terminated) of every episode."""
    lengths = np.concatenate([part.lengths for part in parts])
    stops, terminated = np.cumsum(lengths), np.concatenate([part.terminated for part in parts])
    return [*zip((stops - lengths).tolist(), stops.tolist(), terminated.tolist(), strict=True)]


def episode_at(parts: list[Part]) -> dict[int, tuple[int, int, bool]]:
    """The episode of every tick."""
    return {tick: found for found in episodes(parts) for tick in range(*found[:2])}


@pytest.mark.parametrize("skip", [1, 3, 4])
def test_join_computes_every_step(skip: int) -> None:
    parts, encoded = store()
    joined, actions = join(parts, encoded, skip, reward_scale=2.0), np.concatenate([part.actions for part in parts])
    rewards = np.concatenate([part.rewards for part in parts if part.rewards is not None])
    assert join(parts, encoded, skip).rewards is None and joined.rewards is not None
    assert len(joined.means) == 192 and joined.frame_skip == skip
    assert joined.means.dtype == torch.float16 and joined.actions.dtype == torch.float32
    for start, stop, terminated in episodes(parts):
        for tick in range(start, stop):
            within = actions[tick : min(tick + skip, stop)]
            assert float(joined.actions[tick]) == pytest.approx(within.mean(), abs=1e-5)
            assert joined.rewards[tick] == pytest.approx(rewards[tick : min(tick + skip, stop)].sum() / 2, abs=1e-5)
            assert joined.has_next[tick] == (tick + skip < stop)
            assert joined.terminated[tick] == (terminated and tick + skip >= stop)
    assert joined.starts.tolist() == [start for start, _, _ in episodes(parts)]


@pytest.mark.parametrize(("skip", "batch_size", "steps"), [(4, 4, 8), (1, 2, 16), (3, 6, 4), (4, 8, 24)])
def test_epoch_has_every_step_once_in_complete_sequences(skip: int, batch_size: int, steps: int) -> None:
    parts, encoded = store()
    joined = join(parts, encoded, skip, reward_scale=2.0, task=get_task("carracing"))
    streams = Streams(joined, batch_size, steps, seed=2)
    assert streams.batches_per_epoch == 192 // (batch_size * steps)
    bounds, orders = episode_at(parts), []
    for epoch in range(2):
        at = range(epoch * streams.batches_per_epoch, (epoch + 1) * streams.batches_per_epoch)
        windows = [streams.batch(index, generator(0, index)) for index in at]
        whole = {name: torch.cat([getattr(w, name) for w in windows]) for name in vars(windows[0])}  # (T, B, ...)
        # Rows are concatenated: read one after the other, they give complete sequences.
        seen = whole["latents"][..., 0].T.flatten().round().int().tolist()
        restart = whole["restart"].T.flatten().tolist()
        assert sorted(seen) == list(range(192))
        for place, tick in enumerate(seen):
            start = bounds[tick][0]
            first = tick - start < skip
            assert restart[place] == (first or place % (192 // batch_size) == 0), "the first of a phase, or of a row"
            if not first:
                assert seen[place - 1] == tick - skip
            elif place:
                assert not bounds[seen[place - 1]][1] > seen[place - 1] + skip, "the previous sequence is complete"
        firsts = [tick for tick in seen if tick - bounds[tick][0] < skip]
        phases = [start + p for start, stop, _ in episodes(parts) for p in range(skip) if start + p < stop]
        assert sorted(firsts) == sorted(phases), "every (episode, phase) once"
        orders.append(firsts)
    assert orders[0] != orders[1], "each epoch has another order"


def test_the_range_of_rewards_is_that_of_steps() -> None:
    parts, encoded = store()
    joined = join(parts, encoded, 4, reward_scale=2.0)
    assert joined.rewards is not None
    low, high = joined.rewards.min() * 2, joined.rewards.max() * 2
    assert reward_range(joined, 2.0) == pytest.approx((low, high))
    assert reward_range(join(parts, encoded, 4), None) is None


def test_progress_is_the_share_of_tiles_visited_before_a_tick() -> None:
    parts, encoded = store()
    rewards = np.full(192, -0.1, np.float32)
    rewards[[2, 5, 40]] += 250.0  # ticks 2 and 5 of the first episode, tick 3 of the second
    rewards[99] = -100.1  # the car has left the field
    parts = [dataclasses.replace(part, rewards=rewards[at : at + part.size]) for part, at in zip(parts, (0, 100))]  # noqa: B905
    found = join(parts, encoded, 4, reward_scale=3.0, task=get_task("carracing"))
    assert found.progress is not None
    expected = [(0, 3, 0), (3, 6, 0.25), (6, 37, 0.5), (37, 41, 0), (41, 87, 0.25), (87, 192, 0)]
    for start, stop, share in expected:
        assert found.progress[start:stop] == pytest.approx(share, abs=1e-5)
    batch = Streams(found, 4, 8, seed=0).batch(0, generator(0, 0))
    ticks = batch.latents[..., 0].round().int()
    assert batch.progress is not None and batch.progress.max() > 0
    assert torch.equal(batch.progress, torch.from_numpy(found.progress)[ticks])


@pytest.mark.parametrize("skip", [1, 4])
def test_window_arrays_belong_to_the_same_ticks(skip: int) -> None:
    parts, encoded = store()
    joined = join(parts, encoded, skip)
    streams = Streams(joined, 4, 8, seed=0)
    bounds = episode_at(parts)
    for index in range(streams.batches_per_epoch):
        batch = streams.batch(index, generator(0, index))
        assert batch.latents.shape == batch.targets.shape == (8, 4, 2) and batch.actions.shape == (8, 4, 1)
        ticks = batch.latents[..., 0].round().int()
        for step, row in np.ndindex(8, 4):
            tick = int(ticks[step, row])
            _, stop, terminated = bounds[tick]
            assert bool(batch.has_next[step, row]) == (tick + skip < stop)
            assert bool(batch.terminated[step, row]) == (terminated and tick + skip >= stop)
            assert torch.equal(batch.actions[step, row], joined.actions[tick])
            if batch.has_next[step, row]:
                assert batch.targets[step, row].tolist() == pytest.approx([tick + skip] * 2)


def test_windows_depend_only_on_seed_and_index() -> None:
    joined = join(*store(), 4, reward_scale=1.0, task=get_task("carracing"))
    joined.logvars[:] = 0
    streams, others = Streams(joined, 4, 8, seed=1), Streams(joined, 4, 8, seed=1)
    late = others.batch(9, generator(0, 9))  # requested first, as in a resumed run
    for index in range(9):
        streams.batch(index, generator(0, index))
    again = streams.batch(9, generator(0, 9))
    assert all(torch.equal(a, b) for a, b in zip(vars(late).values(), vars(again).values(), strict=True))
    assert not torch.equal(again.actions, Streams(joined, 4, 8, seed=2).batch(9, generator(0, 9)).actions)
    fresh = streams.batch(9, generator(0, 10))
    assert torch.equal(fresh.actions, again.actions)
    assert not torch.equal(fresh.latents, again.latents), "latents are drawn again"


def test_latents_are_drawn_from_the_posterior() -> None:
    joined = join(*store(), 4, reward_scale=1.0, task=get_task("carracing"))
    joined.means[:], joined.logvars[:] = 3.0, float(np.log(0.25))
    streams = Streams(joined, 4, 8, seed=1)
    drawn = torch.cat([streams.batch(i, generator(0, i)).latents.flatten() for i in range(200)])
    assert float(drawn.mean()) == pytest.approx(3, abs=0.02) and float(drawn.std()) == pytest.approx(0.5, abs=0.02)


def test_store_smaller_than_a_window_is_repeated() -> None:
    joined = join(*store([[5, 2]], [[True, False]]), 4)
    streams = Streams(joined, 4, 8, seed=0)
    assert streams.batches_per_epoch == 1
    seen = streams.batch(0, generator(0, 0)).latents[..., 0].round().int()
    assert set(seen.flatten().tolist()) == set(range(7))


def encode(vision: ConvVAE, parts: list[Part], run: Path, workers: int = 1) -> list:
    """Save V, and encode the store with it."""
    save_checkpoint(run / "v.safetensors", vision, torch.optim.SGD(vision.parameters()), 1)
    return encode_store(vision, run / "v.safetensors", parts, run / "latents", run, Workers(workers))


def test_latents_are_encoded_once_per_v(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from training.data import latent_cache

    parts = RolloutStore(synthetic_store(tmp_path) / "rollouts").parts
    torch.manual_seed(0)
    vision = ConvVAE(TINY.vision).eval()
    first = encode(vision, parts, tmp_path)
    assert [means.shape for means, _ in first] == [(100, 4)] * 2
    frames = torch.from_numpy(synthetic_episodes([37, 50, 13], seed=1)[0].frames)
    with torch.no_grad():
        expected = vision.encode(frames.permute(0, 3, 1, 2) / 255)[0]
    torch.testing.assert_close(first[1][0][:37].float(), expected, atol=0.02, rtol=0.05)

    calls, real = [], latent_cache.encode_frames
    monkeypatch.setattr(latent_cache, "encode_frames", lambda *given: calls.append(1) or real(*given))
    again = encode(vision, parts, tmp_path)
    assert not calls
    assert all(torch.equal(a, b) for p, q in zip(first, again, strict=True) for a, b in zip(p, q, strict=True))
    with torch.no_grad():
        vision.mean.bias.add_(1)
    moved = encode(vision, parts, tmp_path)
    assert len(calls) == 2 and not torch.equal(moved[0][0], first[0][0])


def test_latents_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    parts = RolloutStore(synthetic_store(tmp_path) / "rollouts").parts
    vision = ConvVAE(TINY.vision).eval()
    single = encode(vision, parts, tmp_path)
    shutil.rmtree(tmp_path / "latents")
    for one, other in zip(single, encode(vision, parts, tmp_path, workers=2), strict=True):
        torch.testing.assert_close(one, other, atol=0.02, rtol=0.05)


def test_damaged_latent_cache_is_encoded_again(tmp_path: Path) -> None:
    parts = RolloutStore(synthetic_store(tmp_path, parts=1) / "rollouts").parts
    vision = ConvVAE(TINY.vision).eval()
    first = encode(vision, parts, tmp_path)[0][0].clone()  # a read tensor can be a memory map of the file
    path = next((tmp_path / "latents").glob("*/part-*"))
    path.write_bytes(path.read_bytes()[:50])
    assert torch.equal(encode(vision, parts, tmp_path)[0][0], first)


@pytest.mark.parametrize("skip", [3, 4])
def test_initial_states_are_ms_after_the_burn_in(skip: int) -> None:
    parts, encoded = store()
    scaled = [(means / 100, logvars) for means, logvars in encoded]
    latents = join(parts, scaled, skip)
    torch.manual_seed(0)
    memory = MDNRNN(MDNRNNConfig(latent=2, action=1, hidden=8, mixtures=3))
    means, _, hidden, cell = initial_states(memory, latents, 12)
    starts = [start for start, stop, _ in episodes(parts) if stop - start > 12]
    assert len(starts) == 5 and torch.equal(means, latents.means[[start + 12 for start in starts]].float())
    config = WorldConfig(vision=ConvVAEConfig(2, (4, 4, 8, 8)), memory=memory.config, frame_skip=skip, burn_in=12)
    world = WorldModel(config, ConvVAE(config.vision), memory, means, torch.zeros_like(means), (hidden, cell))
    state = world.state_from_latents(latents.means[starts].float())
    for at in range(0, 12, skip):
        _, recurrent = world.predict(state, latents.actions[[start + at for start in starts]])
        seen = latents.means[[start + at + skip for start in starts]].float()
        state = world.next_state(state, seen, recurrent, torch.zeros(len(starts)))
    torch.testing.assert_close(state.recurrent[0], hidden, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(state.recurrent[1], cell, atol=1e-5, rtol=1e-5)
    dream = world.initial_state(3, torch.Generator().manual_seed(0))
    assert dream.ticks.tolist() == [12] * 3 and all((row == hidden).all(1).any() for row in dream.recurrent[0])
    assert len(initial_states(memory, latents, 0)) == 2  # no burn-in, no recurrent state
