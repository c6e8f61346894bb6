"""PPO of Tianshou in a batch of dreams: `python examples/frameworks/tianshou_ppo.py [STEPS [EPISODES]]`.

`pip install -e '.[doom]' tianshou`. Tianshou's vector environments step one dream after the other, or one in each
process. `Dreams` below is such a vector environment with one step of M for all, which is many times as fast.
"""

from __future__ import annotations

import sys
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from real_game import report
from tianshou.algorithm import PPO
from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, CollectStats, VectorReplayBuffer
from tianshou.env import BaseVectorEnv
from tianshou.trainer import OnPolicyTrainerParams
from tianshou.utils.net.common import Net
from tianshou.utils.net.discrete import DiscreteActor, DiscreteCritic

import wm_envs  # noqa: F401 (registers the ids)

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
episodes = int(sys.argv[2]) if len(sys.argv) > 2 else 100

NUM_ENVS, NUM_STEPS = 128, 32


class Dreams(BaseVectorEnv):
    """A batch of dreams as a vector environment of Tianshou. It steps all of them, or none."""

    def __init__(self, num_envs: int, **keywords: Any) -> None:
        self.batch = gym.make_vec("WMDream-v0", num_envs=num_envs, autoreset_mode="Disabled", **keywords)
        self.env_num, self.is_async, self.is_closed = num_envs, False, False

    def get_env_attr(self, key: str, id: Any = None) -> list[Any]:
        """The attribute once for each environment; Tianshou asks for the spaces."""
        return [getattr(self.batch, f"single_{key}" if key.endswith("_space") else key)] * self.env_num

    def reset(self, env_id: Any = None, **keywords: Any) -> tuple[np.ndarray, np.ndarray]:
        """Begin new dreams: all, or those that are named."""
        chosen = np.arange(self.env_num) if env_id is None else np.atleast_1d(env_id)
        mask = np.isin(np.arange(self.env_num), chosen)
        observations, _ = self.batch.reset(options={"reset_mask": mask}, **keywords)
        return observations[chosen], np.array([{} for _ in chosen])

    def step(self, action: Any, id: Any = None) -> Any:
        """One step of all dreams."""
        assert id is None or len(id) == self.env_num
        observations, rewards, terminated, truncated, _ = self.batch.step(np.asarray(action))
        infos = np.array([{"env_id": env} for env in range(self.env_num)])
        return observations, rewards / 100, terminated, truncated, infos  # returns of about 2

    def close(self) -> None:
        """Close the batch."""
        self.batch.close()
        self.is_closed = True


torch.manual_seed(0)
np.random.seed(0)  # noqa: NPY002 (Tianshou shuffles with it)
envs = Dreams(NUM_ENVS, actions="discrete", temperature=1.5)
observations, actions = envs.batch.single_observation_space, envs.batch.single_action_space
body = lambda: Net(state_shape=observations.shape, hidden_sizes=[64], activation=torch.nn.Tanh)  # noqa: E731
actor = DiscreteActor(preprocess_net=body(), action_shape=int(actions.n), softmax_output=False)
algorithm: PPO = PPO(
    policy=DiscreteActorPolicy(actor=actor, action_space=actions, observation_space=observations),
    critic=DiscreteCritic(preprocess_net=body()), optim=AdamOptimizerFactory(lr=1e-3), gamma=0.98, gae_lambda=0.95,
    ent_coef=0.01, max_grad_norm=0.5, max_batchsize=4096,
)  # fmt: skip
collector = Collector[CollectStats](algorithm, envs, VectorReplayBuffer(NUM_ENVS * NUM_STEPS, NUM_ENVS))
collector.reset(gym_reset_kwargs={"seed": 0})
algorithm.run_training(OnPolicyTrainerParams(
    training_collector=collector, max_epochs=1, epoch_num_steps=max(steps, NUM_ENVS * NUM_STEPS),
    collection_step_num_env_steps=NUM_ENVS * NUM_STEPS, batch_size=1024, update_step_num_repetitions=3,
))  # fmt: skip


@torch.no_grad()
def greedy(observations: np.ndarray) -> np.ndarray:
    """The likeliest actions."""
    return actor(observations)[0].argmax(dim=-1).numpy()


report(greedy, episodes)
