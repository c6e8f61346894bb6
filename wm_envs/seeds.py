"""Which seeds are for what. Ranges of one kind of seed never meet, so a score is never from an episode of training."""

from __future__ import annotations

# Episodes of the games: 0 <= seed < 2**32.
PLAY = range(100_000)  # people, examples, tests
VALIDATION = range(100_000, 110_000)  # they select controllers
EXPERIMENTS = range(110_000, 200_000)  # they select the settings of training
TEST = range(200_000, 1_000_000)  # they select nothing
COLLECTION = range(1_000_000, 10_000_000)  # what V and M learn from, round 0
GAME_TRAINING = range(10_000_000, 1 << 31)  # controllers that train in the game
LATER_COLLECTION = range(1 << 31, 1 << 32)  # what V and M learn from, rounds from 1 on
GAMES = (PLAY, VALIDATION, EXPERIMENTS, TEST, COLLECTION, GAME_TRAINING, LATER_COLLECTION)

# Dreams, whose seeds start a generator of random numbers.
DREAM_TRAINING = range(1 << 40)  # controllers that train in dreams
UNSEEN_DREAMS = range(1 << 40, 1 << 41)  # evaluation
DREAMS = (DREAM_TRAINING, UNSEEN_DREAMS)
