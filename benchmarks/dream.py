"""Speed of the dream, as ratios from one run on one machine: `python benchmarks/dream.py [--json]`.

vector_over_matmul   steps/s of the batched dream over those of M's matrix products alone, with the same batch size,
                     in the faster of float32 and bfloat16 (target 0.8, at least 0.6)
vector_over_real     over the real game with V and M, on the same cores (at least 25)
vector_over_naive    over a single dream in a loop with torch.distributions (at least 20)
single_over_matvec   time of one step of the single env over that of its matrix-vector products alone (at most 2)

A step is one step of M, for any frame_skip. Each figure is the median of several rounds, with the variants in turn.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

import wm_envs  # noqa: F401 (registers the ids)
from wm_envs.models.memory.autoregressive import AutoregressiveMDNRNN
from wm_envs.models.world_model import WorldModel
from wm_envs.worlds.bundle import load_world


def steps_per_second(step: Callable[[], Any], num_envs: int, seconds: float) -> float:
    """Environment steps per second of `step`, which steps `num_envs` environments, over about `seconds`."""
    step()
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        step()
        count += 1
    return num_envs * count / (time.perf_counter() - start)


def products(world: WorldModel, num_envs: int, dtype: torch.dtype) -> Callable[[], Tensor]:
    """A function that computes only the matrix products of one step of M; those of single draws in float32."""
    memory = world.memory
    weight = torch.cat([memory.lstm.weight_ih_l0, memory.lstm.weight_hh_l0], dim=1).t().to(dtype).contiguous()
    head = memory.head.weight.t().to(dtype).contiguous()
    inputs = torch.randn(num_envs, weight.shape[0]).to(dtype)
    hidden = torch.randn(num_envs, head.shape[0]).to(dtype)
    drawn, pairs = torch.empty(0), []  # of a head that draws one latent after the other
    if isinstance(memory, AutoregressiveMDNRNN):
        drawn = torch.randn(num_envs, len(memory.modelled))
        pairs = [(memory.earlier[i, :, :i].t(), memory.mixture[i]) for i in range(len(memory.modelled))]

    @torch.no_grad()
    def multiply() -> Tensor:
        inputs @ weight
        for i, (earlier, mixture) in enumerate(pairs):
            drawn[:, :i] @ earlier @ mixture
        return hidden @ head

    return multiply


def vector_step(world: str, num_envs: int) -> Callable[[], Any]:
    """A function that steps `num_envs` dreams with random actions."""
    envs = gym.make_vec("WMDream-v0", num_envs=num_envs, world=world)
    envs.reset(seed=0)
    actions = [envs.action_space.sample() for _ in range(8)]
    turn = iter(range(10**9))
    return lambda: envs.step(actions[next(turn) % 8])


def single_step(world: str) -> Callable[[], Any]:
    """A function that steps the single env, and resets it when its episode ends."""
    env = gym.make("WMDream-v0", world=world, disable_env_checker=True)
    env.reset(seed=0)
    actions = [env.action_space.sample() for _ in range(8)]
    turn = iter(range(10**9))

    def step() -> None:
        _, _, terminated, truncated, _ = env.step(actions[next(turn) % 8])
        if terminated or truncated:
            env.reset()

    return step


def naive_step(world: WorldModel) -> Callable[[], Any]:
    """A function that steps a single dream in the plain way: nn.LSTM, and new distribution objects for every draw."""
    memory, state = world.memory, world.memory.initial_state(1)
    latent = torch.zeros(1, world.config.memory.latent)

    @torch.no_grad()
    def step() -> None:
        nonlocal state, latent
        inputs = memory.assemble(latent, torch.zeros(1, world.config.memory.action), torch.zeros(1, dtype=torch.int64))
        outputs, state = memory(inputs[None], state)
        prediction = memory.split(outputs[0])
        latent = (
            _draw_one_by_one(memory, prediction) if isinstance(memory, AutoregressiveMDNRNN) else draw(*prediction[:3])
        )
        if float(prediction.termination) > 1e9:  # a check as in a real loop; it is never true
            state = memory.initial_state(1)

    return step


def draw(logits: Tensor, means: Tensor, log_stds: Tensor) -> Tensor:
    """Draw from mixtures (1, K, Z) with torch's own distributions: (1, Z)."""
    chosen = torch.distributions.Categorical(logits=logits.transpose(1, 2)).sample()[:, None]
    mean, log_std = means.gather(1, chosen), log_stds.gather(1, chosen)
    return torch.distributions.Normal(mean[:, 0], log_std[:, 0].exp()).sample()


def _draw_one_by_one(memory: AutoregressiveMDNRNN, prediction: Any) -> Tensor:
    latent, drawn = torch.randn(1, memory.config.latent), torch.zeros(1, len(memory.modelled))
    context = prediction.context.unflatten(-1, (len(memory.modelled), -1))  # (1, N, U)
    for i, dimension in enumerate(memory.modelled):
        units = torch.relu(context[:, i] + drawn[:, :i] @ memory.earlier[i, :, :i].t())
        mixture = (units @ memory.mixture[i] + memory.mixture_bias[i])[..., None].chunk(3, dim=1)  # (1, K, 1) each
        drawn[:, i : i + 1] = latent[:, dimension : dimension + 1] = draw(*mixture)
    return latent


def _play_real(arguments: tuple[str, int, float]) -> float:
    world, games, seconds = arguments
    torch.set_num_threads(1)
    envs = gym.make_vec("WMTakeCover-v0", num_envs=games, world=world)
    envs.reset(seed=0)
    rate = steps_per_second(lambda: envs.step(envs.action_space.sample()), games, seconds)
    envs.close()
    return rate


def real_rate(world: str, cores: int, games: int, seconds: float) -> float:
    """Steps/s of the real game with V and M: one process per core, `games` games in each."""
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        return sum(pool.map(_play_real, [(world, games, seconds)] * cores))


def measure(world_name: str, num_envs: int, rounds: int, seconds: float, games: int) -> dict[str, float]:
    """All rates and ratios."""
    world = load_world(world_name)
    cores = torch.get_num_threads()
    timed = {
        "matmul_float32": (products(world, num_envs, torch.float32), num_envs),
        "matmul_bfloat16": (products(world, num_envs, torch.bfloat16), num_envs),
        "vector": (vector_step(world_name, num_envs), num_envs),
        "naive": (naive_step(world), 1),
        "single": (single_step(world_name), 1),
        "matvec": (products(world, 1, torch.float32), 1),
    }
    rates: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(rounds):
        for name, (step, count) in timed.items():
            rates[name].append(steps_per_second(step, count, seconds))
    result = {name: statistics.median(values) for name, values in rates.items()}
    result["real"] = real_rate(world_name, cores, games, 5 * seconds)
    ratios = {
        "vector_over_matmul": result["vector"] / max(result["matmul_float32"], result["matmul_bfloat16"]),
        "vector_over_real": result["vector"] / result["real"],
        "vector_over_naive": result["vector"] / result["naive"],
        "single_over_matvec": result["matvec"] / result["single"],
    }
    return {
        "num_envs": num_envs,
        "threads": cores,
        **{f"{name}_steps_per_second": np.round(rate) for name, rate in result.items()},
        **ratios,
    }


def main() -> None:
    """Print a table, or one line of JSON with --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", default="takecover", help="name of a shipped world, or a world's folder")
    parser.add_argument("--num-envs", type=int, default=1024, help="dreams in the batch")
    parser.add_argument("--games", type=int, default=6, help="real games per process")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of which the median is taken")
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each rate in each round")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    options = parser.parse_args()
    result = measure(options.world, options.num_envs, options.rounds, options.seconds, options.games)
    if options.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:>36}: {value:,.2f}")


if __name__ == "__main__":
    main()
