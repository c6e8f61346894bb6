"""Dreams that begin at recorded moments, for PPO."""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs

from training.learning.moments import Moments
from wm_envs.envs.engine import Mask
from wm_envs.envs.vector import LatentVectorEnv
from wm_envs.games.base import Options
from wm_envs.models.state import State
from wm_envs.sb3 import LatentVecEnv


class RecordedStarts(LatentVecEnv):
    """Dreams of which a share begins at a recorded moment, the others where all dreams begin.

    After a reset of all of them, all begin at recorded moments, so that they are not in step.
    """

    def __init__(self, env: LatentVectorEnv, moments: Moments, share: float) -> None:
        super().__init__(env)
        self.moments, self.share = moments, share
        self.generator = torch.Generator()

    def reset(self) -> VecEnvObs:
        """Begin everywhere, with the seed and the state that `seed` and `set_options` gave last."""
        if self._seeds[0] is not None:
            self.generator.manual_seed(self._seeds[0])
        if "state" not in self._options[0]:
            everywhere: Any = torch.ones(self.num_envs, dtype=torch.bool).numpy()
            self.set_options({"state": self._begun(everywhere, 1.0)})
        return super().reset()

    def _start_options(self, done: Mask) -> Options:
        return {"state": self._begun(done, self.share)}

    def _begun(self, mask: Mask, share: float) -> State:
        """The State of all dreams in which those in `mask` are new."""
        world, count = self.env.world, int(mask.sum())
        fresh = world.initial_state(count, self.generator)
        recorded = (torch.rand(count, generator=self.generator) < share).to(world.device)
        fresh.put(recorded, self.moments.draw(world, int(recorded.sum()), self.generator))
        state = self.env.state
        state.put(torch.from_numpy(mask).to(world.device), fresh)
        return state
