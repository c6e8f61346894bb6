"""Dreams of this package and of others, side by side: `python benchmarks/rivals.py [--json]`.

Every row steps dreams whose M has the paper's sizes for Take Cover: 64 latents, 1 action, an LSTM of 512, 5 Gaussians.

wm-envs              `gym.make`, and `gym.make_vec` for a batch; the world `takecover-paper`
plain PyTorch        the same M and weights in a loop with nn.LSTMCell and torch.distributions, as in most reproductions
TorchRL              its WorldModelEnv around that same M
Simulusion           its own MDN-RNN in its WorldModelEnv; a batch is gymnasium.vector.SyncVectorEnv
Simulusion, no env   one call of `step` of its own MDN-RNN for the whole batch, without an environment around it

What is not installed is left out (`pip install torchrl simulusion`). Simulusion's M has one mixture for all latents, so
a third fewer outputs, and its weights are untrained, with a bias by which no dream ends. In the others finished dreams
start again.

A rate is steps of M per second of processor time on one core, all dreams together, the median of several rounds. Memory
is the peak of a process that does nothing else. Lines are those of the classes below without docstrings: what a user of
each package writes around a world that is trained already.
"""

from __future__ import annotations

import argparse
import ast
import functools
import inspect
import json
import multiprocessing
import resource
import statistics
import sys
import textwrap
import time
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

import wm_envs  # noqa: F401 (registers the ids)
from wm_envs.worlds.bundle import load_world

# --- what a user writes; each class steps `num_envs` dreams at once ----------------------------------


class WmEnvs:
    def __init__(self, num_envs: int) -> None:
        make: Any = gym.make if num_envs == 1 else functools.partial(gym.make_vec, num_envs=num_envs)
        self.env = make("WMDream-v0", world="takecover-paper")
        self.env.reset(seed=0)

    def step(self, actions: np.ndarray) -> None:
        results = self.env.step(actions)
        if np.ndim(results[2]) == 0 and (results[2] or results[3]):
            self.env.reset()


class PaperM(nn.Module):
    """One step of the paper's M in plain PyTorch, with the weights of the shipped one."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        world = load_world("takecover-paper")
        self.temperature = temperature
        self.means, self.logvars = world.initial_means, world.initial_logvars
        self.cell = nn.LSTMCell(64 + 1 + 1, 512)
        lstm = world.memory.lstm.state_dict()
        self.cell.load_state_dict({name.removesuffix("_l0"): value for name, value in lstm.items()})
        self.head = nn.Linear(512, 64 * 5 * 3 + 1)
        self.head.load_state_dict(world.memory.head.state_dict())

    def start(self, num_envs: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        which = torch.randint(len(self.means), (num_envs,))
        latent = torch.distributions.Normal(self.means[which], (self.logvars[which] / 2).exp()).sample()
        return latent, torch.zeros(num_envs, 512), torch.zeros(num_envs, 512), torch.ones(num_envs, 1)

    def forward(
        self, latent: Tensor, h: Tensor, c: Tensor, restart: Tensor, action: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        h, c = self.cell(torch.cat([latent, action.reshape(-1, 1), restart], dim=1), (h, c))
        logits, means, log_stds, death = self.head(h).split([320, 320, 320, 1], dim=1)
        logits, means, log_stds = (part.unflatten(1, (5, 64)) for part in (logits, means, log_stds))
        mixture = torch.distributions.Categorical(logits=logits.transpose(1, 2) / self.temperature)
        chosen = mixture.sample()[:, None]
        mean, std = means.gather(1, chosen)[:, 0], log_stds.gather(1, chosen)[:, 0].exp()
        latent = torch.distributions.Normal(mean, std * self.temperature**0.5).sample()
        done = torch.distributions.Bernoulli(logits=death - np.log(10)).sample().bool()
        return latent, h, c, torch.zeros_like(restart), torch.ones_like(death), done


class PlainTorch:
    def __init__(self, num_envs: int) -> None:
        self.m = PaperM(temperature=1.6)
        self.state = self.m.start(num_envs)

    @torch.no_grad()
    def step(self, actions: np.ndarray) -> None:
        *state, _, done = self.m(*self.state, torch.from_numpy(actions))
        if done.any():
            fresh = self.m.start(len(done))
            state = [torch.where(done, new, old) for new, old in zip(fresh, state, strict=True)]
        self.state = tuple(state)


class TorchRL:
    def __init__(self, num_envs: int) -> None:
        from tensordict import TensorDict
        from tensordict.nn import TensorDictModule
        from torchrl.data import Composite, Unbounded
        from torchrl.envs import GymEnv, WorldModelEnv
        from torchrl.envs.utils import step_mdp
        from torchrl.modules import WorldModel

        self.m = PaperM(temperature=1.6)
        state = ["latent", "h", "c", "restart"]
        after = [("next", key) for key in state]
        encoder = TensorDictModule(nn.Identity(), in_keys=["latent"], out_keys=["latent"])
        dynamics = TensorDictModule(self.m, [*state, "action"], [*after, ("next", "reward"), ("next", "done")])
        reward = TensorDictModule(nn.Identity(), [("next", "reward")], [("next", "reward")])
        sizes = {"latent": 64, "h": 512, "c": 512, "restart": 1}
        spec = Composite({key: Unbounded((num_envs, size)) for key, size in sizes.items()}, shape=[num_envs])
        real = GymEnv("Pendulum-v1")  # only its spaces are read: one continuous action
        world = WorldModel(encoder, dynamics, reward)
        self.env = WorldModelEnv(world, real, observation_spec=spec, batch_size=[num_envs])
        self.start = lambda: TensorDict(dict(zip(state, self.m.start(num_envs), strict=True)), [num_envs])
        self.state, self.step_mdp = self.env.reset(self.start()), step_mdp

    @torch.no_grad()
    def step(self, actions: np.ndarray) -> None:
        self.state["action"] = torch.from_numpy(actions).flatten()
        self.state = self.step_mdp(self.env.step(self.state))
        if (done := self.state["done"]).any():  # its reset needs latents, so step_and_maybe_reset cannot call it
            fresh = self.start()
            self.state.update(fresh.where(done.flatten(), self.state.select(*fresh.keys())))


def simulusion_world() -> Any:
    """Simulusion's World Models world, with untrained weights and without ends."""
    from simulusion.models.mdrnn import MDRNNCell
    from simulusion.vision.VAE.ConvVAE import ConvVAE
    from simulusion.world_model.vae_mdrnn import MDRNNWorldModel

    cell = MDRNNCell(latents=64, actions=1, hiddens=512, gaussians=5)
    nn.init.constant_(cell.gmm_linear.bias[-1:], -20.0)
    return MDRNNWorldModel(ConvVAE(img_channels=3, latent_size=64), cell, temperature=1.6)


class Simulusion:
    def __init__(self, num_envs: int) -> None:
        from simulusion.envs import WorldModelEnv

        self.world = simulusion_world()
        spaces = gym.spaces.Box(-np.inf, np.inf, (576,)), gym.spaces.Box(-1, 1, (1,))
        make = lambda: WorldModelEnv(  # noqa: E731
            self.world, *spaces, reset_fn=self.start, transition_fn=self.transition, max_episode_steps=525
        )
        self.env = make() if num_envs == 1 else gym.vector.SyncVectorEnv([make] * num_envs)
        self.env.reset(seed=0)

    @staticmethod
    def observe(state: dict[str, Tensor]) -> Tensor:
        return torch.cat([state["z"][0], state["h"][0]])

    def start(self) -> tuple[dict[str, Tensor], Tensor]:
        state = {"z": torch.randn(1, 64), "h": torch.zeros(1, 512), "c": torch.zeros(1, 512)}
        return state, self.observe(state)

    def transition(self, world: Any, state: dict[str, Tensor], action: Tensor) -> dict[str, Any]:
        out = world.step(state, action)
        observation = self.observe(out.state)
        return {"state": out.state, "obs": observation, "reward": out.reward, "terminated": out.terminated}

    def step(self, actions: np.ndarray) -> None:
        results = self.env.step(actions)
        if np.ndim(results[2]) == 0 and (results[2] or results[3]):
            self.env.reset()


class SimulusionStep:
    def __init__(self, num_envs: int) -> None:
        self.world = simulusion_world()
        self.state = {"z": torch.randn(num_envs, 64), "h": torch.zeros(num_envs, 512), "c": torch.zeros(num_envs, 512)}

    def step(self, actions: np.ndarray) -> None:
        self.state = self.world.step(self.state, actions).state


# --- the measurements --------------------------------------------------------------------------------

# Name: the class, what else of the above belongs to it, the packages that it needs, the package whose version is shown.
RIVALS: dict[str, tuple[type, tuple[Any, ...], tuple[str, ...], str]] = {
    "wm-envs": (WmEnvs, (), (), "wm-envs"),
    "plain PyTorch": (PlainTorch, (PaperM,), (), "torch"),
    "TorchRL": (TorchRL, (PaperM,), ("torchrl", "tensordict"), "torchrl"),
    "Simulusion": (Simulusion, (simulusion_world,), ("simulusion",), "simulusion"),
    "Simulusion, no env": (SimulusionStep, (simulusion_world,), ("simulusion",), "simulusion"),
}


def lines(parts: tuple[Any, ...]) -> int:
    """Lines of code of these classes and functions, in one style, without docstrings and comments."""
    count = 0
    for part in parts:
        tree = ast.parse(textwrap.dedent(inspect.getsource(part)))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
                node.body = node.body[1:] or [ast.Pass()]
        count += sum(bool(line.strip()) for line in ast.unparse(tree).splitlines())
    return count


def _measure(arguments: tuple[str, int, int, float]) -> dict[str, float]:
    name, num_envs, rounds, seconds = arguments
    torch.set_num_threads(1)
    torch.manual_seed(0)
    dreams = RIVALS[name][0](num_envs)
    shape = (1,) if num_envs == 1 else (num_envs, 1)
    actions = np.random.default_rng(0).uniform(-1, 1, (8, *shape)).astype(np.float32)
    rates = []
    for _ in range(rounds + 1):  # the first one warms up
        count, start = 0, time.process_time()
        while time.process_time() - start < seconds:
            dreams.step(actions[count % 8])
            count += 1
        rates.append(num_envs * count / (time.process_time() - start))
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    return {
        "steps_per_second": statistics.median(rates[1:]),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit,
    }


def measure(name: str, num_envs: int, rounds: int, seconds: float) -> dict[str, float]:
    """Rate and peak memory of `num_envs` dreams, in a process of their own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.map(_measure, [(name, num_envs, rounds, seconds)])[0]


def main() -> None:
    """Print a table, or one line of JSON with --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=RIVALS, default=list(RIVALS), help="rows to measure")
    parser.add_argument("--num-envs", type=int, nargs="+", default=[1, 1024], help="dreams at once")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of which the median is taken")
    parser.add_argument("--seconds", type=float, default=1.0, help="least processor time of a round")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    options = parser.parse_args()
    result: dict[str, Any] = {}
    for name in options.only:
        dreams, more, needed, package = RIVALS[name]
        if missing := [module for module in needed if find_spec(module) is None]:
            print(f"{name}: not installed ({', '.join(missing)})", file=sys.stderr)
            continue
        row: dict[str, Any] = {"version": version(package), "lines": lines((dreams, *more))}
        for count in options.num_envs:
            row[str(count)] = measure(name, count, options.rounds, options.seconds)
        result[name] = row
        if not options.json:
            found = [(count, row[str(count)]) for count in options.num_envs]
            rates = ", ".join(
                f"at {n:,} {r['steps_per_second']:,.0f} steps/s {r['peak_mib']:,.0f} MiB" for n, r in found
            )
            print(f"{name} ({package} {row['version']}): {rates}; {row['lines']} lines", flush=True)
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
