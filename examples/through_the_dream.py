"""C trained by the gradient of the dream: M is differentiable, so the reward of a dream has a gradient for C's weights.

python examples/through_the_dream.py 244         # updates of 12,288 steps each; a world with the paper's M
python -m training evaluate --world through/world --controller gradient

Every update continues a batch of dreams for some steps with C in the loop and maximises the expected ticks: the sum of
the probabilities to be alive. Draws are reparameterised: z = mean + std * noise, with a gradient through the mean and
the standard deviation of the component that was drawn, and none through the choice of the component. Actions are drawn
from C's softmax; the gradient takes the softmax in place of the draw (straight-through). Before the next update the
state is cut off from its past, and dreams that ended begin anew.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from training.acting.policies import ControllerPolicy
from training.acting.rollout import dream_episodes
from training.judging.scoring import UNSEEN_DREAMS
from training.learning.policy_network import flat_parameters
from training.stages.ppo import PpoConfig, controller_config
from wm_envs import ControllerConfig, State, WorldModel, load_world, save_controller
from wm_envs.models.memory.mixture import LOG_STD_RANGE, Prediction
from wm_envs.models.state import LATENT_LIMIT
from wm_envs.worlds.bundle import resolve


def reparameterised(prediction: Prediction, temperature: float) -> Tensor:
    """Draw next latents (B, Z) with a gradient through the mean and std of the drawn components."""
    weights = torch.softmax(prediction.logits.detach() / temperature, dim=1)  # (B, K, Z)
    chosen = torch.distributions.Categorical(weights.transpose(1, 2)).sample()[:, None]  # (B, 1, Z)
    mean, log_std = (part.gather(1, chosen)[:, 0] for part in (prediction.means, prediction.log_stds))
    std = log_std.clamp(*LOG_STD_RANGE).exp() * temperature**0.5
    return (mean + std * torch.randn_like(mean)).clamp(-LATENT_LIMIT, LATENT_LIMIT)


def step(world: WorldModel, state: State, action: Tensor, temperature: float) -> tuple[State, Tensor]:
    """One step of dreams with actions (B, A), as `WorldModel.step`, with gradients.

    Returns the State, and the probability (B,) that the step ended the game.
    """
    memory = world.memory
    outputs, recurrent = memory(memory.assemble(state.latents, action, state.ticks)[None], state.recurrent)
    prediction = memory.split(outputs[0])
    latents = reparameterised(prediction, temperature)
    after = state._replace(latents=latents, recurrent=recurrent, ticks=state.ticks + world.config.frame_skip)
    return after, memory.termination_probability(prediction.termination + world.config.termination_shift)


class Chooser(nn.Module):
    """C as a network with one hidden layer of tanh units; it draws one of N actions."""

    def __init__(self, config: ControllerConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(nn.Linear(inputs, outputs) for inputs, outputs in config.layers)
        nn.init.zeros_(self.layers[-1].weight)
        self.register_buffer("choices", torch.tensor(config.choices).view(-1, config.action))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, F) -> actions (B, A), and the entropy (B,) of the draw."""
        for number, layer in enumerate(self.layers):
            features = layer(torch.tanh(features) if number else features)
        probability = features.softmax(-1)  # (B, N)
        drawn = nn.functional.one_hot(probability.detach().multinomial(1)[:, 0], probability.shape[1]).float()
        entropy = -(probability * probability.clamp_min(1e-9).log()).sum(-1)
        return (drawn + probability - probability.detach()) @ self.choices, entropy


def train(world: WorldModel, chooser: Chooser, options: argparse.Namespace) -> None:
    """Follow the gradient, and print the score in dreams every 20 updates."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(chooser.parameters(), options.learning_rate)
    state, began = world.initial_state(options.dreams, generator), time.time()
    low, high = options.temperatures
    for update in range(options.updates):
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * (1 - update / options.updates)
        temperature = low + (high - low) * float(torch.rand((), generator=generator))
        alive, living, entropies = torch.ones(options.dreams), torch.zeros(options.dreams), torch.zeros(options.dreams)
        ended = torch.zeros(options.dreams, dtype=torch.bool)
        for _ in range(options.horizon):
            action, entropy = chooser(world.observe(state))
            state, end = step(world, state, action, temperature)
            ended |= torch.rand(options.dreams, generator=generator) < end.detach()
            alive = alive * (1 - end)
            living, entropies = living + alive, entropies + entropy
        loss = -(living.mean() + options.entropy * entropies.mean()) / options.horizon
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(chooser.parameters(), 1.0)
        optimizer.step()
        recurrent = tuple(part.detach() for part in state.recurrent)
        state = state._replace(latents=state.latents.detach(), recurrent=recurrent)
        ended |= state.ticks >= world.task.timing.tick_limit
        state.put(ended, world.initial_state(options.dreams, generator).select(ended))
        if (update + 1) % 20 == 0 or update + 1 == options.updates:
            steps, seconds = (update + 1) * options.dreams * options.horizon, time.time() - began
            middle = (low + high) / 2
            lived = lifetime(world, chooser, middle)
            print(f"{steps:9,} steps, {seconds:4.0f} s: {lived:.0f} ticks in dreams at {middle:.2f}", flush=True)


def lifetime(world: WorldModel, chooser: Chooser, temperature: float) -> float:
    """Mean ticks of the controller in 128 dreams that no training uses."""
    policy = ControllerPolicy("gradient", chooser.config, tuple(flat_parameters(chooser.layers).tolist()))
    return float(dream_episodes(world, policy, 128, temperature, UNSEEN_DREAMS).returns.mean())


def main() -> None:
    """Train, and save the controller in a copy of the world."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("updates", nargs="?", type=int, default=244)
    parser.add_argument("--world", default="takecover-paper")
    parser.add_argument("--dreams", type=int, default=512)
    parser.add_argument("--horizon", type=int, default=24, help="steps with a gradient")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--entropy", type=float, default=0.003)
    parser.add_argument("--temperatures", nargs=2, type=float, default=(1.1, 1.6))
    parser.add_argument("--out", type=Path, default=Path("through"))
    options = parser.parse_args()
    torch.manual_seed(0)
    world = load_world(options.world)
    memory = world.config.memory
    if memory.kind != "mdn-rnn" or memory.joint or not world.task.rewards.survival:
        parser.error("the world needs the paper's M, not a joint one, and a game of survival")
    chooser = Chooser(controller_config(world, PpoConfig(hidden_sizes=(options.hidden,))))
    train(world, chooser, options)
    copy = options.out / "world"
    shutil.copytree(resolve(options.world), copy, dirs_exist_ok=True)
    save_controller(copy, "gradient", chooser.config, flat_parameters(chooser.layers))
    print("saved the controller `gradient` in", copy)


if __name__ == "__main__":
    main()
