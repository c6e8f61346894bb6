"""What each stage has to reach before the next one can use it, in sentences for people.

A gate gives the sentence that says what is missing, or "" when nothing is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.data.episode_store import Part
from training.judging.baselines import Baselines
from training.judging.memory_metrics import MemoryMetrics
from training.judging.scoring import Score
from training.judging.vision_metrics import VisionMetrics

MISSED = 0.5  # share of what moves that V may leave out
PREDICTED = 0.02  # nats per moving dimension by which M must be better than a copy of the last latents
HEEDED = 0.002  # nats per moving dimension that the actions must be worth


def play(parts: Sequence[Part]) -> str:
    """Whether the play has shown a reward or an end that depends on what is done."""
    rewards = [part.rewards for part in parts if part.rewards is not None]
    if not rewards:
        return ""
    paid = np.concatenate(rewards)
    episodes = sum(len(part.lengths) for part in parts)
    if np.ptp(paid) > 1e-6 or any(part.terminated.any() for part in parts):
        return ""
    return f"in {len(paid):,} frames ({episodes} episodes) of play every step paid {paid[0]:g}, and no episode ended"


def vision(metrics: VisionMetrics) -> str:
    """Whether V draws what moves."""
    missed = metrics.moving_unexplained
    return f"V leaves out {min(missed, 1):.0%} of what moves" if missed > MISSED else ""


def memory(metrics: MemoryMetrics) -> str:
    """Whether M predicts what moves, and what actions do."""
    nll, copy, shuffled = metrics.moving_nll, metrics.moving_copy, metrics.moving_shuffled
    if nll is None or copy is None or shuffled is None:
        return ""
    if nll > copy - PREDICTED:
        return f"M predicts what moves no better than that it stays ({nll:.2f} and {copy:.2f} nats a latent)"
    if shuffled - nll < HEEDED:
        return f"M ignores actions: with those of other episodes it predicts as well ({shuffled - nll:+.3f} nats)"
    return ""


def controller(score: Score, baselines: Baselines) -> str:
    """Whether C is better in the game than policies that look at nothing."""
    if baselines.beaten_by(score):
        return ""
    best = baselines.best
    return f"the controller ({score.mean:.4g}) is not better in the game than {best.policy} ({best.score.mean:.4g})"
