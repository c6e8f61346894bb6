"""A2C in batched dreams, in one file as in CleanRL: `python examples/policy_gradient.py [UPDATES]`."""

import sys

import gymnasium as gym
import torch
from gymnasium.vector import AutoresetMode
from torch import nn

import wm_envs  # noqa: F401 (registers the ids)

NUM_ENVS, N_STEPS, GAMMA, ENT_COEF = 256, 16, 0.98, 0.01
updates = int(sys.argv[1]) if len(sys.argv) > 1 else 400

torch.manual_seed(0)
envs = gym.make_vec(
    "WMDream-v0", num_envs=NUM_ENVS, actions="discrete", temperature=1.3, autoreset_mode=AutoresetMode.SAME_STEP
)
features, num_actions = envs.single_observation_space.shape[0], int(envs.single_action_space.n)
body = nn.Sequential(nn.Linear(features, 64), nn.Tanh())
actor, critic = nn.Linear(64, num_actions), nn.Linear(64, 1)
parameters = [*body.parameters(), *actor.parameters(), *critic.parameters()]
optimizer = torch.optim.Adam(parameters, lr=1e-3)

observations = torch.from_numpy(envs.reset(seed=0)[0])
for update in range(updates):
    log_probabilities, entropies, values, rewards, not_done = [], [], [], [], []
    for _ in range(N_STEPS):
        hidden = body(observations)
        policy = torch.distributions.Categorical(logits=actor(hidden))
        action = policy.sample()
        next_observations, reward, terminated, truncated, _ = envs.step(action.numpy())
        log_probabilities.append(policy.log_prob(action))
        entropies.append(policy.entropy())
        values.append(critic(hidden)[:, 0])
        rewards.append(torch.from_numpy(reward).float() / 100)
        not_done.append(torch.from_numpy(~(terminated | truncated)).float())
        observations = torch.from_numpy(next_observations)
    with torch.no_grad():
        target = critic(body(observations))[:, 0]
    loss = torch.zeros(())
    for step in reversed(range(N_STEPS)):
        target = rewards[step] + GAMMA * not_done[step] * target
        advantage = target - values[step]
        loss = loss - (log_probabilities[step] * advantage.detach()).mean() + 0.5 * advantage.square().mean()
        loss = loss - ENT_COEF * entropies[step].mean()
    optimizer.zero_grad()
    (loss / N_STEPS).backward()
    nn.utils.clip_grad_norm_(parameters, 0.5)
    optimizer.step()
    if (update + 1) % 50 == 0 or update + 1 == updates:
        done_rate = 1 - torch.stack(not_done).mean()  # per step of 4 ticks
        print(f"update {update + 1}: an episode lasts about {4 / max(float(done_rate), 1e-6):.0f} ticks")
