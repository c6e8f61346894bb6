"""PPO of TorchRL in a batch of dreams: `python examples/frameworks/torchrl_ppo.py [STEPS [EPISODES]]`.

`pip install -e '.[doom]' torchrl`. TorchRL resets finished environments itself: `autoreset_mode="Disabled"`.
"""

import sys

import gymnasium as gym
import torch
from real_game import report
from tensordict.nn import TensorDictModule
from torch import nn
from torch.distributions import Categorical
from torchrl.collectors import Collector
from torchrl.envs import GymWrapper, RewardScaling, TransformedEnv
from torchrl.modules import ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

import wm_envs  # noqa: F401 (registers the ids)

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
episodes = int(sys.argv[2]) if len(sys.argv) > 2 else 100

NUM_ENVS, NUM_STEPS = 128, 32
torch.manual_seed(0)
dreams = gym.make_vec(
    "WMDream-v0", num_envs=NUM_ENVS, actions="discrete", temperature=1.5, autoreset_mode="Disabled"
)  # fmt: skip
features, actions = dreams.single_observation_space.shape[0], int(dreams.single_action_space.n)
env = TransformedEnv(GymWrapper(dreams, categorical_action_encoding=True), RewardScaling(loc=0.0, scale=0.01))
env.set_seed(0)

logits = nn.Sequential(nn.Linear(features, 64), nn.Tanh(), nn.Linear(64, actions))
values = nn.Sequential(nn.Linear(features, 64), nn.Tanh(), nn.Linear(64, 1))
actor = ProbabilisticActor(
    TensorDictModule(logits, ["observation"], ["logits"]), in_keys=["logits"], spec=env.action_spec_unbatched,
    distribution_class=Categorical, return_log_prob=True,
)  # fmt: skip
critic = ValueOperator(values, in_keys=["observation"])
advantage = GAE(gamma=0.98, lmbda=0.95, value_network=critic)
loss_of = ClipPPOLoss(actor, critic, entropy_coeff=0.01, critic_coeff=0.5, normalize_advantage=True)
optimizer = torch.optim.Adam(loss_of.parameters(), lr=1e-3)

total = max(1, steps // (NUM_ENVS * NUM_STEPS)) * NUM_ENVS * NUM_STEPS
done = 0
collector = Collector(
    env, actor, frames_per_batch=NUM_ENVS * NUM_STEPS, total_frames=total, auto_register_policy_transforms=True
)
for batch in collector:  # (envs, steps)
    with torch.no_grad():
        advantage(batch)
    rows = batch.reshape(-1)
    for _ in range(3):
        for chosen in torch.randperm(len(rows)).chunk(4):
            losses = loss_of(rows[chosen])
            loss = losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(loss_of.parameters(), 0.5)
            optimizer.step()
    done += len(rows)
    rate = batch["next", "done"].float().mean().item()  # ends per step of 4 ticks
    if done % (10 * len(rows)) == 0 or done == total:
        print(f"{done} steps: a dream lasts about {4 / max(rate, 1e-6):.0f} ticks", flush=True)


@torch.no_grad()
def greedy(observations):
    """The likeliest actions."""
    return logits(torch.from_numpy(observations)).argmax(dim=-1).numpy()


report(greedy, episodes)
