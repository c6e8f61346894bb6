"""PPO of Stable-Baselines3 in a batch of dreams: `python examples/sb3_ppo.py [STEPS [EPISODES]]`.

It ends with EPISODES of the real game, which needs the extra `doom`.
"""

import sys

from frameworks.real_game import report
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from wm_envs.sb3 import make_vec_env

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000  # about two minutes on 2 cores
episodes = int(sys.argv[2]) if len(sys.argv) > 2 else 100

envs = make_vec_env("WMDream-v0", num_envs=256, seed=0, actions="discrete", temperature=1.5)
envs = VecNormalize(envs, norm_obs=False, gamma=0.98)  # returns of hundreds of ticks are much for a critic
learner = PPO(
    "MlpPolicy", envs, learning_rate=1e-3, n_steps=32, batch_size=1024, n_epochs=3, gamma=0.98, ent_coef=0.01,
    device="cpu", seed=0,
)  # fmt: skip
learner.learn(steps)
report(lambda observations: learner.predict(observations, deterministic=True)[0], episodes)
