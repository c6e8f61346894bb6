"""DQN of Stable-Baselines3 in a batch of dreams: `python examples/frameworks/sb3_dqn.py [STEPS [EPISODES]]`.

`pip install -e '.[sb3,doom]'`. DQN only knows discrete actions: `actions="discrete"`.
"""

import sys

from real_game import report
from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import VecNormalize

from wm_envs.sb3 import make_vec_env

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
episodes = int(sys.argv[2]) if len(sys.argv) > 2 else 100

NUM_ENVS, GAMMA = 64, 0.98
envs = make_vec_env("WMDream-v0", n_envs=NUM_ENVS, seed=0, actions="discrete", temperature=1.5)
envs = VecNormalize(envs, norm_obs=False, gamma=GAMMA)  # returns of a few hundred ticks are too large for the network
learner = DQN(
    "MlpPolicy", envs, learning_rate=5e-4, buffer_size=200_000, learning_starts=10_000, batch_size=256, gamma=GAMMA,
    train_freq=1, gradient_steps=4,  # after one step of the batch, that is of 64 dreams
    target_update_interval=2_000, exploration_fraction=0.2, exploration_final_eps=0.02, device="cpu", seed=0, verbose=1,
)  # fmt: skip
learner.learn(steps, log_interval=1_000)
report(lambda observations: learner.predict(observations, deterministic=True)[0], episodes)
