"""PPO in one file, in the style of CleanRL: `python examples/frameworks/cleanrl_ppo.py [STEPS [EPISODES]]`.

`pip install -e '.[doom]'`: torch and Gymnasium are enough. One batch of dreams takes the place of CleanRL's
`SyncVectorEnv`. CleanRL's own scripts take `--env-id wm_envs:WMDreamDiscrete-v0`.
"""

from __future__ import annotations

import sys
import time

import gymnasium as gym
import numpy as np
import torch
from real_game import report
from torch import Tensor, nn
from torch.distributions import Categorical

import wm_envs  # noqa: F401 (registers the ids)

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
episodes = int(sys.argv[2]) if len(sys.argv) > 2 else 100

SEED, NUM_ENVS, NUM_STEPS = 0, 128, 32  # a batch is NUM_ENVS * NUM_STEPS steps
TEMPERATURE = 1.5
LEARNING_RATE, GAMMA, GAE_LAMBDA = 1e-3, 0.98, 0.95
UPDATE_EPOCHS, MINIBATCHES, CLIP_COEF = 3, 4, 0.2
ENT_COEF, VF_COEF, MAX_GRAD_NORM = 0.01, 0.5, 0.5
REWARD_SCALE = 0.01  # a step gives 4 ticks, so the returns are about 2


def linear(inputs: int, outputs: int, scale: float = 2**0.5) -> nn.Linear:
    """A linear layer with orthogonal weights and no bias at the start."""
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, scale)
    nn.init.zeros_(layer.bias)
    return layer


class Agent(nn.Module):
    """An actor and a critic, two networks of one hidden layer."""

    def __init__(self, features: int, actions: int) -> None:
        super().__init__()
        self.actor = nn.Sequential(linear(features, 64), nn.Tanh(), linear(64, actions, 0.01))
        self.critic = nn.Sequential(linear(features, 64), nn.Tanh(), linear(64, 1, 1.0))

    def value(self, observations: Tensor) -> Tensor:
        """Values (B,) of observations (B, F)."""
        return self.critic(observations)[..., 0]

    def policy(self, observations: Tensor) -> Categorical:
        """The distribution of actions."""
        return Categorical(logits=self.actor(observations))

    @torch.no_grad()
    def greedy(self, observations: np.ndarray) -> np.ndarray:
        """The likeliest actions."""
        return self.actor(torch.from_numpy(observations)).argmax(dim=-1).numpy()


def final_values(agent: Agent, infos: dict, truncated: np.ndarray) -> Tensor:
    """Values of the last observations of the episodes that reached the limit, where they are 0 otherwise."""
    values = torch.zeros(NUM_ENVS)
    if truncated.any():
        last = np.stack(infos["final_obs"][truncated])
        values[torch.from_numpy(truncated)] = agent.value(torch.from_numpy(last))
    return values


torch.manual_seed(SEED)
envs = gym.make_vec(
    "WMDream-v0", num_envs=NUM_ENVS, actions="discrete", temperature=TEMPERATURE, autoreset_mode="SameStep"
)
features, actions = envs.single_observation_space.shape[0], int(envs.single_action_space.n)
agent = Agent(features, actions)
optimizer = torch.optim.Adam(agent.parameters(), lr=LEARNING_RATE, eps=1e-5)
updates = max(1, steps // (NUM_ENVS * NUM_STEPS))

observation = torch.from_numpy(envs.reset(seed=SEED)[0])
lived, lengths, began = np.zeros(NUM_ENVS), [], time.time()
for update in range(updates):
    optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - update / updates)

    # Play NUM_STEPS steps in all dreams.
    observations = torch.zeros(NUM_STEPS, NUM_ENVS, features)
    chosen = torch.zeros(NUM_STEPS, NUM_ENVS, dtype=torch.long)
    old_log_probs, rewards, not_done, values = (torch.zeros(NUM_STEPS, NUM_ENVS) for _ in range(4))
    with torch.no_grad():
        for step in range(NUM_STEPS):
            policy = agent.policy(observation)
            observations[step], chosen[step] = observation, policy.sample()
            old_log_probs[step], values[step] = policy.log_prob(chosen[step]), agent.value(observation)
            following, reward, terminated, truncated, infos = envs.step(chosen[step].numpy())
            rewards[step] = torch.from_numpy(reward) * REWARD_SCALE + GAMMA * final_values(agent, infos, truncated)
            not_done[step] = torch.from_numpy(~(terminated | truncated))
            observation = torch.from_numpy(following)
            lived += reward
            lengths += lived[terminated | truncated].tolist()
            lived[terminated | truncated] = 0

        # Generalised advantage estimation, from the last step to the first.
        advantages, advantage, next_value = torch.zeros_like(rewards), torch.zeros(NUM_ENVS), agent.value(observation)
        for step in reversed(range(NUM_STEPS)):
            delta = rewards[step] + GAMMA * not_done[step] * next_value - values[step]
            advantages[step] = advantage = delta + GAMMA * GAE_LAMBDA * not_done[step] * advantage
            next_value = values[step]

    # Several passes over the batch.
    batch = [part.flatten(0, 1) for part in (observations, chosen, old_log_probs, advantages, advantages + values)]
    for _ in range(UPDATE_EPOCHS):
        for rows in torch.randperm(NUM_ENVS * NUM_STEPS).chunk(MINIBATCHES):
            seen, action, old_log_prob, advantage, target = (part[rows] for part in batch)
            policy = agent.policy(seen)
            ratio = (policy.log_prob(action) - old_log_prob).exp()
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
            gain = torch.min(ratio * advantage, ratio.clamp(1 - CLIP_COEF, 1 + CLIP_COEF) * advantage).mean()
            value_loss = 0.5 * (agent.value(seen) - target).square().mean()
            loss = VF_COEF * value_loss - gain - ENT_COEF * policy.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), MAX_GRAD_NORM)
            optimizer.step()

    if (update + 1) % 10 == 0 or update + 1 == updates:
        done = (update + 1) * NUM_ENVS * NUM_STEPS
        mean = np.mean(lengths[-200:]) if lengths else float("nan")
        print(f"{done} steps, {done / (time.time() - began):.0f} a second: a dream lasts {mean:.0f} ticks", flush=True)

envs.close()
report(agent.greedy, episodes)
