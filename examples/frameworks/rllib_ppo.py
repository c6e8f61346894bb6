"""PPO of RLlib, dreams in worker processes of Ray: `python examples/frameworks/rllib_ppo.py [STEPS [EPISODES]]`.

`pip install -e '.[doom]' 'ray[rllib]'`. The id names the package, which the workers import, and each worker steps its
dreams as one batch: `gym_env_vectorize_mode`.
"""

import sys

import gymnasium as gym
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from real_game import report

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
episodes = int(sys.argv[2]) if len(sys.argv) > 2 else 100

BATCH = min(4096, steps)
config = (
    PPOConfig()
    .environment("wm_envs:WMDreamDiscrete-v0", env_config={"temperature": 1.5})
    .env_runners(
        num_env_runners=1, num_envs_per_env_runner=64, gym_env_vectorize_mode=gym.VectorizeMode.VECTOR_ENTRY_POINT,
        sample_timeout_s=600,  # by default, what a busy machine has not sampled after a minute is thrown away
    )
    .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[64], fcnet_activation="tanh", vf_share_layers=False))
    .training(
        train_batch_size_per_learner=BATCH, minibatch_size=min(1024, BATCH), num_epochs=3, gamma=0.98, lambda_=0.95,
        lr=1e-3, entropy_coeff=0.01, vf_clip_param=1e6,  # by default, errors of the value above 3 ticks teach nothing
    )
    .debugging(seed=0)
)  # fmt: skip
learner = config.build_algo()
done = 0
while done < steps:
    result = learner.train()["env_runners"]
    done = int(result["num_env_steps_sampled_lifetime"])
    print(f"{done} steps: a dream lasts {result.get('episode_return_mean', float('nan')):.0f} ticks", flush=True)
module = learner.get_module()


@torch.no_grad()
def greedy(observations):
    """The likeliest actions."""
    output = module.forward_inference({"obs": torch.from_numpy(observations)})
    return output["action_dist_inputs"].argmax(dim=-1).numpy()


report(greedy, episodes)
learner.stop()
